package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A learner types at a command on a terminal, and reads.
type learner struct {
	t      *testing.T
	master *os.File
	mu     sync.Mutex
	screen strings.Builder
}

// sitDown starts the command on a terminal of its own.
func sitDown(t *testing.T, c *exec.Cmd) *learner {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	l := &learner{t: t, master: master}
	t.Cleanup(func() { master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go l.read()
	return l
}

func (l *learner) read() {
	b := make([]byte, 4096)
	for {
		n, err := l.master.Read(b)
		l.mu.Lock()
		l.screen.Write(b[:n])
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// waits until the text is on the screen, and forgets what is up to it.
func (l *learner) waits(text string) {
	l.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		_, rest, found := strings.Cut(l.screen.String(), text)
		if found {
			l.screen.Reset()
			l.screen.WriteString(rest)
		}
		l.mu.Unlock()
		if found {
			return
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Fatalf("%q does not come; the screen is %q", text, l.screen.String())
}

func (l *learner) types(line string) {
	l.t.Helper()
	if _, err := l.master.WriteString(line + "\r"); err != nil {
		l.t.Fatal(err)
	}
}
