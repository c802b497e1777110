package network

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/minictr/minictr/runtime/step"
)

// BenchmarkShared is the shared part of a launch on a host where everything is
// there: the price that every launch pays.
func BenchmarkShared(b *testing.B) {
	freshHost(b)
	cfg := resolve(b, b.TempDir(), 1)
	run(b, Shared(cfg))
	for b.Loop() {
		run(b, Shared(cfg))
	}
}

// BenchmarkSharedFirst is the same where nothing is there.
func BenchmarkSharedFirst(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		freshHost(b)
		cfg := resolve(b, b.TempDir(), 1)
		b.StartTimer()
		run(b, Shared(cfg))
	}
}

// BenchmarkEndpoint is one container's part. Its namespace is made outside of
// the measurement and stays, as long as the bridge has room: one that dies keeps
// the kernel's network lock busy in the background.
func BenchmarkEndpoint(b *testing.B) {
	requireRoot(b)
	var took [][]time.Duration
	var steps []step.Step
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		if n%1000 == 0 {
			freshHost(b)
			run(b, Shared(resolve(b, b.TempDir(), 1)))
		}
		cfg := resolve(b, "/nonexistent", -1-n)
		steps = Inside(cfg)
		took = append(took, nil)
		b.StartTimer()
		err := step.Run(steps, func(_ step.Step, t time.Duration, _ error) { took[n] = append(took[n], t) })
		if err != nil {
			b.Fatal(err)
		}
	}
	for i, s := range steps {
		var one []time.Duration
		for _, t := range took {
			one = append(one, t[i])
		}
		slices.Sort(one)
		b.Logf("%8s  %s", one[len(one)/2].Round(time.Microsecond), s)
	}
}

// BenchmarkResolve is the reading of the host and the lease, with so many
// containers there. From 1000 on the ports of the bridge are counted.
func BenchmarkResolve(b *testing.B) {
	for _, there := range []int{1, 999, 1000} {
		b.Run(fmt.Sprint(there), func(b *testing.B) {
			freshHost(b)
			runroot := b.TempDir()
			run(b, Shared(resolve(b, runroot, 1)))
			fillBridge(b, runroot, 2, there)
			for b.Loop() {
				cfg, err := Resolve(requestOf(runroot, 5000))
				if err != nil {
					b.Fatal(err)
				}
				if err := Release(cfg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
