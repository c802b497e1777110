package volume

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	stdruntime "runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/test/kernel"
)

// The tests mount: TestMain runs the whole test binary a second time in a mount
// namespace of its own. As the child of a test that will kill it, it fills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(fillVariable); dir != "" {
		fillForEver(dir)
	}
	if os.Geteuid() != 0 || os.Getenv(insideVariable) != "" {
		os.Exit(m.Run())
	}
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Env = append(os.Environ(), insideVariable+"=1")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	err := c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		panic(err)
	}
}

const insideVariable = "MINICTR_TEST_INSIDE"

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newStore(t testing.TB) *Store {
	t.Helper()
	kernel.RequireRoot(t)
	return OpenStore(t.TempDir())
}

func (s *Store) must(t testing.TB, v Volume) {
	t.Helper()
	made, err := s.Create(v)
	check(t, err)
	if !made {
		t.Fatalf("%s was there already", v.Name)
	}
}

func (s *Store) hold(t testing.TB, name string) *Hold {
	t.Helper()
	h, err := s.Hold(name)
	check(t, err)
	t.Cleanup(h.Release)
	return h
}

func nobody(string) ([]string, error) { return nil, nil }

// left fails the test when the store has more in it than these volumes.
func (s *Store) left(t testing.TB, want ...string) {
	t.Helper()
	names, err := s.names()
	check(t, err)
	if !slices.Equal(names, want) {
		t.Errorf("the store holds %q, want %q", names, want)
	}
}

func TestCreateAndList(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	s := newStore(t)
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("of no store: %v, %v", list, err)
	}
	s.must(t, Volume{Name: "two", Labels: map[string]string{"a": "b"}})
	s.must(t, Volume{Name: "one", Options: map[string]string{"type": "tmpfs"}})
	list, err := s.List()
	check(t, err)
	if len(list) != 2 || list[0].Name != "one" || list[1].Labels["a"] != "b" || list[1].Driver != Local {
		t.Errorf("%+v", list)
	}
	for path, mode := range map[string]fs.FileMode{".": 0o700, "two": 0o700, "two/_data": 0o755, "two/volume.json": 0o600} {
		if st, err := os.Stat(s.path(path)); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	if made, err := s.Create(Volume{Name: "two"}); made || err != nil {
		t.Errorf("again: %v, %v", made, err)
	}
	if _, err := s.Create(Volume{Name: "one", Options: map[string]string{"o": "bind", "device": "/srv"}}); err == nil || !strings.Contains(err.Error(), "with other options: type=tmpfs") {
		t.Errorf("other options: %v", err)
	}
	var missing *NotFoundError
	for _, name := range []string{"three", "../one", ""} {
		if _, err := s.Lookup(name); !errors.As(err, &missing) {
			t.Errorf("%q: %v", name, err)
		}
		if err := s.Remove(name, nobody); !errors.As(err, &missing) {
			t.Errorf("remove %q: %v", name, err)
		}
	}
}

// Many make one volume at once: one has made it, and all have it.
func TestCreateAtOnce(t *testing.T) {
	s := newStore(t)
	var wait sync.WaitGroup
	var mu sync.Mutex
	count := 0
	for range 16 {
		wait.Go(func() {
			for range 20 {
				made, err := s.Create(Volume{Name: "shared"})
				if err != nil {
					t.Error(err)
				}
				if made {
					mu.Lock()
					count++
					mu.Unlock()
				}
				h, err := s.Hold("shared")
				if err != nil {
					t.Error(err)
					return
				}
				h.Release()
			}
		})
	}
	wait.Wait()
	if count != 1 {
		t.Errorf("made %d times", count)
	}
	s.left(t, "shared")
}

func TestRemove(t *testing.T) {
	s := newStore(t)
	s.must(t, Volume{Name: "data"})
	check(t, os.WriteFile(s.path("data")+"/_data/file", []byte("x"), 0o600))
	var used *InUseError
	err := s.Remove("data", func(string) ([]string, error) { return []string{"web", "db"}, nil })
	if !errors.As(err, &used) || err.Error() != "remove volume data: in use by container web, db" || !errors.Is(err, unix.EBUSY) {
		t.Errorf("in use: %v", err)
	}
	h := s.hold(t, "data")
	if err := s.Remove("data", nobody); !errors.As(err, &used) || !strings.Contains(err.Error(), "being started") {
		t.Errorf("held: %v", err)
	}
	h.Release()
	check(t, os.Mkdir(s.path("data")+"/_data/sub", 0o755))
	check(t, unix.Mount(t.TempDir(), s.path("data")+"/_data/sub", "", unix.MS_BIND, ""))
	if err := s.Remove("data", nobody); err == nil || !strings.Contains(err.Error(), "_data/sub: something is mounted there") {
		t.Errorf("with a mount: %v", err)
	}
	check(t, unix.Unmount(s.path("data")+"/_data/sub", 0))
	if b, err := os.ReadFile(s.path("data") + "/_data/file"); err != nil || string(b) != "x" {
		t.Errorf("after all that was refused: %q, %v", b, err)
	}
	check(t, s.Remove("data", nobody))
	s.left(t)
	if _, err := s.Hold("data"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("hold what is gone: %v", err)
	}
}

