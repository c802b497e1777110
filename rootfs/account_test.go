package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const testPasswd = "nul:x:11:11::/home\x00/x:/bin/sh\n" + `root:x:0:0:root:/root:/bin/sh
# a comment:x:7:7::/:/bin/sh
bin:x:1:1:bin:/bin:/sbin/nologin

broken
bad:x:minus:1::/:
www:x:82:82:Web:/var/www:/sbin/nologin
1000:x:5:6:a name that is a number:/five:/bin/sh
nohome:x:9:9
www:x:83:83:the second of a name:/other:/bin/sh
`

const testGroup = `root:x:0:root
bin:x:1:root,bin
wheel:x:10:root,www
www:x:82:
video:x:27:www
big:x:99999999999:www
`

func TestResolveUser(t *testing.T) {
	for _, c := range []struct {
		spec string
		want User
	}{
		{"", User{0, 0, []uint32{0, 1, 10}, "/root", "root"}},
		{"root", User{0, 0, []uint32{0, 1, 10}, "/root", "root"}},
		{"0", User{0, 0, []uint32{0, 1, 10}, "/root", "root"}},
		{"www", User{82, 82, []uint32{10, 27}, "/var/www", "www"}},
		{"82", User{82, 82, []uint32{10, 27}, "/var/www", "www"}},
		{"www:", User{82, 82, []uint32{10, 27}, "/var/www", "www"}},
		{"www:wheel", User{82, 10, nil, "/var/www", "www"}},
		{"www:4711", User{82, 4711, nil, "/var/www", "www"}},
		{":wheel", User{0, 10, nil, "/root", "root"}},
		{"1000", User{1000, 0, nil, "/", ""}}, // a number is an id even where a name looks like it
		{"1000:1000", User{1000, 1000, nil, "/", ""}},
		{"nohome", User{9, 9, nil, "/", "nohome"}},
		{"11", User{11, 0, nil, "/", ""}}, // a line with a NUL is none
		{"2147483647", User{2147483647, 0, nil, "/", ""}},
	} {
		got, err := resolveUser([]byte(testPasswd), []byte(testGroup), c.spec)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", c.spec, err, diff)
		}
	}
}

func TestLookupUserFails(t *testing.T) {
	fd, dir := holdRoot(t)
	for spec, cause := range map[string]string{
		"nobody":                 `look up user "nobody": no user "nobody" in /etc/passwd`,
		"0:wheel":                `look up user "0:wheel": no group "wheel" in /etc/group`,
		"2147483648":             `look up user "2147483648": 2147483648 is outside 0-2147483647`,
		"-1":                     `look up user "-1": -1 is outside 0-2147483647`,
		"1:99999999999999999999": `look up user "1:99999999999999999999": 99999999999999999999 is outside 0-2147483647`,
	} {
		if u, err := LookupUser(fd, spec); err == nil || err.Error() != cause {
			t.Errorf("%q: %v, %v; want %s", spec, u, err, cause)
		}
	}
	if u, err := LookupUser(fd, "7:8"); err != nil || u.UID != 7 || u.GID != 8 || u.Home != "/" {
		t.Errorf("numbers without files: %v, %v", u, err)
	}
	// A passwd that leads out of the root must not answer.
	check(t, os.WriteFile(filepath.Join(dir, "..", "secret"), []byte("spy:x:5:5::/:\n"), 0o600))
	check(t, os.Mkdir(filepath.Join(dir, "etc"), 0o755))
	check(t, os.Symlink("../../secret", filepath.Join(dir, "etc", "passwd")))
	if u, err := LookupUser(fd, "spy"); err == nil {
		t.Errorf("passwd outside the root was read: %v", u)
	}
	check(t, os.WriteFile(filepath.Join(dir, "etc", "group"), []byte(testGroup), 0o600))
	if gid, err := LookupGroup(fd, "video"); err != nil || gid != 27 {
		t.Errorf("LookupGroup: %d, %v", gid, err)
	}
	if _, err := LookupGroup(fd, "none"); err == nil || err.Error() != `look up group "none": no group "none" in /etc/group` {
		t.Errorf("LookupGroup: %v", err)
	}
}

