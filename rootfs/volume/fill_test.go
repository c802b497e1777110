package volume

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/test/kernel"
)

// open opens a directory for reading.
func open(t testing.TB, dir string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// tree makes one of each kind of file.
func tree(t testing.TB, dir string) {
	t.Helper()
	check(t, os.MkdirAll(dir+"/a/b/c", 0o755))
	check(t, os.WriteFile(dir+"/a/file", []byte("content"), 0o640))
	check(t, os.WriteFile(dir+"/setuid", []byte("x"), 0o755))
	check(t, os.Chown(dir+"/setuid", 5, 6))
	check(t, os.Chmod(dir+"/setuid", 0o755|os.ModeSetuid|os.ModeSticky))
	check(t, os.Link(dir+"/a/file", dir+"/a/b/linked"))
	check(t, os.Link(dir+"/a/file", dir+"/zlinked"))
	check(t, os.Symlink("/etc/passwd", dir+"/link"))
	check(t, os.Lchown(dir+"/link", 7, 8))
	check(t, unix.Mknod(dir+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	check(t, unix.Mknod(dir+"/fifo", unix.S_IFIFO|0o620, 0))
	check(t, unix.Mknod(dir+"/socket", unix.S_IFSOCK|0o600, 0))
	check(t, os.WriteFile(dir+"/new\nline\xff", nil, 0o600))
	sparse, err := os.Create(dir + "/sparse")
	check(t, err)
	_, err = sparse.WriteAt([]byte("end"), 16<<20)
	check(t, err)
	check(t, sparse.Truncate(20<<20))
	check(t, sparse.Close())
	check(t, unix.Setxattr(dir+"/a", "user.mark", []byte("m"), 0))
	check(t, unix.Setxattr(dir+"/a/file", "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	check(t, unix.Setxattr(dir+"/a/file", "trusted.overlay.opaque", []byte("y"), 0))
	check(t, os.Chmod(dir+"/a/b", 0o700|os.ModeSetgid))
	for _, name := range []string{"a/b/c", "a/b", "a", "setuid", "link", "sparse", "."} {
		times := []unix.Timespec{{Sec: 1e9, Nsec: 7}, {Sec: 11e8, Nsec: 123456789}}
		check(t, unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/"+name, times, unix.AT_SYMLINK_NOFOLLOW))
	}
	check(t, os.Chmod(dir, 0o751))
	check(t, os.Chown(dir, 9, 10))
}

// dump describes all that a copy must keep.
func dump(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	first := map[inode]string{}
	check(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		check(t, unix.Lstat(path, &st))
		name, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&b, "%q %o %d:%d %d %x %d.%d", name, st.Mode, st.Uid, st.Gid, st.Nlink, st.Rdev, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			content, err := os.ReadFile(path)
			check(t, err)
			fmt.Fprintf(&b, " %d blocks of %d %.20q", min(st.Blocks, 1000), st.Size, strings.TrimLeft(string(content), "\x00"))
			if at, again := first[inode{st.Dev, st.Ino}]; again {
				fmt.Fprintf(&b, " = %q", at)
			}
			first[inode{st.Dev, st.Ino}] = name
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			check(t, err)
			b.WriteString(" -> " + target)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFREG || st.Mode&unix.S_IFMT == unix.S_IFDIR {
			for _, x := range []string{"user.mark", "security.capability"} {
				buf := make([]byte, 100)
				if n, err := unix.Lgetxattr(path, x, buf); err == nil {
					fmt.Fprintf(&b, " %s=%q", x, buf[:n])
				}
			}
		}
		b.WriteString("\n")
		return nil
	}))
	return b.String()
}

func TestCopyTree(t *testing.T) {
	kernel.RequireRoot(t)
	from, to := t.TempDir(), t.TempDir()
	tree(t, from)
	check(t, CopyTree(open(t, from), open(t, to), nil))
	if want, got := dump(t, from), dump(t, to); got != want {
		t.Errorf("copied:\n%swant:\n%s", got, want)
	}
	if _, err := unix.Lgetxattr(to+"/a/file", "trusted.overlay.opaque", nil); err == nil {
		t.Error("overlay's attribute was copied")
	}
	other := t.TempDir()
	if out, err := exec.Command("cp", "-a", "--sparse=auto", from+"/.", other).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want, got := dump(t, other), dump(t, to); got != want {
		t.Errorf("copied:\n%scp -a:\n%s", got, want)
	}
}

// What is mounted in the source is not copied.
func TestCopyTreeStopsAtMounts(t *testing.T) {
	kernel.RequireRoot(t)
	from, to := t.TempDir(), t.TempDir()
	check(t, os.Mkdir(from+"/mounted", 0o711))
	check(t, unix.Mount("tmpfs", from+"/mounted", "tmpfs", 0, ""))
	defer unix.Unmount(from+"/mounted", 0)
	check(t, os.WriteFile(from+"/mounted/file", nil, 0o600))
	check(t, CopyTree(open(t, from), open(t, to), nil))
	entries, err := os.ReadDir(to + "/mounted")
	if err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// A source that is changed all the time makes the copy fail, or differ, but never
// lead outside: nor does a fifo make it wait.
func TestCopyTreeFollowsNothing(t *testing.T) {
	kernel.RequireRoot(t)
	outside, from := t.TempDir(), t.TempDir()
	check(t, os.WriteFile(outside+"/file", []byte("secret"), 0o600))
	check(t, os.Mkdir(from+"/dir", 0o755))
	check(t, os.WriteFile(from+"/dir/file", []byte("public"), 0o600))
	check(t, os.WriteFile(from+"/file", []byte("public"), 0o600))
	stop := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			// Errors are those of a change that came too late.
			_ = os.Rename(from+"/dir", from+"/.dir")
			_ = os.Symlink(outside, from+"/dir")
			_ = os.Remove(from + "/dir")
			_ = os.Rename(from+"/.dir", from+"/dir")
			_ = os.Remove(from + "/file")
			_ = os.Symlink(outside+"/file", from+"/file")
			_ = os.Remove(from + "/file")
			_ = unix.Mkfifo(from+"/file", 0o600)
			_ = os.Remove(from + "/file")
			_ = os.WriteFile(from+"/file", []byte("public"), 0o600)
		}
	})
	whole := 0
	source, to := open(t, from), filepath.Join(t.TempDir(), "to")
	for range 200 {
		check(t, os.Mkdir(to, 0o755))
		fd, err := unix.Open(to, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		check(t, err)
		if CopyTree(source, fd, nil) == nil {
			whole++
		}
		unix.Close(fd)
		for _, name := range []string{"file", "dir/file", ".dir/file"} {
			st, err := os.Lstat(to + "/" + name)
			if err != nil || !st.Mode().IsRegular() {
				continue
			}
			if link, err := os.Lstat(to + "/dir"); name == "dir/file" && err == nil && link.Mode()&os.ModeSymlink != 0 {
				continue
			}
			if b, _ := os.ReadFile(to + "/" + name); string(b) == "secret" {
				t.Fatalf("%s is from outside", name)
			}
		}
		check(t, os.RemoveAll(to))
	}
	close(stop)
	wait.Wait()
	t.Logf("%d of 200 copies were whole", whole)
}

func TestCopyTreeInterrupted(t *testing.T) {
	kernel.RequireRoot(t)
	from := t.TempDir()
	tree(t, from)
	calls := 0
	check(t, CopyTree(open(t, from), open(t, t.TempDir()), func() bool { calls++; return false }))
	for n := range calls {
		left := n
		err := CopyTree(open(t, from), open(t, t.TempDir()), func() bool { left--; return left < 0 })
		if !errors.Is(err, ErrInterrupted) {
			t.Errorf("after %d: %v", n, err)
		}
	}
}

func TestCopyTreeDepth(t *testing.T) {
	kernel.RequireRoot(t)
	from, to := t.TempDir(), t.TempDir()
	check(t, os.MkdirAll(from+strings.Repeat("/d", maxDepth-1), 0o755))
	check(t, CopyTree(open(t, from), open(t, to), nil))
	check(t, os.MkdirAll(from+strings.Repeat("/d", maxDepth), 0o755))
	if err := CopyTree(open(t, from), open(t, t.TempDir()), nil); err == nil || !strings.Contains(err.Error(), "directories in each other") {
		t.Errorf("one more: %v", err)
	}
}

// filled makes a volume, a source, and fills the one from the other.
func (s *Store) filled(t testing.TB, name, source string) {
	t.Helper()
	h, err := s.Hold(name)
	check(t, err)
	defer h.Release()
	fd, err := h.Open()
	check(t, err)
	defer unix.Close(fd)
	check(t, h.Settle(fd))
	check(t, h.Fill(fd, func(to int) error { return CopyTree(open(t, source), to, nil) }))
}

func TestFill(t *testing.T) {
	s := newStore(t)
	source := t.TempDir()
	tree(t, source)
	s.must(t, Volume{Name: "data"})
	s.filled(t, "data", source)
	data := s.path("data") + "/_data"
	if want, got := dump(t, source), dump(t, data); got != want {
		t.Errorf("filled:\n%swant:\n%s", got, want)
	}
	entries, err := os.ReadDir(s.path("data"))
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	// What is not empty is left alone, mode and owner too.
	s.must(t, Volume{Name: "other"})
	check(t, os.WriteFile(s.path("other")+"/_data/mine", nil, 0o600))
	s.filled(t, "other", source)
	if list, err := os.ReadDir(s.path("other") + "/_data"); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

// A killed process can have left any of this behind.
func TestFillIsCarriedOn(t *testing.T) {
	source := t.TempDir()
	for name, c := range map[string]struct {
		leave func(dir string) error
		want  string // what the volume holds in the end
	}{
		"half a copy": {func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/fill/content", 0o700), os.WriteFile(dir+"/fill/content/half", nil, 0o600))
		}, "from-image"},
		"a whole copy": {func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/filled/content", 0o711), os.WriteFile(dir+"/filled/content/whole", nil, 0o600))
		}, "whole"},
		"half of a whole copy in place": {func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/filled/content", 0o711), os.WriteFile(dir+"/filled/content/whole", nil, 0o600), os.WriteFile(dir+"/_data/before", nil, 0o600))
		}, "before whole"},
		"a name that a container has made since": {func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/filled/content", 0o711), os.WriteFile(dir+"/filled/content/name", []byte("image"), 0o600), os.WriteFile(dir+"/_data/name", []byte("container"), 0o600))
		}, "name"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			check(t, os.WriteFile(source+"/from-image", nil, 0o600))
			s.must(t, Volume{Name: "data"})
			check(t, c.leave(s.path("data")))
			s.filled(t, "data", source)
			entries, err := os.ReadDir(s.path("data") + "/_data")
			check(t, err)
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("it holds %s, want %s", got, c.want)
			}
			if b, _ := os.ReadFile(s.path("data") + "/_data/name"); string(b) == "image" {
				t.Error("the container's file was replaced")
			}
			if left, err := os.ReadDir(s.path("data")); err != nil || len(left) != 2 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// On a device of its own the copy is made inside.
func TestFillElsewhere(t *testing.T) {
	s := newStore(t)
	source, dir := t.TempDir(), t.TempDir()
	tree(t, source)
	s.must(t, Volume{Name: "srv", Options: map[string]string{"o": "bind", "device": dir}})
	s.filled(t, "srv", source)
	if want, got := dump(t, source), dump(t, dir); got != want {
		t.Errorf("filled:\n%swant:\n%s", got, want)
	}
}

// A container that shares a volume on a device has the copy before its eyes. What
// it puts in the way is removed, and what it swaps for a link is not followed.
func TestFillBesideHostileContainer(t *testing.T) {
	s := newStore(t)
	outside, source, dir := t.TempDir(), t.TempDir(), t.TempDir()
	check(t, os.WriteFile(outside+"/file", []byte("secret"), 0o600))
	for i := range 50 {
		check(t, unix.Mkfifo(fmt.Sprintf("%s/f%d", source, i), 0o644))
		check(t, os.Chmod(fmt.Sprintf("%s/f%d", source, i), 0o666))
		check(t, os.Mkdir(fmt.Sprintf("%s/d%d", source, i), 0o777))
		check(t, os.WriteFile(fmt.Sprintf("%s/r%d", source, i), nil, 0o666))
	}
	s.must(t, Volume{Name: "srv", Options: map[string]string{"o": "bind", "device": dir}})
	for name, put := range map[string]func(string) error{
		"file": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"link": func(path string) error { return os.Symlink(outside, path) },
		"dir":  func(path string) error { return os.MkdirAll(path+"/x", 0o700) },
	} {
		for _, at := range []string{"/.minictr-fill", "/.minictr-filled"} {
			check(t, put(dir+at))
			h := s.hold(t, "srv")
			fd, err := h.Open()
			check(t, err)
			if err := h.Settle(fd); err != nil {
				t.Errorf("a %s at %s: %v", name, at, err)
			}
			unix.Close(fd)
			h.Release()
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("a %s at %s: left behind %v, %v", name, at, left, err)
			}
		}
	}
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for n := range 2 {
		wait.Go(func() {
			for i := n; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				for _, kind := range []string{"f", "d", "r"} {
					// Mostly it is too early or too late.
					name := fmt.Sprintf("%s/.minictr-fill/content/%s%d", dir, kind, i%50)
					if os.Remove(name) == nil {
						_ = os.Symlink(outside+"/file", name)
					}
				}
			}
		})
	}
	for range 20 {
		h := s.hold(t, "srv")
		fd, err := h.Open()
		check(t, err)
		_ = h.Fill(fd, func(to int) error { return CopyTree(open(t, source), to, nil) }) // it may well fail
		unix.Close(fd)
		h.Release()
		out, err := exec.Command("find", dir, "-mindepth", "1", "-delete").CombinedOutput()
		if err != nil {
			t.Logf("%v: %s", err, out)
		}
	}
	close(stop)
	wait.Wait()
	var st unix.Stat_t
	check(t, unix.Stat(outside+"/file", &st))
	if st.Mode&0o7777 != 0o600 || st.Uid != 0 {
		t.Errorf("the host's file has mode %o, owner %d", st.Mode, st.Uid)
	}
}

