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

// A person types at a shell on a terminal, and reads.
type person struct {
	t      *testing.T
	master *os.File
	mu     sync.Mutex
	screen strings.Builder
}

func sitDown(t *testing.T) *person {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	path := links(t)
	shell := exec.Command(path + "/sh")
	shell.Dir = t.TempDir()
	shell.Env = []string{"PATH=" + path, "TERM=xterm", "PS1=ready> "}
	shell.Stdin, shell.Stdout, shell.Stderr = slave, slave, slave
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	p := &person{t: t, master: master}
	go p.read()
	t.Cleanup(func() {
		_ = shell.Process.Kill()
		_ = shell.Wait()
		master.Close()
	})
	p.wait("ready> ")
	return p
}

func (p *person) read() {
	b := make([]byte, 4096)
	for {
		n, err := p.master.Read(b)
		p.mu.Lock()
		p.screen.Write(b[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// wait waits until the text is on the screen, and forgets what is up to it.
func (p *person) wait(text string) {
	p.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		_, rest, found := strings.Cut(p.screen.String(), text)
		if found {
			p.screen.Reset()
			p.screen.WriteString(rest)
		}
		p.mu.Unlock()
		if found {
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.t.Fatalf("%q does not come; the screen is %q", text, p.screen.String())
}

func (p *person) types(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// ^C ends the command and not the shell; it ends a loop; and at the prompt it
// gives up the line.
func TestInterrupt(t *testing.T) {
	p := sitDown(t)
	p.types("sleep 100\r")
	time.Sleep(200 * time.Millisecond)
	p.types("\x03")
	p.wait("ready> ")
	p.types("echo code $?\r")
	p.wait("code 130\r\n")
	p.wait("ready> ")
	p.types("while true; do sleep 1; done\r")
	time.Sleep(200 * time.Millisecond)
	p.types("\x03")
	p.wait("ready> ")
	p.types("while :; do :; done\r")
	time.Sleep(200 * time.Millisecond)
	p.types("\x03")
	p.wait("ready> ")
	p.types("echo unwanted\x03")
	p.wait("ready> ")
	p.types("echo a | cat | cat\r")
	p.wait("\r\na\r\n")
	p.types("exit 3\r")
}

func TestHistoryAndCompletion(t *testing.T) {
	p := sitDown(t)
	p.types("echo one\r")
	p.wait("\r\none\r\n")
	p.wait("ready> ")
	p.types("\x1b[A\r")
	p.wait("\r\none\r\n")
	p.wait("ready> ")
	p.types("mkdir directory; touch directory/file\r")
	p.wait("ready> ")
	p.types("ls dir\tfi\t\r")
	p.wait("\r\ndirectory/file\r\n")
	p.wait("ready> ")
	p.types("prin\tf 'x%s\\n' y\r")
	p.wait("\r\n")
}

func TestJobsOfATerminal(t *testing.T) {
	p := sitDown(t)
	p.types("sleep 100 &\r")
	p.wait("[1] ")
	p.wait("ready> ")
	p.types("jobs\r")
	p.wait("Running    sleep 100\r\n")
	p.wait("ready> ")
	p.types("kill %1; wait %1; echo code $?\r")
	p.wait("code 143\r\n")
}
