package netnsdir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/test/kernel"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "/", "a\x00b", strings.Repeat("x", 256)} {
		if err := CheckName(name); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	for _, name := range []string{"a", "...", "-", "net:[1]", "ä ö", strings.Repeat("x", 255)} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
}

func TestClosing(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the table below is a little-endian machine's")
	}
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0
   1: 0200000A:0050 0100000A:A1B2 04 00000001:00000000 01:00000014 00000003     0        0 0 2 0
   2: 0200000A:0051 0100000A:A1B3 09 00000001:00000000 01:00000014 00000003     0        0 0 2 0
   3: 0200000A:0052 0100000A:A1B4 06 00000000:00000000 03:00000014 00000000     0        0 0 3 0
   4: 0000000000000000FFFF00000200000A:0053 0000000000000000FFFF00000100000A:0001 0B 0:0 01:0 0 0 0 0 1 0
   5: x:0053
`
	want := []string{"10.0.0.2:80 to 10.0.0.1:41394 (FIN-WAIT-1)", "10.0.0.2:81 to 10.0.0.1:41395 (LAST-ACK)", "10.0.0.2:83 to 10.0.0.1:1 (CLOSING)"}
	if got := closing(table); !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func FuzzTables(f *testing.F) {
	f.Add("   1: 0200000A:0050 0100000A:A1B2 04 0:0 01:0 3 0 0 0 2 0\n")
	f.Fuzz(func(_ *testing.T, text string) {
		closing(text)
		eachEvent([]byte(text), func(uint32, string) {})
		_, _ = parseNumber([]byte(text)) // either an error or a value
	})
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// mountsOf counts the mounts of the directory. The machine's own may lie below /run.
func mountsOf(t *testing.T) int {
	t.Helper()
	return strings.Count(output(t, "findmnt", "-n", "-l", "-o", "TARGET"), "/run/netns\n")
}

// What is added is what ip netns adds: lo is down, the directory is shared.
func TestAdd(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "findmnt")
	kernel.Snapshot(t)
	kernel.InHost(t)
	d, before := Dir("/run/netns"), mountsOf(t)
	if err := d.Add("blue"); err != nil {
		t.Fatal(err)
	}
	if got := output(t, "findmnt", "-n", "-o", "PROPAGATION", "/run/netns"); !strings.HasSuffix(strings.TrimSpace(got), "shared") { // the last is on top
		t.Errorf("/run/netns is %s", got)
	}
	output(t, "ip", "netns", "add", "red")
	if blue, red := output(t, "ip", "-n", "blue", "-o", "link"), output(t, "ip", "-n", "red", "-o", "link"); blue != red || !strings.Contains(blue, "state DOWN") {
		t.Errorf("blue: %s\nred: %s", blue, red)
	}
	if more := mountsOf(t) - before; more != 1 {
		t.Errorf("%d mounts of the directory", more)
	}
	if err := d.Add("blue"); !errors.Is(err, os.ErrExist) {
		t.Errorf("the second blue: %v", err)
	}
	for _, name := range []string{"blue", "red"} {
		if err := d.Delete(name); err != nil {
			t.Error(err)
		}
	}
	if got := output(t, "ip", "netns", "list"); got != "" {
		t.Errorf("left: %s", got)
	}
}

// A directory that many make at the same time is one mount.
func TestPrepareTogether(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "findmnt")
	kernel.Snapshot(t)
	kernel.InHost(t)
	before := mountsOf(t)
	var all []*exec.Cmd
	for i := range 8 {
		c := exec.Command("ip", "netns", "add", fmt.Sprint("n", i))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	for i := range 8 {
		if err := Dir("/run/netns").Add(fmt.Sprint("m", i)); err != nil {
			t.Error(err)
		}
	}
	for _, c := range all {
		if err := c.Wait(); err != nil {
			t.Errorf("ip: %v", err)
		}
	}
	if more := mountsOf(t) - before; more != 1 {
		t.Errorf("%d mounts of the directory", more)
	}
}

// Another directory than the usual one can be removed when its names are gone.
func TestOwnDirectory(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.Snapshot(t)
	path := t.TempDir() + "/netns"
	kernel.InHost(t)
	d := Dir(path)
	check(t, d.Add("blue"))
	check(t, d.Add("red"))
	check(t, d.Delete("blue"))
	if err := os.Remove(path); !errors.Is(err, unix.EBUSY) {
		t.Errorf("while red is there: %v", err)
	}
	check(t, d.Delete("red"))
	check(t, os.Remove(path))
}

// A link that a container has left leads nowhere, and is replaced. Whatever leads
// somewhere, or was meant otherwise, is not.
func TestAddReplacesLinks(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.Snapshot(t)
	kernel.InHost(t)
	d := Dir("/run/netns")
	for target, free := range map[string]bool{"/proc/4194305/ns/net": true, "/proc/2/ns/net": false, "/nowhere": false, "/proc/4194305/root": false} {
		if err := os.Symlink(target, d.Path("web")); err != nil {
			t.Fatal(err)
		}
		err := d.Add("web")
		if free && err != nil || !free && !errors.Is(err, os.ErrExist) {
			t.Errorf("where a link to %s is: %v", target, err)
		}
		if err := d.Delete("web"); err != nil {
			t.Fatal(err)
		}
	}
}

// Life tells the very moment from which a namespace is gone, and keeps nothing alive.
func TestLife(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.Snapshot(t)
	n := kernel.NewNetns(t)
	f, err := os.Open(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := WatchLife(f)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if ended, err := l.Ended(20 * time.Millisecond); ended || err != nil {
		t.Errorf("while it is open twice: %v %v", ended, err)
	}
	kernel.InHost(t)
	d := Dir("/run/netns")
	if err := d.Add("blue"); err != nil {
		t.Fatal(err)
	}
	blue, err := d.Open("blue")
	if err != nil {
		t.Fatal(err)
	}
	if l, err = WatchLife(blue); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := blue.Close(); err != nil {
		t.Fatal(err)
	}
	if ended, err := l.Ended(20 * time.Millisecond); ended || err != nil {
		t.Errorf("while it has a name: %v %v", ended, err)
	}
	if err := d.Delete("blue"); err != nil {
		t.Fatal(err)
	}
	if ended, err := l.Ended(10 * time.Second); !ended || err != nil {
		t.Errorf("without a name: %v %v", ended, err)
	}
}

// TestClosingIsFound: a connection whose process has ended before the other side has
// taken what it sent keeps the namespace alive, and is found.
func TestClosingIsFound(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip")
	kernel.Snapshot(t)
	n := kernel.NewNetns(t)
	n.Do(t, func() {
		output(t, "ip", "link", "set", "lo", "up")
		listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		check(t, err)
		check(t, unix.Bind(listener, &unix.SockaddrInet4{Port: 80, Addr: [4]byte{127, 0, 0, 1}}))
		check(t, unix.SetsockoptInt(listener, unix.SOL_SOCKET, unix.SO_RCVBUF, 2048))
		check(t, unix.Listen(listener, 1))
		sender, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		check(t, err)
		check(t, unix.Connect(sender, &unix.SockaddrInet4{Port: 80, Addr: [4]byte{127, 0, 0, 1}}))
		taker, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		check(t, err)
		check(t, unix.SetNonblock(sender, true))
		for { // until the window of who does not read is full
			if _, err := unix.Write(sender, make([]byte, 64<<10)); err != nil {
				break
			}
		}
		check(t, unix.Close(sender))
		defer unix.Close(listener)
		defer unix.Close(taker)
		f, err := os.Open(n.Path())
		check(t, err)
		defer f.Close()
		list, err := Closing(f)
		check(t, err)
		if len(list) != 1 || !strings.Contains(list[0], "to 127.0.0.1:80 (FIN-WAIT-1)") {
			t.Errorf("closing: %q", list)
		}
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