// A full disk is said, leaves nothing, and the volume can be used.
func TestFillFullDisk(t *testing.T) {
	kernel.RequireRoot(t)
	dir, source := t.TempDir(), t.TempDir()
	check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	s := OpenStore(dir)
	s.must(t, Volume{Name: "data"})
	check(t, os.WriteFile(source+"/big", make([]byte, 1<<20), 0o600))
	h := s.hold(t, "data")
	fd, err := h.Open()
	check(t, err)
	defer unix.Close(fd)
	err = h.Fill(fd, func(to int) error { return CopyTree(open(t, source), to, nil) })
	if !errors.Is(err, unix.ENOSPC) || err.Error() != "fill volume data: copy big: no space left on device" {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(s.path("data")); err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	h.Release()
	check(t, os.WriteFile(s.path("data")+"/_data/small", make([]byte, 100<<10), 0o600))
	s.must(t, Volume{Name: "second"})
	check(t, s.Remove("data", nobody))
	check(t, s.Remove("second", nobody))
}

const fillVariable = "MINICTR_TEST_FILL"

// fillForEver makes, fills and removes a volume until it is killed.
func fillForEver(dir string) {
	s := OpenStore(dir)
	for {
		_, err := s.Create(Volume{Name: "data"})
		if err != nil {
			panic(err)
		}
		h, err := s.Hold("data")
		if err != nil {
			panic(err)
		}
		fd, err := h.Open()
		if err != nil {
			panic(err)
		}
		source, err := unix.Open(dir+"/source", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			panic(err)
		}
		if err := errors.Join(h.Settle(fd), h.Fill(fd, func(to int) error { return CopyTree(source, to, nil) })); err != nil {
			panic(err)
		}
		h.Release()
		unix.Close(fd)
		unix.Close(source)
		if err := s.Remove("data", nobody); err != nil {
			panic(err)
		}
	}
}

// A process that makes, fills and removes is killed at every kind of moment.
// Whatever it was about: the next one finds no volume, or makes it whole.
func TestKilled(t *testing.T) {
	s := newStore(t)
	dir := filepath.Dir(s.dir)
	source := dir + "/source"
	for i := range 40 {
		check(t, os.MkdirAll(fmt.Sprintf("%s/d%d", source, i%7), 0o755))
		check(t, os.WriteFile(fmt.Sprintf("%s/d%d/f%d", source, i%7, i), make([]byte, i*100), 0o640))
	}
	want := dump(t, source)
	var found [3]int
	for i := range 40 {
		c := exec.Command("/proc/self/exe")
		c.Env = append(os.Environ(), fillVariable+"="+dir)
		c.Stderr = os.Stderr
		check(t, c.Start())
		time.Sleep(20*time.Millisecond + time.Duration(i)*211*time.Microsecond)
		check(t, c.Process.Kill())
		if err := c.Wait(); err == nil || c.ProcessState.Exited() {
			t.Fatalf("it ended by itself: %v", err)
		}
		if left, _ := os.ReadDir(s.path("data")); len(left) > 2 {
			found[2]++
		}
		check(t, s.Heal())
		names, err := s.names()
		check(t, err)
		switch {
		case len(names) == 0:
			found[0]++
		case len(names) == 1 && names[0] == "data":
			found[1]++
			if left, _ := os.ReadDir(s.path("data")); len(left) > 2 {
				t.Fatalf("left behind: %v", left)
			}
		default:
			t.Fatalf("left behind: %q", names)
		}
		_, err = s.Create(Volume{Name: "data"})
		check(t, err)
		s.filled(t, "data", source)
		if got := dump(t, s.path("data")+"/_data"); got != want {
			t.Fatalf("after kill %d:\n%swant:\n%s", i, got, want)
		}
		check(t, s.Remove("data", nobody))
		s.left(t)
	}
	t.Logf("it had no volume %d times, one %d times, in the middle of filling %d times", found[0], found[1], found[2])
}
