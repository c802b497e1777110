package doctor

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
)

// A Status is how a check came out.
type Status string

// The statuses. A container with a Fault or a Consequence is not healthy.
const (
	OK          Status = "ok"
	Fault       Status = "fault"
	Consequence Status = "consequence" // of another fault
	Warn        Status = "warn"        // worth knowing, and not in the way
	Skipped     Status = "skipped"     // it does not apply, or could not be answered
)

// A Finding is the answer to one check.
type Finding struct {
	Check   ID       `json:"check"`
	Status  Status   `json:"status"`
	Object  string   `json:"object,omitempty"` // "eth0", "minictr0"
	What    string   `json:"what"`             // what is so, or is wrong
	Why     string   `json:"why,omitempty"`    // why it matters
	Show    string   `json:"show,omitempty"`   // the command that shows it by hand
	Cure    []string `json:"cure,omitempty"`   // the commands that cure it
	Ours    bool     `json:"ours,omitempty"`   // it is minictr's own to repair
	Because ID       `json:"because,omitempty"`

	// Alone says that no fault of another check explains it.
	Alone bool `json:"-"`
	// Remedies are what Repair does, in their order; Cure is their text.
	Remedies []Remedy `json:"-"`
}

// A Remedy is one act of curing: a command for sh, or a step of the plan.
type Remedy struct {
	Command string    // for sh; also what people read where there is a step
	Step    step.Step // applied in place of the command
	Renew   *network.AddFirewall
	Detach  *Filter
	rewrite *rewriting
	// Reload says that the networks of all containers are put back.
	Reload bool
}

func (r Remedy) String() string {
	switch {
	case r.Command != "":
		return r.Command
	case r.Step != nil:
		return r.Step.String()
	}
	return "minictr network reload"
}

// A Report is what Diagnose has found.
type Report struct {
	Container string    `json:"container,omitempty"`
	Healthy   bool      `json:"healthy"`
	Cause     *Finding  `json:"cause,omitempty"`
	Checks    []Finding `json:"checks"`

	pid       int
	young     bool            // it may not be whole yet
	confirmed map[string]bool // what an earlier look has seen as well; see Settled
}

// Wrong lists the faults and their consequences.
func (r *Report) Wrong() (list []Finding) {
	for _, f := range r.Checks {
		if f.Status == Fault || f.Status == Consequence {
			list = append(list, f)
		}
	}
	return list
}

// diagnosis collects findings.
type diagnosis struct {
	*Facts
	list []Finding
}

func (d *diagnosis) ok(id ID, object, format string, args ...any) {
	d.list = append(d.list, Finding{Check: id, Status: OK, Object: object, What: fmt.Sprintf(format, args...)})
}

func (d *diagnosis) skip(id ID, format string, args ...any) {
	d.list = append(d.list, Finding{Check: id, Status: Skipped, What: fmt.Sprintf(format, args...)})
}

// fault adds a finding that is wrong, and makes the text of its cure.
func (d *diagnosis) fault(f Finding) {
	f.Status = Fault
	d.add(f)
}

func (d *diagnosis) warn(f Finding) {
	f.Status = Warn
	d.add(f)
}

func (d *diagnosis) add(f Finding) {
	for _, r := range f.Remedies {
		f.Cure = append(f.Cure, strings.TrimSpace(r.String()))
	}
	d.list = append(d.list, f)
}

// has reports whether there is a finding of the check that is wrong.
func (d *diagnosis) has(id ID) bool {
	for _, f := range d.list {
		if f.Check == id && f.Status == Fault {
			return true
		}
	}
	return false
}

// said reports whether there is any finding of the check.
func (d *diagnosis) said(id ID) bool {
	for _, f := range d.list {
		if f.Check == id {
			return true
		}
	}
	return false
}

// in is a command of ip, tc or another program, in the container's namespace.
func (d *diagnosis) in(program, rest string) string {
	if d.Inside.Inode == d.Host.Inode {
		return program + " " + rest
	}
	if !d.Inside.Named || filepath.Dir(d.Inside.NamePath) != "/run/netns" { // where ip looks
		return fmt.Sprintf("nsenter -t %d -n %s %s", d.Pid, program, rest)
	}
	name := step.Quote(d.Network.Netns.Name)
	if program == "ip" || program == "tc" {
		return program + " -n " + name + " " + rest
	}
	return "ip netns exec " + name + " " + program + " " + rest
}

// sh are remedies by commands.
func sh(commands ...string) (list []Remedy) {
	for _, c := range commands {
		list = append(list, Remedy{Command: c})
	}
	return list
}

// steps are remedies by steps of the plan.
func steps(list ...step.Step) (remedies []Remedy) {
	for _, s := range list {
		remedies = append(remedies, Remedy{Step: s})
	}
	return remedies
}
