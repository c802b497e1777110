package rootfs

import (
	"archive/tar"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestChanges does things to a mounted overlay by shell, and asks what changed.
func TestChanges(t *testing.T) {
	requireRoot(t)
	below := []tar.Header{
		dir("etc"), file("etc/passwd", "root"), file("etc/hosts", ""), dir("usr"), dir("usr/lib"), file("usr/lib/a", ""), file("usr/lib/b", ""),
		dir("tmp"), symlink("lib", "usr/lib"), file("file", ""),
	}
	for _, c := range []struct{ name, script, want string }{
		{"nothing", ":", ""},
		{"a file", "echo x >> etc/passwd", "C /etc, C /etc/passwd"},
		{"the same content", "echo -n root > etc/passwd", "C /etc, C /etc/passwd"},
		{"attributes", "chmod 600 file; chown 5 usr", "C /file, C /usr"},
		{"new", "mkdir -p opt/x; touch opt/x/y", "A /opt, A /opt/x, A /opt/x/y"},
		{"deep in", "touch usr/lib/new", "C /usr, C /usr/lib, A /usr/lib/new"},
		{"deleted", "rm -r usr/lib file", "D /file, C /usr, D /usr/lib"},
		{"deleted and made anew", "rm -r usr/lib; mkdir usr/lib; touch usr/lib/b", "C /usr, C /usr/lib, D /usr/lib/a, C /usr/lib/b"},
		{"come and gone", "touch tmp/x; rm tmp/x", "C /tmp"},
		{"another kind", "rm -r usr; touch usr; rm file; mkdir file; touch file/x", "C /file, A /file/x, C /usr"},
		{"a link in place of a directory", "rm -r usr; ln -s /etc usr", "C /usr"},
		{"a link", "rm lib; mkdir lib; touch lib/a", "C /lib, A /lib/a"},
		{"skipped", "touch etc/resolv.conf", ""},
		{"made for what is skipped", "mkdir var; touch var/skipped", ""},
		{"made for that and more", "mkdir var; touch var/skipped var/x", "A /var, A /var/x"},
		{"skipped and more", "touch etc/resolv.conf etc/x", "C /etc, A /etc/x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lowerFD, lower := holdRoot(t)
			_, err := Unpack(lowerFD, layerOf(t, below...), UnpackOptions{})
			check(t, err)
			upperFD, upper := holdRoot(t)
			work := upper + ".work"
			check(t, os.Mkdir(work, 0o700))
			defer os.RemoveAll(work)
			mount, err := MountOverlay(Overlay{Lower: []string{lower}, Upper: upper, Work: work})
			check(t, err)
			defer unix.Close(mount)
			cmd := exec.Command("sh", "-ec", "cd /proc/self/fd/3; "+c.script)
			cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(mustDup(t, mount)), "mount")}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			check(t, cmd.ExtraFiles[0].Close())
			changes, err := Changes(upperFD, lowerFD, func(name string) bool { return name == "etc/resolv.conf" || name == "var/skipped" })
			check(t, err)
			var got []string
			for _, change := range changes {
				got = append(got, fmt.Sprintf("%s %s", change.Kind, change.Path))
			}
			if strings.Join(got, ", ") != c.want {
				t.Errorf("%s, not %s", strings.Join(got, ", "), c.want)
			}
		})
	}
}

func mustDup(t *testing.T, fd int) int {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	check(t, err)
	return fd
}
