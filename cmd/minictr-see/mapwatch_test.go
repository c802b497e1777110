package main

import (
	"bytes"
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

// A record is what a program has written so far.
type record struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.text.Write(b)
}

func (r *record) String() string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.text.String()
}

// changes are what somebody does while the map is watched, and what is in the next
// picture then.
var changes = []struct{ command, sign string }{
	{"ip link add br0 type bridge", "br0 ─ bridge ─ down"},
	{"ip link set br0 up", "br0 ─ bridge"},
	{"ip addr add 172.17.0.1/16 dev br0", "172.17.0.1/16"},
	{"ip netns add lonely", "lonely ─ ip netns"},
	{"ip link add v0 up master br0 type veth peer name eth0 netns lonely", "v0 ┠"},
	{"ip -n lonely addr add 172.17.0.2/16 dev eth0", "172.17.0.2/16"},
	{"ip -n lonely link set eth0 up", "┤ eth0  172.17.0.2/16"},
	{"ip -n lonely route add default via 172.17.0.1", "default via 172.17.0.1"},
	{"nft add table ip nat; nft add chain ip nat post '{ type nat hook postrouting priority srcnat; }'; nft add rule ip nat post ip saddr 172.17.0.0/16 masquerade", "masquerade 172.17.0.0/16"},
	{"ip route add blackhole 203.0.113.0/24", "blackhole 203.0.113.0/24"},
	{"ip link set br0 name br1", "br1 ─ bridge"},
	{"ip netns exec lonely ip link set eth0 mtu 1400; ip -n lonely link set eth0 down", "eth0 down"},
}

// Every change is drawn within a moment, and nothing is drawn without one.
func watchHearsAll(t *testing.T, m *mapper) {
	out := &record{}
	c := m.command("--watch")
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	kernel.Eventually(t, 5*time.Second, has(out, 0, "┌ host "))
	slowest := time.Duration(0)
	for _, change := range changes {
		seen := len(out.String())
		start := time.Now()
		if text, err := exec.Command("sh", "-c", change.command).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", change.command, err, text)
		}
		kernel.Eventually(t, 3*time.Second, has(out, seen, change.sign))
		slowest = max(slowest, time.Since(start))
	}
	t.Logf("the slowest change was drawn after %v", slowest)
	settled := len(out.String())
	time.Sleep(time.Second)
	if more := out.String()[settled:]; strings.Count(more, "┌ host ") > 1 {
		t.Errorf("drawn without a change: %s", more)
	}
	if err := c.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
	case <-time.After(3 * time.Second):
		_ = c.Process.Kill() // and the test has failed
		t.Error("Ctrl-C does not end it")
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("control sequences where no terminal is")
	}
}

func has(r *record, from int, sign string) func() error {
	return func() error {
		if text := r.String(); !strings.Contains(text[min(from, len(text)):], sign) {
			return fmt.Errorf("%q is not in %s", sign, text[min(from, len(text)):])
		}
		return nil
	}
}

// On a terminal it is drawn on the other screen, in its size, and Ctrl-C brings the
// first one and the cursor back.
func watchLeavesTheTerminal(t *testing.T, m *mapper) {
	keyboard, terminal := openTerminal(t)
	out := &record{}
	copied := make(chan struct{})
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := keyboard.Read(buffer)
			if err != nil { // EIO: the program has ended
				close(copied)
				return
			}
			_, _ = out.Write(buffer[:n]) // a buffer in memory
		}
	}()
	for i := range 30 { // more than the terminal has lines
		batch(t, fmt.Sprintf("link add br%d type bridge", i))
	}
	c := m.command("--watch")
	c.Stdin, c.Stdout, c.Stderr = terminal, terminal, terminal
	c.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	kernel.Eventually(t, 5*time.Second, has(out, 0, "more lines"))
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 15, Col: 60}); err != nil {
		t.Fatal(err)
	}
	seen := len(out.String())
	kernel.Eventually(t, 5*time.Second, has(out, seen, "more lines"))
	seen = len(out.String())
	if _, err := keyboard.Write([]byte{26}); err != nil { // Ctrl-Z
		t.Fatal(err)
	}
	kernel.Eventually(t, 5*time.Second, has(out, seen, showCursor+firstScreen))
	if err := c.Process.Signal(unix.SIGCONT); err != nil { // fg
		t.Fatal(err)
	}
	kernel.Eventually(t, 5*time.Second, has(out, seen, otherScreen+hideCursor))
	kernel.Eventually(t, 5*time.Second, has(out, seen, "more lines"))
	if _, err := keyboard.Write([]byte{3}); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	terminal.Close()
	<-copied
	text := out.String()
	if !strings.HasPrefix(text, otherScreen+hideCursor) || !strings.HasSuffix(text, showCursor+firstScreen) {
		t.Errorf("%q … %q", text[:min(40, len(text))], text[max(0, len(text)-40):])
	}
	last := text[strings.LastIndex(text, home):]
	if lines := strings.Count(last, "\n"); lines != 14 {
		t.Errorf("%d lines on a screen of 15: %q", lines, last)
	}
}

func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	raw, err := keyboard.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	number := 0
	if err := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(filepath.Join("/dev/pts", fmt.Sprint(number)), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 20, Col: 80}); err != nil {
		t.Fatal(err)
	}
	return keyboard, terminal
}
