package names

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A lock is of a directory that has a name, whoever removes empty ones meanwhile, and
// who only looks is not taken for a server.
func TestClaimBesideOthers(t *testing.T) {
	runroot := t.TempDir()
	dir := Directory(runroot, "blue")
	var done atomic.Bool
	errs := make(chan error, 2)
	go func() {
		var err error
		for err == nil && !done.Load() {
			err = sweep(dir)
		}
		errs <- err
	}()
	go func() {
		var err error
		for err == nil && !done.Load() {
			_, err = Alive(runroot, "blue")
		}
		errs <- err
	}()
	for range 3000 {
		lock, err := claim(dir)
		if err != nil || lock == nil {
			t.Fatalf("not claimed: %v", err)
		}
		if err := named(lock); err != nil {
			t.Fatalf("claimed a directory without a name: %v", err)
		}
		if second, err := claim(dir); second != nil || err != nil {
			t.Fatalf("claimed twice: %v", err)
		}
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
	}
	done.Store(true)
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if err := sweep(dir); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(Root(runroot), "*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// Records are written and removed by many at once, and none is lost.
func TestRecordsBesideOthers(t *testing.T) {
	runroot := t.TempDir()
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			s := AddName{Runroot: runroot, Network: "blue", Record: Record{Container: strings.Repeat("0", i+1), Name: "web"}}
			for range 500 {
				if err := errors.Join(s.Apply(), s.Check(), s.Undo()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if left, err := filepath.Glob(filepath.Join(Root(runroot), "*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}
