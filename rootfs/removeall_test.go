package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// nest makes directories one in the other, each with a file, and returns how many
// there are. No name for the lowest would be short enough.
func nest(t testing.TB, dir string, levels int) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for i := 0; i < levels && err == nil; i++ {
		err = errors.Join(unix.Mkdirat(fd, "d", 0o755), unix.Mknodat(fd, "deep1", unix.S_IFREG, 0))
		if err == nil {
			next, openErr := unix.Openat(fd, "d", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			err = errors.Join(openErr, unix.Close(fd))
			fd = next
		}
	}
	check(t, errors.Join(err, unix.Close(fd)))
}

// TestRemoveAllDeep: a container could nest directories so deep that removing it
// ended with "too many open files", for ever, and a layer so that no pull worked
// any more.
func TestRemoveAllDeep(t *testing.T) {
	var files unix.Rlimit
	check(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &files))
	dir := filepath.Join(t.TempDir(), "tree")
	check(t, os.MkdirAll(filepath.Join(dir, "a"), 0o755))
	check(t, os.MkdirAll(filepath.Join(dir, "b"), 0o755))
	nest(t, filepath.Join(dir, "a"), 3000)
	nest(t, filepath.Join(dir, "b"), 120)
	few := files
	few.Cur = 200
	check(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
	err := RemoveAll(dir)
	check(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &files))
	check(t, err)
	if _, err := os.Lstat(dir); !errors.Is(err, unix.ENOENT) {
		t.Errorf("still there: %v", err)
	}
}

// TestRemoveAll: what is outside stays, and so does nothing else.
func TestRemoveAll(t *testing.T) {
	dir := t.TempDir()
	keep := filepath.Join(dir, "keep")
	check(t, os.MkdirAll(filepath.Join(keep, "in"), 0o755))
	for _, c := range []struct {
		name string
		make func(path string) error
	}{
		{"nothing", func(string) error { return nil }},
		{"below a file", func(path string) error { return os.WriteFile(filepath.Dir(path), nil, 0o600) }},
		{"file", func(path string) error { return os.WriteFile(path, nil, 0o600) }},
		{"link", func(path string) error { return os.Symlink(keep, path) }},
		{"directory with a link", func(path string) error {
			return errors.Join(os.Mkdir(path, 0), os.Symlink(keep, filepath.Join(path, "link")), os.Mkdir(filepath.Join(path, "empty"), 0o755))
		}},
		{"many", func(path string) error {
			err := os.Mkdir(path, 0o755)
			for i := range 3000 {
				err = errors.Join(err, os.Symlink("x", filepath.Join(path, "link"+string(rune(0x4e00+i)))))
			}
			return err
		}},
	} {
		path := filepath.Join(dir, "new")
		if c.name == "below a file" {
			path = filepath.Join(dir, "file", "new")
		}
		check(t, c.make(path))
		if err := RemoveAll(path); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is still there", c.name)
		}
		if _, err := os.Stat(filepath.Join(keep, "in")); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
	}
}
