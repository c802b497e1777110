package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// A row of the table is one thing that is done with each subject.
type row struct {
	name   string
	unit   string
	rounds func(*arena) int
	// can tells whether the subject can do it.
	can func(*subject) bool
	// running: it is done with a detached container, which is there for all rounds.
	running bool
	// once does it and returns the number in the row's unit.
	once func(a *arena, s *subject, id string) (float64, error)
}

func fast(a *arena) int { return a.rounds }
func slow(a *arena) int { return a.loops }

var rows = []row{
	{
		name: "run --rm true", unit: "ms", rounds: fast,
		can: func(s *subject) bool { return s.run != "" },
		once: func(a *arena, s *subject, _ string) (float64, error) {
			return timed(func() error { return quiet(a.fill(s.run, a.id(), 0)...) })
		},
	},
	{
		name: "exec true", unit: "ms", rounds: fast, running: true,
		can: func(s *subject) bool { return s.exec != "" },
		once: func(a *arena, s *subject, id string) (float64, error) {
			return timed(func() error { return quiet(a.fill(s.exec, id, 0)...) })
		},
	},
	{
		name: "run -d", unit: "ms", rounds: fast,
		can:  func(s *subject) bool { return s.start != "" },
		once: runDetached,
	},
	{
		name: "loop of run --rm", unit: "ms", rounds: slow,
		can: func(s *subject) bool { return s.run != "" },
		once: func(a *arena, s *subject, _ string) (float64, error) {
			return timed(func() error { return loop(a, s) })
		},
	},
	{
		name: "idle, PSS", unit: "MB", rounds: slow, running: true,
		can:  func(s *subject) bool { return s.ours != "" },
		once: func(_ *arena, s *subject, _ string) (float64, error) { bytes, err := s.pss(); return bytes / 1e6, err },
	},
}

// timed returns milliseconds.
func timed(f func() error) (float64, error) {
	begin := time.Now()
	err := f()
	return float64(time.Since(begin).Microseconds()) / 1000, err
}

// loop runs containers with several workers, each the next when its last is gone.
func loop(a *arena, s *subject) error {
	todo := make(chan string, a.containers)
	for range a.containers {
		todo <- a.id()
	}
	close(todo)
	var wg sync.WaitGroup
	errs := make([]error, a.workers)
	for worker := range a.workers {
		wg.Go(func() {
			for id := range todo {
				if errs[worker] = quiet(a.fill(s.run, id, worker)...); errs[worker] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// A sample is what was measured of one subject in one row.
type sample struct {
	values []float64
	err    error // why there are none
}

// measure does the row in rounds, each subject once in each round. A subject
// that fails is out of the row from then on.
func measure(a *arena, all []*subject, r row) map[*subject]*sample {
	samples := map[*subject]*sample{}
	ids := map[*subject]string{}
	for _, s := range all {
		if s.skipped != nil || !r.can(s) {
			continue
		}
		samples[s] = new(sample)
		if r.running {
			ids[s], samples[s].err = s.detached(a)
		}
	}
	for range r.rounds(a) {
		for _, s := range all {
			if this := samples[s]; this != nil && this.err == nil {
				var value float64
				value, this.err = r.once(a, s, ids[s])
				this.values = append(this.values, value)
			}
		}
	}
	for s, id := range ids {
		if err := quiet(a.fill(s.remove, id, 0)...); err != nil && samples[s].err == nil {
			samples[s].err = err
		}
	}
	return samples
}

func (s *sample) median() float64 {
	sorted := slices.Sorted(slices.Values(s.values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

func (s *sample) String() string {
	return fmt.Sprintf("%s (%s–%s)", short(s.median()), short(slices.Min(s.values)), short(slices.Max(s.values)))
}

// short prints about three digits.
func short(value float64) string {
	switch {
	case value >= 100:
		return fmt.Sprintf("%.0f", value)
	case value >= 10:
		return fmt.Sprintf("%.1f", value)
	default:
		return fmt.Sprintf("%.2f", value)
	}
}
