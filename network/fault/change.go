package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
)

// A thing is something that the kernel has or has not. Its exported fields are what
// the record keeps of it.
type thing interface {
	// has asks the kernel whether the thing is there.
	has() (bool, error)
	put() error
	take() error
	// what names it: "the address 172.17.0.2/16 of eth0 in web".
	what() string
	// command is what puts it there, or takes it away, by hand.
	command(put bool) string
}

// A Change puts a thing there or takes it away. It is a step.Step.
type Change struct {
	Take  bool // it is taken away; else it is put there
	Thing thing
	// Lost are addresses and routes that the kernel takes away with it.
	Lost *Layer3
}

var _ step.Step = Change{}

// Apply makes the change. What is so already is left alone.
func (c Change) Apply() error {
	return step.Fail(c.operation(), c.Thing.what(), c.turn(!c.Take))
}

// Undo takes the change back. What is no longer as the change has made it, somebody
// else has healed or changed: that stays. What is gone altogether, with a container
// that has ended, is no error.
func (c Change) Undo() error {
	err := c.turn(c.Take)
	if err == nil && c.Lost != nil {
		err = c.Lost.restore()
	}
	if isGone(err) {
		return nil
	}
	return step.Fail("take back: "+c.operation(), c.Thing.what(), err)
}

// turn makes the kernel have the thing, or not.
func (c Change) turn(wanted bool) error {
	has, err := c.Thing.has()
	if err != nil || has == wanted {
		return err
	}
	if wanted {
		return c.Thing.put()
	}
	return c.Thing.take()
}

var errHealed = errors.New("somebody has put it right")

// Check wants the change to be in place.
func (c Change) Check() error {
	has, err := c.Thing.has()
	if err == nil && has == c.Take {
		err = errHealed
	}
	return step.Fail("check that it is broken:", c.Thing.what(), err)
}

func (c Change) operation() string {
	if c.Take {
		return "take away"
	}
	return "set"
}

// Words says the change in plain words.
func (c Change) Words() string { return c.operation() + " " + c.Thing.what() }

// String is the command that makes the change by hand.
func (c Change) String() string { return c.Thing.command(!c.Take) }

// kinds are the things by the names that they have in a record.
func kinds() map[string]func() thing {
	return map[string]func() thing{
		"address":    func() thing { return new(address) },
		"bpf":        func() thing { return new(cgroupFilter) },
		"bridge":     func() thing { return new(bridge) },
		"element":    func() thing { return new(element) },
		"fdb":        func() thing { return new(fdbEntry) },
		"file":       func() thing { return new(file) },
		"filter":     func() thing { return new(ingressFilter) },
		"link":       func() thing { return new(linkSetting) },
		"neighbour":  func() thing { return new(neighbour) },
		"own rules":  func() thing { return new(ownRules) },
		"own table":  func() thing { return new(ownTable) },
		"pair":       func() thing { return new(pair) },
		"place":      func() thing { return new(linkPlace) },
		"port":       func() thing { return new(portSetting) },
		"queue":      func() thing { return new(queue) },
		"route":      func() thing { return new(route) },
		"rule":       func() thing { return new(rule) },
		"stopped":    func() thing { return new(stopped) },
		"server":     func() thing { return new(nameServer) },
		"sysctl":     func() thing { return new(sysctl) },
		"table":      func() thing { return new(table) },
		"vlan":       func() thing { return new(vlan) },
		"xdp":        func() thing { return new(xdpProgram) },
		"symlink":    func() thing { return new(symlink) },
		"namerecord": func() thing { return new(nameRecord) },
	}
}

// A written Change is how a record has it.
type written struct {
	Kind  string          `json:"kind"`
	Take  bool            `json:"take,omitempty"`
	Thing json.RawMessage `json:"thing"`
	Lost  *Layer3         `json:"lost,omitempty"`
}

// MarshalJSON writes the change with the name of the thing's kind.
func (c Change) MarshalJSON() ([]byte, error) {
	body, err := json.Marshal(c.Thing)
	if err != nil {
		return nil, err
	}
	for kind, make := range kinds() {
		if fmt.Sprintf("%T", make()) == fmt.Sprintf("%T", c.Thing) {
			return json.Marshal(written{kind, c.Take, body, c.Lost})
		}
	}
	return nil, fmt.Errorf("%T has no row in kinds", c.Thing)
}

// UnmarshalJSON reads what MarshalJSON has written.
func (c *Change) UnmarshalJSON(b []byte) error {
	var w written
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	make, ok := kinds()[w.Kind]
	if !ok {
		return fmt.Errorf("no thing of kind %q is known", w.Kind)
	}
	c.Take, c.Thing, c.Lost = w.Take, make(), w.Lost
	return json.Unmarshal(w.Thing, c.Thing)
}

// in calls f in the namespace; the zero Netns is the caller's.
func in(ns network.Netns, f func() error) error {
	if ns == (network.Netns{}) {
		return f()
	}
	return ns.Do(f)
}

// isGone tells of an error that what it is about has gone, and all changes with it:
// a link, a process, a namespace.
func isGone(err error) bool {
	return network.IsGone(err) || errors.Is(err, unix.ENODEV) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
}

// ip is the beginning of an ip(8) command in the namespace.
func ip(ns network.Netns) string {
	if ns.Name == "" {
		return "ip"
	}
	return "ip -n " + step.Quote(ns.Name)
}

// run is the beginning of any other command in the namespace.
func run(ns network.Netns) string {
	if ns.Name == "" {
		return ""
	}
	return "ip netns exec " + step.Quote(ns.Name) + " "
}

// where says in words where something is.
func where(ns network.Netns) string {
	if ns.Name == "" {
		return " of the host"
	}
	return " in " + ns.Name
}
