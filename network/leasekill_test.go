package network

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lesseeVariable makes the test binary a process that leases and releases until
// its standard input ends. It fails when it is given an address that a living
// process has: each one holds a lock on a file of the name of each of its own.
const lesseeVariable = "MINICTR_TEST_LESSEE_FILE"

func lesseePool(file string) pool {
	return pool{
		file: file, gateway: netip.MustParsePrefix("10.0.0.1/26"), gateway6: netip.MustParsePrefix("fd00::1/64"),
		alive: func(owner string) bool {
			pid := 0
			_, err := fmt.Sscanf(owner, "pid%d-", &pid)
			return err == nil && unix.Kill(pid, 0) == nil
		},
	}
}

type lessee struct {
	pool
	held []lesseeHeld
	out  io.Writer
}

type lesseeHeld struct {
	lease Lease
	given [2]netip.Addr
	marks []*os.File
}

func (l *lessee) run() error {
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	for i := 0; ; i++ {
		select {
		case err := <-ended:
			return err
		default:
		}
		f := l.take
		if len(l.held) == 5 || len(l.held) > 0 && rand.IntN(2) == 0 {
			f = l.give
		}
		if err := f(i); err != nil {
			return err
		}
	}
}

func (l *lessee) take(i int) error {
	h := lesseeHeld{lease: Lease{File: l.file, Owner: fmt.Sprintf("pid%d-%d", os.Getpid(), i)}}
	var want [2]netip.Addr
	if rand.IntN(4) == 0 {
		want[1] = plus(netip.MustParseAddr("fd00::5:0:0"), rand.IntN(50))
	}
	var err error
	if h.given, err = l.leaseBoth(h.lease.Owner, want); err != nil {
		if want[1].IsValid() && strings.Contains(err.Error(), "in use by") {
			return nil
		}
		return err
	}
	for _, a := range h.given {
		mark, err := os.OpenFile(filepath.Join(filepath.Dir(filepath.Dir(l.file)), a.String()), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		if err := unix.Flock(int(mark.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return fmt.Errorf("%s is given twice: %w", a, err)
		}
		h.marks = append(h.marks, mark)
	}
	l.held = append(l.held, h)
	fmt.Fprintln(l.out, "+", h.given[0], h.given[1], h.lease.Owner)
	return nil
}

func (l *lessee) give(int) error {
	h := l.held[0]
	l.held = l.held[1:]
	fmt.Fprintln(l.out, "-", h.given[0], h.given[1], h.lease.Owner)
	for _, m := range h.marks {
		m.Close()
	}
	return h.lease.release(prefixes(h.given)...)
}

// A lesseeProcess is one of them, and what it has, as far as it is known here.
type lesseeProcess struct {
	*exec.Cmd
	in   io.WriteCloser
	done chan struct{} // closed when its output has ended
	has  map[string]string
	said string // what it could not say in its protocol
}

func startLessee(t *testing.T, file string) *lesseeProcess {
	t.Helper()
	p := &lesseeProcess{Cmd: exec.Command(os.Args[0]), done: make(chan struct{}), has: map[string]string{}}
	p.Env = append(os.Environ(), lesseeVariable+"="+file)
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.Stdout, p.Stderr = in, w, w
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		defer close(p.done)
		defer r.Close()
		for lines := bufio.NewScanner(r); lines.Scan(); {
			switch words := strings.Fields(lines.Text()); words[0] {
			case "+":
				p.has[words[1]], p.has[words[2]] = words[3], words[3]
			case "-":
				delete(p.has, words[1])
				delete(p.has, words[2])
			default:
				p.said += lines.Text() + "\n"
			}
		}
	}()
	return p
}

// TestLeaseKill kills processes that lease, at any moment. No living one loses an
// address, none is given twice, and the number in line 0 is never too small.
func TestLeaseKill(t *testing.T) {
	kills := 80
	if testing.Short() {
		kills = 20
	}
	file := filepath.Join(t.TempDir(), leasesDir, "bridge")
	var running []*lesseeProcess
	for range 6 {
		running = append(running, startLessee(t, file))
	}
	for range kills {
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		i := rand.IntN(len(running))
		p := running[i]
		if err := p.Process.Kill(); err != nil {
			t.Error(err)
		}
		<-p.done
		_ = p.Wait() // killed, as it should be
		if p.said != "" {
			t.Errorf("a lessee said: %s", p.said)
		}
		if err := withLock(filepath.Dir(file), func() error { checkCount(t, file); return nil }); err != nil {
			t.Error(err)
		}
		running[i] = startLessee(t, file)
	}
	for _, p := range running {
		p.in.Close()
		<-p.done
	}
	leases, err := readLeases(file)
	if err != nil {
		t.Error(err)
	}
	for _, p := range running {
		for a, owner := range p.has {
			if got := leases[netip.MustParseAddr(a)]; got != owner {
				t.Errorf("%s of %s is leased to %q", a, owner, got)
			}
		}
		if err := p.Wait(); err != nil {
			t.Errorf("%v: %s", err, p.said)
		}
	}
}
