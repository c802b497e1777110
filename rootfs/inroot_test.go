package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// requireRoot skips a test that needs to mount, chown or make devices.
func requireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// holdRoot returns a descriptor of a new directory, and the directory, which
// lies beside a file "secret" that nothing inside may reach.
func holdRoot(t testing.TB) (fd int, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "root")
	check(t, os.Mkdir(dir, 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "..", "secret"), []byte("host"), 0o600))
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd, dir
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenStaysInRoot(t *testing.T) {
	fd, dir := holdRoot(t)
	check(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("container"), 0o600))
	for link, target := range map[string]string{
		"up": "../secret", "far": "../../../../../../secret", "absolute": "/secret", "twice": "absolute",
	} {
		check(t, os.Symlink(target, filepath.Join(dir, link)))
	}
	for _, name := range []string{"secret", "/secret", "../secret", "up", "far", "absolute", "twice"} {
		data, err := ReadFile(fd, name, 100)
		if err != nil || string(data) != "container" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

func TestOpenRefusesMagicLinks(t *testing.T) {
	requireRoot(t)
	proc, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(proc)
	if f, err := Open(proc, "self/root/etc", unix.O_PATH); !errors.Is(err, unix.ELOOP) {
		f.Close()
		t.Errorf("got %v, want ELOOP", err)
	}
}

func TestReadFileLimits(t *testing.T) {
	fd, dir := holdRoot(t)
	check(t, os.WriteFile(filepath.Join(dir, "big"), make([]byte, 101), 0o600))
	check(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	check(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	if _, err := ReadFile(fd, "big", 100); !errors.Is(err, unix.EFBIG) {
		t.Errorf("big: got %v, want EFBIG", err)
	}
	if data, err := ReadFile(fd, "big", 101); err != nil || len(data) != 101 {
		t.Errorf("big at its limit: %d bytes, %v", len(data), err)
	}
	for _, name := range []string{"fifo", "dir"} {
		if _, err := ReadFile(fd, name, 100); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
	var failed *step.Error
	if _, err := ReadFile(fd, "none", 1); !errors.As(err, &failed) || !errors.Is(err, unix.ENOENT) || failed.Object != "none" {
		t.Errorf("none: %v", err)
	}
}

// TestMakeFollowsDanglingLinks makes targets through links that point to
// nothing yet; whatever is made lies inside the root.
func TestMakeFollowsDanglingLinks(t *testing.T) {
	for _, c := range []struct{ link, target, name, made string }{
		{"", "", "a/b/c", "a/b/c"},
		{"", "", "/a//b/./c/", "a/b/c"},
		{"lib", "usr/lib", "lib/x", "usr/lib/x"},
		{"lib", "/usr/lib", "lib/x", "usr/lib/x"},
		{"resolv", "../../../run/resolved/stub", "resolv", "run/resolved/stub"},
		{"etc/../out", "/../../tmp/x", "out", "tmp/x"},
	} {
		for kind, make := range map[string]func(int, string) error{
			"file": EnsureFile,
			"directory": func(fd int, name string) error {
				return MkdirAll(fd, name, 0o2750, os.Getuid(), os.Getgid())
			},
		} {
			fd, dir := holdRoot(t)
			if c.link != "" {
				check(t, os.Symlink(c.target, filepath.Join(dir, c.link)))
			}
			if c.name == "/a//b/./c/" && kind == "file" {
				continue
			}
			for range 2 { // the second time it is there
				if err := make(fd, c.name); err != nil {
					t.Errorf("%s %s: %v", kind, c.name, err)
				}
			}
			st, err := os.Lstat(filepath.Join(dir, c.made))
			if err != nil || st.IsDir() != (kind == "directory") {
				t.Errorf("%s %s: %s: %v, %v", kind, c.name, c.made, st, err)
			}
			if err == nil && kind == "directory" && st.Mode() != os.ModeDir|os.ModeSetgid|0o750 {
				t.Errorf("%s: mode %v", c.name, st.Mode())
			}
		}
	}
}

func TestMakeFails(t *testing.T) {
	fd, dir := holdRoot(t)
	check(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	check(t, os.Symlink("b", filepath.Join(dir, "a")))
	check(t, os.Symlink("a/x", filepath.Join(dir, "b")))
	check(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	check(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	for name, want := range map[string]error{"loop": unix.ELOOP, "a": unix.ELOOP, "file/x": unix.ENOTDIR, "dir": unix.EISDIR} {
		if err := EnsureFile(fd, name); !errors.Is(err, want) {
			t.Errorf("EnsureFile %s: got %v, want %v", name, err, want)
		}
	}
	for name, want := range map[string]error{"loop": unix.ELOOP, "a/y": unix.ELOOP, "file": unix.ENOTDIR} {
		if err := MkdirAll(fd, name, 0o755, 0, 0); !errors.Is(err, want) {
			t.Errorf("MkdirAll %s: got %v, want %v", name, err, want)
		}
	}
	if st, err := Stat(fd, "file"); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		t.Errorf("Stat: %o, %v", st.Mode, err)
	}
}

func TestCanonical(t *testing.T) {
	requireRoot(t)
	dir := t.TempDir()
	check(t, os.MkdirAll(dir+"/run/real", 0o755))
	check(t, os.MkdirAll(dir+"/var", 0o755))
	for link, target := range map[string]string{
		"var/run": "/run", "up": "../../../../run", "etc": "run/real", "nowhere": "missing/deep", "far": "/missing/../other",
		"loop": "loop", "ping": "pong", "pong": "ping", "chain": "var/run",
	} {
		check(t, os.Symlink(target, filepath.Join(dir, link)))
	}
	root, err := BindDirectory(dir)
	check(t, err)
	defer unix.Close(root)
	for name, want := range map[string]string{
		"/": "/", "/run": "/run", "/var/run/new/file": "/run/new/file", "/up/real": "/run/real", "/etc/passwd": "/run/real/passwd",
		"/nowhere/x": "/missing/deep/x", "/far": "/other", "/chain/real/": "/run/real", "/new/../run": "/run", "/../../run": "/run", "/a/b/c": "/a/b/c",
	} {
		if got, err := Canonical(root, name); err != nil || got != want {
			t.Errorf("%s: %q, want %q: %v", name, got, want, err)
		}
	}
	for _, name := range []string{"/loop", "/ping/x"} {
		if got, err := Canonical(root, name); !errors.Is(err, unix.ELOOP) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
