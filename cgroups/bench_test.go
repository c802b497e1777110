package cgroups

import (
	"errors"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/minictr/minictr/runtime/step"
)

func BenchmarkDetect(b *testing.B) {
	for b.Loop() {
		if _, err := Detect(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	h, err := Detect()
	if err != nil {
		b.Fatal(err)
	}
	r := launchLimits()
	for b.Loop() {
		if _, err := h.New("/minictr/0a", r); err != nil {
			b.Fatal(err)
		}
	}
}

// launchLimits are those of "run --memory 512m --cpus 1.5 --pids-limit 100".
func launchLimits() *specs.LinuxResources {
	r, err := Resources(Options{Memory: "512m", CPUs: "1.5", PidsLimit: 100}, nil)
	if err != nil {
		panic(err)
	}
	r.Devices = DefaultDevices()
	return r
}

// phases collects how long each phase of a launch took, in µs, and reports the
// medians.
type phases map[string][]float64

func (p phases) time(name string, act func() error) error {
	begin := time.Now()
	err := act()
	p[name] = append(p[name], float64(time.Since(begin).Nanoseconds())/1e3)
	return err
}

func (p phases) report(b *testing.B) {
	b.ReportMetric(0, "ns/op")
	for name, all := range p {
		slices.Sort(all)
		b.ReportMetric(all[len(all)/2], "µs-"+name)
	}
}

// BenchmarkLaunch is what each launch pays, in medians: to plan, to make the
// groups, to set limits and device rules, to enter the v1 hierarchies, and to
// remove them.
func BenchmarkLaunch(b *testing.B) {
	h := requireHost(b)
	for name, r := range map[string]*specs.LinuxResources{"default": {Devices: DefaultDevices()}, "limits": launchLimits()} {
		b.Run(name, func(b *testing.B) {
			p := phases{}
			for n := 0; b.Loop(); n++ {
				time.Sleep(5 * time.Millisecond) // a launch is not one of thousands in a row
				if err := p.launch(h, parent()+"/bench"+strconv.Itoa(n), r); err != nil {
					b.Fatal(err)
				}
			}
			p.report(b)
		})
	}
}

func (p phases) launch(h *Host, path string, r *specs.LinuxResources) error {
	var g *Group
	err := p.time("plan", func() (err error) { g, err = h.New(path, r); return err })
	if err != nil {
		return err
	}
	var mkdir, rest []step.Step
	for _, s := range g.Steps() {
		if _, ok := s.(MakeGroup); ok {
			mkdir = append(mkdir, s)
		} else {
			rest = append(rest, s)
		}
	}
	err = errors.Join(
		p.time("mkdir", func() error { return step.Run(mkdir, nil) }),
		p.time("limits", func() error { return step.Run(rest, nil) }),
	)
	return errors.Join(err, p.enter(g), p.time("remove", g.Remove))
}

// enter moves this thread into the v1 hierarchies, as the child of a launch
// does, and back to where it was.
func (p phases) enter(g *Group) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := Of(0)
	if err != nil {
		return err
	}
	err = p.time("enter", func() error {
		for _, file := range g.TaskFiles() {
			if err := writeFile(file, "0"); err != nil {
				return err
			}
		}
		return nil
	})
	for _, d := range g.dirs {
		if !d.V2 {
			err = errors.Join(err, writeFile(filepath.Join(d.Mountpoint, home[d.used[0]], "tasks"), "0"))
		}
	}
	return err
}

// BenchmarkAttach is the way in from outside, after a quiet time as before a
// launch by hand: one hierarchy after the other, and all at once.
func BenchmarkAttach(b *testing.B) {
	h := requireHost(b)
	for _, parallel := range []bool{false, true} {
		b.Run(map[bool]string{false: "sequential", true: "parallel"}[parallel], func(b *testing.B) {
			p := phases{}
			for n := 0; b.Loop(); n++ {
				time.Sleep(200 * time.Millisecond)
				if err := p.attach(b, h, "attach"+strconv.Itoa(n), parallel); err != nil {
					b.Fatal(err)
				}
			}
			p.report(b)
		})
	}
}

func (p phases) attach(b *testing.B, h *Host, name string, parallel bool) error {
	g := newGroup(b, h, name, nil)
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	steps := g.Attach(cmd.Process.Pid)
	return p.time("attach", func() error {
		if !parallel {
			return step.Run(steps, nil)
		}
		done := make(chan error)
		for _, s := range steps {
			go func() { done <- s.Apply() }()
		}
		var errs []error
		for range steps {
			errs = append(errs, <-done)
		}
		return errors.Join(errs...)
	})
}