// TestLookupUserHostile: CVE-2026-47262 and its kin. Whatever lies in the place of
// the account files, a lookup ends soon, in bounded memory, inside.
func TestLookupUserHostile(t *testing.T) {
	requireRoot(t)
	long := func(line string, times int) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(strings.Repeat(line, times)), 0o600) }
	}
	link := func(to string) func(string) error { return func(path string) error { return os.Symlink(to, path) } }
	node := func(kind uint32, device uint64) func(string) error {
		return func(path string) error { return unix.Mknod(path, kind|0o600, int(device)) }
	}
	for _, c := range []struct {
		name, file string
		make       func(path string) error
		fails      string
	}{
		{"group of 100 MB", "group", func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(testGroup), 0o600), os.Truncate(path, 100<<20))
		}, "read in root /etc/group: file too large: more than 16777216 bytes"},
		{"passwd of one line of 100 MB", "passwd", func(path string) error {
			return errors.Join(os.WriteFile(path, []byte("root:x:0:0:"), 0o600), os.Truncate(path, 100<<20))
		}, "read in root /etc/passwd: file too large: more than 16777216 bytes"},
		{"one line of 16 MB of colons", "passwd", long(":", maxAccountBytes), ""},
		{"a million users", "passwd", long("a:x:7:7::/:\n", 1_000_000), ""},
		{"one group of 8 million members", "group", func(path string) error {
			return os.WriteFile(path, []byte("g:x:7:"+strings.Repeat("a,", 8_000_000)), 0o600)
		}, ""},
		{"a million groups of root", "group", long("g:x:7:root\n", 1_000_000), `"root" is in more than 65536 groups`},
		{"fifo", "passwd", node(unix.S_IFIFO, 0), "read in root /etc/passwd: not a regular file"},
		{"device without end", "group", node(unix.S_IFCHR, unix.Mkdev(1, 5)), "read in root /etc/group: not a regular file"},
		{"terminal", "group", node(unix.S_IFCHR, unix.Mkdev(5, 0)), "read in root /etc/group: "},
		{"directory", "passwd", func(path string) error { return os.Mkdir(path, 0o755) }, "read in root /etc/passwd: not a regular file"},
		{"link to itself", "passwd", link("passwd"), "read in root /etc/passwd: too many levels of symbolic links"},
		{"link to nothing", "group", link("/nothing"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			fd, dir := holdRoot(t)
			check(t, os.Mkdir(filepath.Join(dir, "etc"), 0o755))
			check(t, os.WriteFile(filepath.Join(dir, "etc", "passwd"), []byte(testPasswd), 0o600))
			check(t, os.RemoveAll(filepath.Join(dir, "etc", c.file)))
			check(t, c.make(filepath.Join(dir, "etc", c.file)))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err := LookupUser(fd, "0")
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("got %v, want %q", err, c.fails)
			}
			if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 64 || took > 5*time.Second {
				t.Errorf("took %v and %d MB", took, got)
			}
		})
	}
}

// TestReadFileOfProcfs: in a running container /etc/passwd may be a link to a
// file of procfs, which says other things to the host's root or waits for ever.
func TestReadFileOfProcfs(t *testing.T) {
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(root)
	for _, name := range []string{"/proc/self/environ", "/proc/1/status", "/proc/kmsg", "/proc/cmdline"} {
		if _, err := ReadFile(root, name, 1<<20); err == nil || !strings.HasSuffix(err.Error(), ": a file of procfs") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzResolveUser: an error or a user, never both, and a name is only ever one
// that the file has.
func FuzzResolveUser(f *testing.F) {
	f.Add([]byte(testPasswd), []byte(testGroup), "www:wheel")
	f.Add([]byte("a:b:0:0"), []byte(":::"), "a")
	f.Fuzz(func(t *testing.T, passwd, group []byte, spec string) {
		u, err := resolveUser(passwd, group, spec)
		if err != nil && u.Groups != nil {
			t.Fatalf("both %v and %v", u, err)
		}
		if err == nil && (u.Home == "" || u.UID > maxID || u.GID > maxID || !strings.Contains(string(passwd), u.Name)) {
			t.Fatalf("%q: %+v", spec, u)
		}
	})
}
