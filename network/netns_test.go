package network

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// What is no namespace is not even opened: a terminal would become the caller's, a
// FIFO's writer would go on.
func TestOpenLooksFirst(t *testing.T) {
	fifo := t.TempDir() + "/fifo"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() {
		f, err := os.OpenFile(fifo, os.O_WRONLY, 0) // waits for a reader
		if err == nil {
			err = f.Close()
		}
		wrote <- err
	}()
	time.Sleep(50 * time.Millisecond) // until it waits; if it comes later, the test sees less
	for path, want := range map[string]error{fifo: errNotNetns, "/dev/null": errNotNetns, "/proc/self/ns/uts": errNotNetns, "/nowhere": unix.ENOENT} {
		if f, err := (Netns{Path: path}).Open(); !errors.Is(err, want) {
			t.Errorf("%s: got %v, %v, want %v", path, f, err, want)
		}
	}
	select {
	case err := <-wrote:
		t.Fatalf("the FIFO had a reader: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if f, err := os.OpenFile(fifo, os.O_RDONLY, 0); err == nil { // lets the writer go
		f.Close()
	}
	<-wrote
}

func TestDo(t *testing.T) {
	freshHost(t)
	ns := freshNetns(t, "")
	want, err := Inode(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	here, err := Inode(self)
	if err != nil || here == want {
		t.Fatalf("inode %d, %v, of both", here, err)
	}
	var inside uint64
	err = ns.Do(func() (err error) {
		inside, err = Inode(self)
		return errors.Join(err, unix.EIO)
	})
	if !errors.Is(err, unix.EIO) || inside != want {
		t.Errorf("inside is %d, %v, want %d and EIO", inside, err, want)
	}
	if now, _ := Inode(self); now != here {
		t.Errorf("afterwards the thread is in %d, not in %d", now, here)
	}
	ns.Inode = want
	if own, err := ns.isOwn(); own || err != nil {
		t.Errorf("isOwn = %t, %v", own, err)
	}
	if own, err := (Netns{Path: self}).isOwn(); !own || err != nil {
		t.Errorf("isOwn of self = %t, %v", own, err)
	}
}

// TestDoLostThread takes the thread's way back away; it must not be used again.
func TestDoLostThread(t *testing.T) {
	freshHost(t)
	lost := make(chan int, 1)
	ns := freshNetns(t, "")
	err := ns.Do(func() error {
		lost <- unix.Gettid()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData // without CAP_SYS_ADMIN there is no setns
		return unix.Capset(&header, &data[0])
	})
	if err != nil {
		t.Fatal(err)
	}
	task := "/proc/self/task/" + itoa(<-lost)
	for range 1000 {
		if _, err := os.Stat(task); errors.Is(err, os.ErrNotExist) {
			return
		}
		runtime.Gosched()
		unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
	}
	t.Errorf("the thread %s lives on", task)
}

func itoa(n int) string { return strings.TrimSpace(jsonOf(n)) }

func TestAddNetns(t *testing.T) {
	freshHost(t)
	mountNetnsDir(t)
	s := &AddNetns{"blue"}
	if err := s.Check(); err == nil {
		t.Error("Check finds it before it is made")
	}
	run(t, []step.Step{s})
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	if out := sh(t, "ip netns list; ip -n blue -o link"); !strings.HasPrefix(out, "blue") || strings.Count(out, "\n") != 2 {
		t.Errorf("ip sees %s", out)
	}
	err := s.Apply()
	if want := "add netns blue: open /run/netns/blue: file exists"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	for range 2 {
		if err := s.Undo(); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(netnsDir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	for _, name := range []string{"", ".", "..", "a/b"} {
		if err := (&AddNetns{name}).Apply(); !errors.Is(err, unix.EINVAL) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

// TestUndoInOwnNamespace: a path that leads to the caller's own namespace, as a
// process id used again might, is not undone in.
func TestUndoInOwnNamespace(t *testing.T) {
	requireTools(t, "ip")
	freshHost(t)
	sh(t, "ip link set lo up")
	for _, s := range []step.Step{
		&SetLinkUp{Link: "lo", Netns: Netns{Path: self}},
		&SetLinkUp{Link: "lo", Netns: Netns{Path: "/proc/0/ns/net"}},
		&SetLinkUp{Link: "lo", Netns: Netns{Path: freshNetns(t, "").Path, Inode: 1}},
	} {
		if err := s.Undo(); err != nil {
			t.Error(err)
		}
	}
	if err := (&SetLinkUp{Link: "lo"}).Check(); err != nil {
		t.Error(err)
	}
}
