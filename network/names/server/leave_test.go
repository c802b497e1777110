package server

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/names"
	"github.com/minictr/minictr/test/kernel"
)

// A server that goes and a starter that comes meet at every moment: whoever has
// written a record and finds the lock taken must be answered.
func TestLeavingServerSeesTheNextRecord(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip")
	kernel.Snapshot(t)
	w := &starter{t: t, ns: kernel.InNetns(t), runroot: t.TempDir(), ended: make(chan error, 1), gateway: netip.MustParsePrefix("127.0.0.1/8")}
	setUp(t)
	started := 0
	for i := range 300 {
		s := names.AddName{Runroot: w.runroot, Network: "blue", Record: names.Record{
			Container: fmt.Sprintf("%064x", i), Name: "web", Gateway: w.gateway,
			Address: netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}),
		}}
		check(t, s.Apply())
		if w.start() {
			started++
		}
		w.ask(s.Record.Address)
		check(t, s.Undo())
		time.Sleep(rand.N(1500 * time.Microsecond))
	}
	if started < 15 || started > 285 {
		t.Errorf("%d servers for 300 containers: they did not meet", started)
	}
	check(t, <-w.ended)
	if _, err := os.Stat(names.Directory(w.runroot, "blue")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory: %v", err)
	}
}

// What comes and goes on other networks does not keep a server that nobody needs.
func TestLeavingServerMindsItsOwnNetwork(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip")
	kernel.Snapshot(t)
	w := &starter{
		t: t, ns: kernel.InNetns(t), runroot: t.TempDir(), ended: make(chan error, 1), gateway: netip.MustParsePrefix("127.0.0.1/8"),
		linger: 100 * time.Millisecond,
	}
	setUp(t)
	record := names.Record{Container: fmt.Sprintf("%064x", 1), Name: "web", Gateway: w.gateway, Address: netip.MustParseAddr("127.1.0.1")}
	blue := names.AddName{Runroot: w.runroot, Network: "blue", Record: record}
	red := names.AddName{Runroot: w.runroot, Network: "red", Record: record}
	check(t, blue.Apply())
	w.start()
	w.ask(record.Address)
	check(t, blue.Undo())
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		check(t, errors.Join(red.Apply(), red.Undo()))
		select {
		case err := <-w.ended:
			check(t, err)
			return
		default:
		}
	}
	t.Error("it is still there")
	check(t, <-w.ended)
}

type starter struct {
	t       *testing.T
	ns      *kernel.Netns
	runroot string
	gateway netip.Prefix
	running bool
	linger  time.Duration // 1 ms by default
	ended   chan error    // of the last server
}

// start does what names.Start does, with a server in this process, and reports whether
// one was needed.
func (w *starter) start() bool {
	w.t.Helper()
	lock, err := os.Open(names.Directory(w.runroot, "blue"))
	check(w.t, err) // it has a record
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		check(w.t, lock.Close())
		return false
	}
	if w.running {
		check(w.t, <-w.ended) // names.Start would wait for its sockets
	}
	sockets, err := names.Listen([]netip.Addr{w.gateway.Addr()})
	check(w.t, err)
	w.running = true
	go w.ns.Do(w.t, func() {
		err := Run(Config{Runroot: w.runroot, Network: "blue", Bridge: "lo", Lock: lock, Sockets: sockets, Linger: cmp.Or(w.linger, time.Millisecond)})
		_ = lock.Close() // what the end of the process does
		w.ended <- err
	})
	return true
}

func (w *starter) ask(want netip.Addr) {
	w.t.Helper()
	conn, err := net.Dial("udp", "127.0.0.1:53")
	check(w.t, err)
	defer conn.Close()
	check(w.t, conn.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = conn.Write(pack(w.t, ask("web.", typeA)))
	check(w.t, err)
	b := make([]byte, maxUDP)
	n, err := conn.Read(b)
	if err != nil {
		w.t.Fatalf("%v: %v", want, err)
	}
	if got := text(w.t, b[:n]); got != "Success aa 5 "+want.String() {
		w.t.Fatalf("%s, want %v", got, want)
	}
}

func setUp(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	check(t, err)
	request.SetUint16(unix.IFF_UP)
	check(t, unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
