package runtime

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onlyStates is a world for tests that make no container, only what is written
// down of one.
func onlyStates(t *testing.T) *world {
	dir := t.TempDir()
	return &world{Runtime: &Runtime{Root: filepath.Join(dir, "root"), Runroot: filepath.Join(dir, "run")}}
}

// kept makes a container as another command would have left it: its directory,
// its name and config.json.
func (w *world) kept(t *testing.T, n int) *Config {
	t.Helper()
	c := &Config{ID: testID(n), Name: "kept", Args: []string{"true"}}
	if err := os.MkdirAll(w.lasting(c.ID, "upper"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := w.takeName(c.Name, c.ID); err != nil {
		t.Fatal(err)
	}
	if err := writeNew(w.lasting(c.ID, "config.json"), c); err != nil {
		t.Fatal(err)
	}
	return c
}

// live writes the running state of a container whose process is a real one, and
// returns it. It ends with the test.
func (w *world) live(t *testing.T, id string) *exec.Cmd {
	t.Helper()
	c := exec.Command("sleep", "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill() // it may have been killed
		c.Wait()
	})
	ticks, _, err := processStart(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	w.writeState(t, id, &State{Pid: c.Process.Pid, StartTime: ticks, BootID: bootID(), Started: time.Now()})
	return c
}

func (w *world) writeState(t *testing.T, id string, s *State) {
	t.Helper()
	if err := os.MkdirAll(w.running(id), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := replace(w.running(id, "state.json"), s); err != nil {
		t.Fatal(err)
	}
}

// locked holds the container's lock as another process would.
func (w *world) locked(t *testing.T, id string) *lock {
	t.Helper()
	l, err := w.lock(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.release)
	return l
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// A command with another --root and the same --runroot took the address, the
// cgroup and the state of living containers away.
func TestHealLeavesOtherRoots(t *testing.T) {
	w := onlyStates(t)
	id := testID(1)
	process := w.live(t, id)
	if err := w.Heal(); err != nil {
		t.Error(err)
	}
	if !exists(w.running(id, "state.json")) || !w.holds(id) {
		t.Fatal("a living container has lost what it holds")
	}
	var running *RunningError
	if err := w.end(id, Result{}); !errors.As(err, &running) {
		t.Errorf("end of a living container: %v", err)
	}

	process.Process.Kill()
	process.Wait()
	for range 2 { // whoever looks after it has a minute
		if err := w.Heal(); err != nil {
			t.Error(err)
		}
		if !exists(w.running(id, "state.json")) {
			t.Fatal("cleaned up at once")
		}
	}
	before := time.Now().Add(-2 * time.Minute)
	if err := os.Chtimes(w.running(id, "dead"), before, before); err != nil {
		t.Fatal(err)
	}
	if err := w.Heal(); err != nil {
		t.Error(err)
	}
	if exists(w.running(id)) || w.holds(id) {
		t.Error("what nobody has looked after for a minute is still there")
	}
}

// The directory of a launch that was killed before it had a name stayed for a
// minute. One whose lock is held stays for as long as that.
func TestHealUnnamed(t *testing.T) {
	w := onlyStates(t)
	path := w.lasting(unnamed + testID(1))
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-5 * time.Second)
	if err := os.Chtimes(path, before, before); err != nil {
		t.Fatal(err)
	}
	lock, err := openLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.take(unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := w.Heal(); err != nil || !exists(path) {
		t.Errorf("removed while it is locked: %v", err)
	}
	lock.release()
	if err := w.Heal(); err != nil || exists(path) {
		t.Errorf("not removed: %v", err)
	}
}

// A config.json that could not be read made its container an unfinished one, and
// the next command removed it.
func TestHealKeepsTheUnreadable(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"truncated":    func(path string) error { return os.Truncate(path, 5) },
		"empty":        func(path string) error { return os.Truncate(path, 0) },
		"changed type": func(path string) error { return os.WriteFile(path, []byte(`{"ID": 5}`), 0o600) },
		"directory":    func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"dangling":     func(path string) error { return errors.Join(os.Remove(path), os.Symlink("nosuch", path)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := onlyStates(t)
			c := w.kept(t, 1)
			if err := os.MkdirAll(w.running(c.ID), 0o700); err != nil {
				t.Fatal(err)
			}
			path := w.lasting(c.ID, "config.json")
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			if w.Heal() == nil || w.end(c.ID, Result{}) == nil {
				t.Error("no error")
			}
			if !exists(w.lasting(c.ID, "upper")) || !exists(w.running(c.ID)) || !w.named("kept", c.ID) {
				t.Fatal("the container is gone")
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := w.Heal(); err != nil { // now it is unfinished
				t.Error(err)
			}
			if exists(w.lasting(c.ID)) || exists(w.running(c.ID)) || w.named("kept", c.ID) {
				t.Error("an unfinished container is still there")
			}
		})
	}
}

// rm during a launch waited for the container to end by itself, with and without
// force.
func TestRemoveDuringLaunch(t *testing.T) {
	for _, force := range []bool{false, true} {
		w := onlyStates(t)
		c := w.kept(t, 1)
		lock := w.locked(t, c.ID)
		done := make(chan error)
		go func() { done <- w.Remove("kept", RemoveOptions{Force: force}) }()
		select {
		case err := <-done:
			t.Fatalf("force %t: did not wait for the launch: %v", force, err)
		case <-time.After(20 * time.Millisecond):
		}
		process := w.live(t, c.ID)
		if !force {
			var running *RunningError
			if err := <-done; !errors.As(err, &running) || running.Name != "kept" {
				t.Errorf("rm: %v", err)
			}
			continue
		}
		process.Wait() // killed
		lock.release()
		if err := <-done; err != nil {
			t.Errorf("rm -f: %v", err)
		}
		if exists(w.lasting(c.ID)) || w.named("kept", c.ID) {
			t.Error("rm -f has left it there")
		}
	}
}

// start took every holder of the lock for the container running.
func TestStartWaitsForTheLock(t *testing.T) {
	w := onlyStates(t)
	c := w.kept(t, 1)
	lock := w.locked(t, c.ID)
	if err := w.Start("kept", Watch{}); !errors.Is(err, errLocked) {
		t.Errorf("locked, not running: %v", err)
	}
	var released sync.WaitGroup
	released.Go(func() {
		time.Sleep(20 * time.Millisecond)
		lock.release()
	})
	l, err := w.lockToStart(c.ID)
	released.Wait()
	if err != nil {
		t.Fatal(err)
	}
	w.live(t, c.ID)
	if err := w.Start("kept", Watch{}); err == nil || errors.Is(err, errLocked) {
		t.Errorf("locked and running: %v", err)
	}
	l.release()
	if err := w.Start("kept", Watch{}); err == nil || errors.Is(err, errLocked) {
		t.Errorf("running: %v", err)
	}
}

// stop and wait waited for the end of a run that began after the one they had
// been asked about.
func TestWaitEndsWithItsRun(t *testing.T) {
	w := onlyStates(t)
	c := w.kept(t, 1)
	first := &State{Pid: 1 << 22, StartTime: 1, BootID: bootID()} // pid_max: no process has it
	w.writeState(t, c.ID, first)
	if err := replace(w.lasting(c.ID, "result.json"), &Result{ExitCode: 7}); err != nil {
		t.Fatal(err)
	}
	old, err := w.Container("kept")
	if err != nil {
		t.Fatal(err)
	}
	w.locked(t, c.ID)
	done := make(chan error)
	go func() {
		result, err := w.Wait(old)
		if err == nil && result.ExitCode != 7 {
			err = errors.New("the exit code of another run")
		}
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("did not wait for the end to be dealt with: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	w.live(t, c.ID) // runs again
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Two commands that found the same stale name both got it.
func TestStaleNameIsTakenOnce(t *testing.T) {
	w := onlyStates(t)
	const takers = 8
	for n := range takers {
		if err := os.MkdirAll(w.lasting(testID(n)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 {
		if err := w.takeName("stale", testID(takers)); err != nil { // without a directory
			t.Fatal(err)
		}
		var group sync.WaitGroup
		var taken [takers]error
		for n := range takers {
			group.Go(func() { taken[n] = w.takeName("stale", testID(n)) })
		}
		group.Wait()
		count := 0
		for n, err := range taken {
			var inUse *NameInUseError
			switch {
			case err == nil:
				count++
				if err := w.freeName("stale", testID(n)); err != nil {
					t.Fatal(err)
				}
			case !errors.As(err, &inUse):
				t.Error(err)
			}
		}
		if count != 1 || exists(w.Root+"/names/stale") {
			t.Fatalf("%d have taken the name", count)
		}
	}
}

// When no descriptor is left nothing can be known of a container: it is taken
// for a living one.
func TestAliveWithoutDescriptors(t *testing.T) {
	w := onlyStates(t)
	w.live(t, testID(1))
	s := w.state(testID(1))
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 0, Max: before.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	alive := s.alive()
	_, err := w.readState(testID(1))
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if !alive || !errors.Is(err, unix.EMFILE) {
		t.Errorf("alive: %t, state.json: %v", alive, err)
	}
}

// pidfds is how many descriptors of processes this one has.
func pidfds(t *testing.T) (count int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		target, _ := os.Readlink("/proc/self/fd/" + e.Name()) // that of the directory is closed
		if strings.Contains(target, "pidfd") {
			count++
		}
	}
	return count
}

// wait told "no such container" of one that is removed when it ends, after it had
// waited for it.
func TestWaitKnowsTheRemoved(t *testing.T) {
	w := onlyStates(t)
	c := w.kept(t, 1)
	process := w.live(t, c.ID)
	box, err := w.Container("kept")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := box.pidfd()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lock := w.locked(t, c.ID)
	var result *Result
	before := pidfds(t)
	done := make(chan error)
	go func() {
		var err error
		result, err = w.Wait(box)
		done <- err
	}()
	for pidfds(t) == before { // until Wait has its own
		time.Sleep(time.Millisecond)
	}
	if _, ok := exitCode(fd); ok {
		t.Error("an exit code of a process that lives")
	}
	process.Process.Kill()
	process.Wait()
	if err := errors.Join(os.RemoveAll(w.running(c.ID)), w.erase(c.ID, c.Name)); err != nil {
		t.Fatal(err)
	}
	lock.release()
	err = <-done
	var missing *NotFoundError
	if _, ok := exitCode(fd); !ok { // before Linux 6.15
		if !errors.As(err, &missing) {
			t.Error(err)
		}
		return
	}
	if err != nil || result.ExitCode != 137 {
		t.Errorf("%+v, %v", result, err)
	}
}
