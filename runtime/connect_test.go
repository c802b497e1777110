package runtime

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
)

// wired is a running container on two networks, to which and from which another
// network can come and go.
func (w *world) wired(t *testing.T) *Container {
	t.Helper()
	for _, name := range []string{"blue", "green", "red"} {
		if _, err := w.Networks().Create(network.Creation{Name: name, Driver: network.BridgeDriver, IPv4: true}, nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := w.RemoveNetwork(name); err != nil {
				t.Error(err)
			}
		})
	}
	c := w.layered("sleep")
	c.Detach, c.Network.Uses = true, []network.Use{{Network: "blue"}, {Network: "green"}}
	if _, err := w.Run(c, Standard{}, Watch{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Remove(c.ID, RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	return w.container(t, c.ID)
}

func (w *world) container(t *testing.T, id string) *Container {
	t.Helper()
	c, err := w.Container(id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wiring is everything that there is of the container's network, but for what
// differs each time.
func (w *world) wiring(t *testing.T, id string) string {
	t.Helper()
	c := w.container(t, id)
	var b strings.Builder
	for _, command := range []string{"ip -o -4 addr", "ip -4 route", "ip -o link"} {
		out, err := exec.Command("sh", "-c", fmt.Sprintf("nsenter --net=/proc/%d/ns/net %s | sed 's/^[0-9]*: //; s/@if[0-9]*//; s/ *$//' | sort", c.Pid(), command)).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		b.Write(out)
	}
	for _, e := range c.State.Network.Endpoints {
		fmt.Fprintln(&b, e.Network.Name, e.Interface, e.Default)
	}
	fmt.Fprintln(&b, c.Config.Network)
	states, err := w.Networks().States()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		fmt.Fprintln(&b, s.Name, s.Leases, s.Ports)
	}
	if _, err := os.Lstat(w.running(id, "rewiring")); err == nil {
		b.WriteString("rewiring\n")
	}
	live, err := network.Inspect(c.State.Network)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&b, live.Drift)
	return b.String()
}

// dying is a step at which the process is killed.
type dying struct{ step.Step }

type killed struct{}

func (dying) Apply() error { panic(killed{}) }

// rewireUntil changes the container's network until step n, where it fails, or is
// killed.
func (w *world) rewireUntil(c *Container, change changer, n int, kill bool) (steps int, err error) {
	l := &rewiring{Runtime: w.Runtime, id: c.Config.ID}
	l.hooks.steps = func(list []step.Step) []step.Step {
		steps = len(list)
		switch {
		case n >= len(list):
		case kill:
			list[n] = dying{list[n]}
		default:
			return step.FailAt(list, n, errOnPurpose)
		}
		return list
	}
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(killed); !ok {
				panic(p)
			}
			err = errOnPurpose
		}
	}()
	return steps, l.run(c, change)
}

var errOnPurpose = errors.New("failed on purpose")

// TestRewiringFails: whichever step fails, the network is as it was.
func TestRewiringFails(t *testing.T) {
	w := newWorld(t)
	c := w.wired(t)
	before := w.wiring(t, c.Config.ID)
	for name, change := range map[string]changer{
		"connect": w.connecting(network.Use{Network: "red", Priority: 9}), "disconnect": disconnecting("blue"),
	} {
		for n, steps := 0, 1; n < steps; n++ {
			var err error
			steps, err = w.rewireUntil(w.container(t, c.Config.ID), change, n, false)
			if !errors.Is(err, errOnPurpose) {
				t.Errorf("%s, step %d: %v", name, n, err)
			}
			if after := w.wiring(t, c.Config.ID); after != before {
				t.Fatalf("%s, step %d failed: the network was\n%s\nand is\n%s", name, n, before, after)
			}
		}
	}
}

// TestRewiringKilled: killed before whichever step, the next command finishes it:
// what was to come has not, what was to go is gone.
func TestRewiringKilled(t *testing.T) {
	w := newWorld(t)
	c := w.wired(t)
	id := c.Config.ID
	before := w.wiring(t, id)
	if err := w.Disconnect(id, "blue", Watch{}); err != nil {
		t.Fatal(err)
	}
	without := w.wiring(t, id)
	for name, test := range map[string]struct {
		change changer
		want   string
	}{
		"connect":    {w.connecting(network.Use{Network: "red", Priority: 9}), before},
		"disconnect": {disconnecting("blue"), without},
	} {
		for n, steps := 0, 1; n < steps; n++ {
			if w.container(t, id).State.Network.Endpoint("blue") == nil {
				w.rewireBlue(t, id)
			}
			var err error
			steps, err = w.rewireUntil(w.container(t, id), test.change, n, true)
			if !errors.Is(err, errOnPurpose) {
				t.Errorf("%s, step %d: %v", name, n, err)
			}
			if err := w.Heal(); err != nil {
				t.Errorf("%s, step %d: %v", name, n, err)
			}
			if after := w.wiring(t, id); sameWiring(after) != sameWiring(test.want) {
				t.Fatalf("%s, killed before step %d: the network should be\n%s\nand is\n%s", name, n, test.want, after)
			}
		}
	}
}

// rewireBlue puts the container back on blue, and makes the order what it was.
func (w *world) rewireBlue(t *testing.T, id string) {
	t.Helper()
	for _, name := range []string{"green"} {
		if err := w.Disconnect(id, name, Watch{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"blue", "green"} {
		if err := w.Connect(id, network.Use{Network: name}, Watch{}); err != nil {
			t.Fatal(err)
		}
	}
}

// sameWiring leaves out addresses and hardware addresses: a lease that was given
// back is not given out again at once.
func sameWiring(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		for word := range strings.FieldsSeq(line) {
			if !strings.ContainsAny(word, ":.[{") && !strings.Contains(word, "veth") {
				b.WriteString(word + " ")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}
