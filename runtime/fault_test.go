package runtime

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/minictr/minictr/runtime/program"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// tryToRun starts the container with the hooks and expects it to fail.
func (w *world) tryToRun(t *testing.T, c *Config, h hooks) error {
	t.Helper()
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := w.fill(c); err != nil {
		t.Fatal(err)
	}
	l := &launch{Runtime: w.Runtime, config: c, hooks: h}
	s := Standard{Stdin: null, Stdout: null, Stderr: null}
	p, err := l.createAndStart(s)
	if err == nil {
		if p != nil {
			p.Wait(s)
		}
		t.Fatal("it started all the same")
	}
	return err
}

// assertNothing fails the test when the failed container has left anything.
func (w *world) assertNothing(t *testing.T, before string) {
	t.Helper()
	for _, dir := range []string{w.Root + "/containers", w.Root + "/names", w.Root + "/volumes", w.Runroot + "/containers"} {
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Errorf("left behind: %s/%s", dir, entries[0].Name())
		}
	}
	if after := descriptors(t); after != before {
		t.Errorf("descriptors before:\n%safter:\n%s", before, after)
	}
	if c := children(t); len(c) > 0 {
		t.Errorf("left behind: processes %s", c)
	}
	if list, err := w.Networks().States(); err != nil {
		t.Error(err)
	} else {
		for _, n := range list {
			if len(n.Leases) > 0 {
				t.Errorf("left behind: leases %v", n.Leases)
			}
		}
	}
}

// Every system call of the child fails once. The error must name it, and nothing
// may be left of the container.
func TestEveryOperationFails(t *testing.T) {
	w := newWorld(t)
	w.run(t, w.layered("true")) // makes what containers share
	for _, mode := range []string{"foreground", "detached"} {
		var whole *program.Program
		config := func() *Config {
			c := w.layered("true")
			c.ID, c.Detach = testID(1), mode == "detached"
			c.Tmpfs("/tmp")
			c.with("data", "/data")
			return c
		}
		count := w.operations(t, config(), &whole)
		before := descriptors(t)
		for i := range count {
			c := config()
			c.ID = testID(i + 2)
			err := w.tryToRun(t, c, hooks{program: func(p *program.Program) *program.Program { return p.FailAt(i) }})
			op := whole.Ops[i]
			var failed *program.Error
			var command *CommandError
			switch {
			case op.Name == "execveat" && errors.As(err, &command):
			case !errors.As(err, &failed):
				t.Errorf("%s: operation %d, %s: %v", mode, i, op, err)
			case failed.Index != i || failed.Op.Name != op.Name || !errors.Is(err, unix.ENOSYS):
				t.Errorf("%s: operation %d, %s: %v", mode, i, op, err)
			}
			w.assertNothing(t, before)
			if t.Failed() {
				return
			}
		}
		t.Logf("%s: %d operations failed, each once", mode, count)
	}
}

// operations runs the container and returns how many operations its program has.
func (w *world) operations(t *testing.T, c *Config, keep **program.Program) int {
	t.Helper()
	err := w.tryToRun(t, c, hooks{program: func(p *program.Program) *program.Program {
		*keep = p
		return p.FailAt(0)
	}})
	if err == nil {
		t.Fatal("the probe started")
	}
	return len((*keep).Ops)
}

// Tmpfs adds a tmpfs, so that the program has one of everything.
func (c *Config) Tmpfs(path string) {
	c.Mounts = append(c.Mounts, Mount{Type: "tmpfs", Source: "tmpfs", Destination: path})
}

// Every change to the host fails once, in a namespace where no container has run
// before, so that the bridge and all that belongs to it is among them.
func TestEveryStepFails(t *testing.T) {
	w := newWorld(t)
	// What a step says, without what differs from one container to the next.
	differs := regexp.MustCompile(`veth\w+|\b[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+\b|\b[0-9a-f]{12}\b|[0-9a-f]{64}`)
	same := func(s step.Step) string { return differs.ReplaceAllString(s.Words(), "…") }
	var mu sync.Mutex
	var all []string
	record := func(steps []step.Step) []step.Step {
		mu.Lock()
		defer mu.Unlock()
		for _, s := range steps {
			all = append(all, same(s))
		}
		return steps
	}
	fail := errors.New("failed on purpose")
	n := 1 << 20
	w.put(t, "data/file", "x") // for a volume to be filled with
	config := func() *Config {
		c := w.layered("true").with("data", "/data").with("", "/anonymous")
		n++
		c.ID, c.Name = testID(n), "fault"
		return c
	}
	last := func(p *program.Program) *program.Program { return p.FailAt(len(p.Ops) - 1) }
	w.tryToRun(t, config(), hooks{steps: record, program: last})
	if len(all) < 15 {
		t.Fatalf("only %d steps: %s", len(all), strings.Join(all, "; "))
	}
	before := descriptors(t)
	for _, words := range slices.Clone(all) {
		inject := func(steps []step.Step) []step.Step {
			for i, s := range steps {
				if same(s) == words {
					return step.FailAt(steps, i, fail)
				}
			}
			return steps
		}
		err := w.tryToRun(t, config(), hooks{steps: inject})
		if !errors.Is(err, fail) {
			t.Errorf("%s: %v", words, err)
		}
		w.assertNothing(t, before)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d steps failed, each once", len(all))
}