// A directory that somebody has made by hand becomes the volume; what is no
// directory is in the way.
func TestAdopt(t *testing.T) {
	s := newStore(t)
	check(t, os.MkdirAll(s.path("byhand")+"/_data", 0o700))
	check(t, os.WriteFile(s.path("byhand")+"/_data/file", nil, 0o600))
	check(t, os.WriteFile(s.path("byhand")+"/.new-volume.json", []byte("half"), 0o600))
	var missing *NotFoundError
	if _, err := s.Hold("byhand"); !errors.As(err, &missing) {
		t.Errorf("before it is a volume: %v", err)
	}
	if made, err := s.Create(Volume{Name: "byhand"}); made || err != nil {
		t.Errorf("%v, %v", made, err)
	}
	h := s.hold(t, "byhand")
	fd, err := h.Open()
	check(t, err)
	defer unix.Close(fd)
	if err := unix.Faccessat(fd, "file", unix.F_OK, 0); err != nil {
		t.Error(err)
	}
	check(t, os.WriteFile(s.path("file"), nil, 0o600))
	check(t, os.Symlink(t.TempDir(), s.path("link")))
	for _, name := range []string{"file", "link"} {
		if _, err := s.Create(Volume{Name: name}); err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A container can nest directories deeper than a process may have files open.
func TestRemoveDeep(t *testing.T) {
	s := newStore(t)
	s.must(t, Volume{Name: "deep"})
	fd, err := unix.Open(s.path("deep")+"/_data", unix.O_PATH|unix.O_CLOEXEC, 0)
	check(t, err)
	for range 3000 {
		check(t, unix.Mkdirat(fd, "d", 0o755))
		next, err := unix.Openat(fd, "d", unix.O_PATH|unix.O_CLOEXEC, 0)
		check(t, err)
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	var limit unix.Rlimit
	check(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	check(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1024, Max: limit.Max}))
	check(t, s.Remove("deep", nobody))
	s.left(t)
}

func TestSize(t *testing.T) {
	s := newStore(t)
	s.must(t, Volume{Name: "data"})
	s.must(t, Volume{Name: "srv", Options: map[string]string{"o": "bind", "device": s.path("data") + "/_data"}})
	check(t, os.WriteFile(s.path("data")+"/_data/file", make([]byte, 1<<20), 0o600))
	for name, least := range map[string]int64{"data": 1 << 20, "srv": 0} {
		v, err := s.Lookup(name)
		check(t, err)
		if n, err := s.Size(v); err != nil || n < least || n > least*2 {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
}

// A volume whose file was lost can be removed, and does not hide the others.
func TestBrokenVolume(t *testing.T) {
	s := newStore(t)
	s.must(t, Volume{Name: "broken"})
	s.must(t, Volume{Name: "whole"})
	check(t, os.Truncate(s.path("broken")+"/volume.json", 3))
	list, err := s.List()
	if err == nil || !strings.Contains(err.Error(), "broken/volume.json") || len(list) != 1 || list[0].Name != "whole" {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := s.Hold("broken"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("hold: %v", err)
	}
	check(t, s.Remove("broken", nobody))
	s.left(t, "whole")
}

// What a killed process has left goes; what a living one is making stays.
func TestHeal(t *testing.T) {
	s := newStore(t)
	s.must(t, Volume{Name: "data"})
	for _, name := range []string{".new-1", ".gone-2"} {
		check(t, os.MkdirAll(filepath.Join(s.path(name), "_data/deep"), 0o700))
	}
	dir, held, err := s.fresh()
	check(t, err)
	check(t, s.Heal())
	s.left(t, filepath.Base(dir), "data")
	check(t, held.Close())
	check(t, s.Heal())
	s.left(t, "data")
}

// Removing, making and holding race; what is held is always whole.
func TestHoldRace(t *testing.T) {
	s := newStore(t)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 100 {
				if _, err := s.Create(Volume{Name: "data"}); err != nil {
					t.Error(err)
				}
				var used *InUseError
				var missing *NotFoundError
				if err := s.Remove("data", nobody); err != nil && !errors.As(err, &used) && !errors.As(err, &missing) {
					t.Error(err)
				}
			}
		})
		wait.Go(func() {
			for range 100 {
				h, err := s.Hold("data")
				if errors.Is(err, fs.ErrNotExist) {
					stdruntime.Gosched()
					continue
				}
				if err != nil {
					t.Error(err)
					continue
				}
				fd, err := h.Open()
				if err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(s.path("data") + "/volume.json"); err != nil {
					t.Errorf("held, and gone: %v", err)
				}
				unix.Close(fd)
				h.Release()
			}
		})
	}
	wait.Wait()
	check(t, s.Heal())
}

// A tmpfs is one for all that use it, and ends with the last.
func TestTmpfs(t *testing.T) {
	s := newStore(t)
	s.must(t, Volume{Name: "memory", Options: map[string]string{"type": "tmpfs", "o": "size=1m,mode=1770"}})
	data := s.path("memory") + "/_data"
	for range 2 {
		h := s.hold(t, "memory")
		fd, err := h.Open()
		check(t, err)
		unix.Close(fd)
		h.Release()
	}
	var fs unix.Statfs_t
	check(t, unix.Statfs(data, &fs))
	st, err := os.Stat(data)
	check(t, err)
	if fs.Type != unix.TMPFS_MAGIC || int64(fs.Blocks)*fs.Bsize != 1<<20 || st.Mode().Perm() != 0o770 {
		t.Errorf("type %#x, %d bytes, mode %v", fs.Type, int64(fs.Blocks)*fs.Bsize, st.Mode())
	}
	check(t, os.WriteFile(data+"/file", nil, 0o600))
	check(t, s.Retire("memory", func() (bool, error) { return true, nil }))
	if _, err := os.Stat(data + "/file"); err != nil {
		t.Errorf("while it is used: %v", err)
	}
	check(t, s.Retire("memory", func() (bool, error) { return false, nil }))
	check(t, unix.Statfs(data, &fs))
	if fs.Type == unix.TMPFS_MAGIC {
		t.Error("it is still mounted")
	}
	h := s.hold(t, "memory") // mounted, and removed
	fd, err := h.Open()
	check(t, err)
	unix.Close(fd)
	h.Release()
	check(t, s.Remove("memory", nobody))
	s.left(t)
}

func TestBind(t *testing.T) {
	s := newStore(t)
	dir := t.TempDir()
	s.must(t, Volume{Name: "srv", Options: map[string]string{"o": "bind", "device": dir}})
	v, err := s.Lookup("srv")
	check(t, err)
	if s.Mountpoint(v) != dir {
		t.Errorf("mountpoint %s", s.Mountpoint(v))
	}
	check(t, os.WriteFile(dir+"/kept", nil, 0o600))
	h := s.hold(t, "srv")
	fd, err := h.Open()
	check(t, err)
	if err := unix.Faccessat(fd, "kept", unix.R_OK, 0); err != nil {
		t.Error(err)
	}
	unix.Close(fd)
	h.Release()
	check(t, s.Remove("srv", nobody))
	if _, err := os.Stat(dir + "/kept"); err != nil {
		t.Errorf("the host's file went with the volume: %v", err)
	}
	s.must(t, Volume{Name: "srv", Options: map[string]string{"o": "bind", "device": dir + "/missing"}})
	if _, err := s.hold(t, "srv").Open(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir+"/missing") {
		t.Errorf("missing device: %v", err)
	}
}

// A container that changes links in the volume all the time never gets a mount of
// anything outside.
func TestOpenInStaysInside(t *testing.T) {
	s := newStore(t)
	outside := t.TempDir()
	check(t, os.WriteFile(outside+"/secret", nil, 0o600))
	s.must(t, Volume{Name: "data"})
	data := s.path("data") + "/_data"
	check(t, os.MkdirAll(data+"/real/deep", 0o755))
	check(t, os.Symlink(outside, data+"/absolute"))
	check(t, os.Symlink("../../../../../../../../../../"+outside, data+"/relative"))
	fd, err := s.hold(t, "data").Open()
	check(t, err)
	defer unix.Close(fd)
	for path, good := range map[string]bool{"real/deep": true, "absolute": false, "relative": false, "missing": false} {
		got, err := OpenIn(fd, path)
		if (err == nil) != good {
			t.Errorf("%s: %v", path, err)
		}
		if err == nil {
			unix.Close(got)
		}
	}
	stop := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Rename(data+"/real", data+"/away") // what fails is tried again
			_ = os.Symlink(outside, data+"/real")
			_ = os.Remove(data + "/real")
			_ = os.Rename(data+"/away", data+"/real")
		}
	})
	for range 5000 {
		for _, path := range []string{"real", "real/deep", "real/deep/../../real"} {
			got, err := OpenIn(fd, path)
			if err != nil {
				continue
			}
			if unix.Faccessat(got, "secret", unix.F_OK, 0) == nil {
				t.Errorf("%s led outside", path)
			}
			unix.Close(got)
		}
	}
	close(stop)
	wait.Wait()
}
