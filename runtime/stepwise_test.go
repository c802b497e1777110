package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// asked runs a container, or tries to, and is asked before each step.
func (w *world) asked(c *Config, ask func(*Stop) error) error {
	p, err := w.Run(c, Standard{}, Watch{Ask: ask})
	if err == nil {
		_, err = p.Wait(Standard{})
	}
	return err
}

// At every stop of a launch it is given up once. Nothing may be left of the container.
func TestGivenUpAtEveryStop(t *testing.T) {
	w := newWorld(t)
	w.run(t, w.layered("true")) // makes what containers share
	n := 1 << 20
	config := func() *Config {
		c := w.layered("true").with("data", "/data").with("", "/anonymous")
		n++
		c.ID, c.Name, c.Remove = testID(n), "stepped", true
		return c
	}
	stops, host := 0, 0
	if err := w.asked(config(), func(s *Stop) error {
		stops++
		if s.Host {
			host++
		}
		if s.Words == "" || !s.Host && len(s.Calls) == 0 {
			t.Errorf("a stop that says nothing: %+v", s)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if host < 15 || stops-host < 20 {
		t.Fatalf("only %d stops on the host and %d in the child", host, stops-host)
	}
	if err := os.RemoveAll(w.Root + "/volumes/data"); err != nil { // a named one stays
		t.Fatal(err)
	}
	before := descriptors(t)
	fail := errors.New("given up")
	for i := range stops {
		at := 0
		err := w.asked(config(), func(*Stop) error {
			at++
			if at == i+1 {
				return fail
			}
			return nil
		})
		if !errors.Is(err, fail) {
			t.Errorf("stop %d: %v", i, err)
		}
		w.assertNothing(t, before)
		if t.Failed() {
			return
		}
	}
	t.Logf("given up at each of %d stops", stops)
}

// With a user namespace the network is made when the child is there; the order is the
// same from one launch to the next.
func TestStopsAreInOrder(t *testing.T) {
	w := newWorld(t)
	if err := os.Chmod(filepath.Dir(filepath.Dir(w.Root)), 0o755); err != nil { // the container's root passes through
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"plain": func(*Config) {},
		"user namespace": func(c *Config) {
			ids := []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
			c.UIDMappings, c.GIDMappings = ids, ids
		},
		"no network": func(c *Config) { c.Network = Network{Mode: "none"} },
	} {
		c := w.config("true")
		change(c)
		inside := false
		if err := w.asked(c, func(s *Stop) error {
			if inside && s.Host {
				t.Errorf("%s: on the host again: %s", name, s.Words)
			}
			inside = !s.Host
			return nil
		}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !inside {
			t.Errorf("%s: the child was not asked about", name)
		}
	}
}
