package namespaces

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
	"golang.org/x/sys/unix"
)

// holding runs a script that prints the link of a namespace, waits until it sleeps,
// and returns its process and the namespace.
func holding(t *testing.T, script string) (pid int, named string) {
	t.Helper()
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "unshare", "nsenter", "mount")
	kernel.Snapshot(t)
	out := filepath.Join(t.TempDir(), "link")
	pid = start(t, "sh", "-c", script, "sh", out)
	kernel.Eventually(t, 5*time.Second, func() error {
		if len(inGroup(t, pid, "sleep ")) == 0 {
			return errors.New("it does not sleep yet")
		}
		return nil
	})
	link, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return pid, strings.TrimSpace(string(link))
}

// found is the namespace of a link, as Read has it.
func found(t *testing.T, named string) Namespace {
	t.Helper()
	list, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(n Namespace) bool { return n.String() == named })
	if i < 0 {
		t.Fatalf("%s is not among %v", named, list)
	}
	return list[i]
}

// A namespace that nobody is in is found by its bind mount in a mount namespace that
// is not the caller's, and opened by it.
func TestHeldByBindMount(t *testing.T) {
	pid, named := holding(t, `exec unshare --mount sh -c '
		mount -t tmpfs none /run && mkdir "/run/netns" && : > "/run/netns/blue one"
		unshare --net="/run/netns/blue one" readlink /proc/self/ns/net > $1
		exec sleep 4711' sh "$1"`)
	n := found(t, named)
	want := fmt.Sprintf("/proc/%d/root/run/netns/blue one", pid)
	if n.Kind != Network || len(n.Processes) != 0 || !slices.Equal(n.Paths, []string{want}) {
		t.Errorf("got %+v, want only the path %s", n, want)
	}
	if got := n.Owner().String(); got != "netns blue one" {
		t.Errorf("got the owner %q", got)
	}
	opens(t, n)
}

// One that only a descriptor has is found by that.
func TestHeldByDescriptor(t *testing.T) {
	pid, named := holding(t, `exec unshare --net sh -c '
		readlink /proc/self/ns/net > $1
		exec 7< /proc/self/ns/net
		exec nsenter --net=/proc/'$PPID'/ns/net sleep 4711' sh "$1"`)
	n := found(t, named)
	if len(n.Processes) != 0 || len(n.Paths) != 0 || !slices.Equal(n.Held, []Holder{{Pid: pid, FD: 7}}) {
		t.Errorf("got %+v, want descriptor 7 of %d", n, pid)
	}
	opens(t, n)
}

// A user namespace lives as long as one that was made in it, and is its parent.
func TestHeldByChild(t *testing.T) {
	_, named := holding(t, `exec unshare --user --map-root-user sh -c '
		readlink /proc/self/ns/user > $1
		exec unshare --user --map-root-user sleep 4711' sh "$1"`)
	n := found(t, named)
	if len(n.Processes) != 0 || n.Parent == 0 || n.UserOwner != n.Parent {
		t.Errorf("got %+v, want no process and a parent", n)
	}
	list, err := Read(User)
	if err != nil {
		t.Fatal(err)
	}
	children := slices.DeleteFunc(list, func(c Namespace) bool { return c.Parent != n.Inode })
	if len(children) != 1 || children[0].Leader().Command != "sleep 4711" {
		t.Errorf("its children: %v", children)
	}
}

// Who made a user namespace is said of it and of what it owns.
func TestMaker(t *testing.T) {
	kernel.RequireCommand(t, "setpriv")
	_, named := holding(t, `exec 8> $1; exec setpriv --reuid 1234 --regid 1234 --clear-groups unshare --user --map-root-user --net sh -c '
		readlink /proc/self/ns/net >&8
		exec sleep 4711 8>&-'`)
	n := found(t, named)
	if n.UID != 1234 || n.Leader().UID != 1234 || n.UserOwner == 0 {
		t.Errorf("got %+v", n)
	}
	owner := found(t, fmt.Sprintf("user:[%d]", n.UserOwner))
	if owner.UID != 1234 {
		t.Errorf("its owner: %+v", owner)
	}
}

// opens wants Open to lead to the namespace.
func opens(t *testing.T, n Namespace) {
	t.Helper()
	f, err := n.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	kind, err := KindOf(f)
	inode, failed := Inode(f)
	if err != nil || failed != nil || kind != n.Kind || inode != n.Inode {
		t.Errorf("opened %s:[%d], %v, %v; want %v", kind, inode, err, failed, n)
	}
}

// What had a namespace may be gone, or be something else, by the time it is opened.
func TestOpenAnother(t *testing.T) {
	self := os.Getpid()
	set, err := Of(self)
	if err != nil {
		t.Fatal(err)
	}
	right := Namespace{Kind: UTS, Inode: set[UTS], Processes: []Process{{Pid: self}}}
	opens(t, right)
	for name, n := range map[string]Namespace{
		"another inode": {Kind: UTS, Inode: set[UTS] + 1, Processes: right.Processes},
		"another kind":  {Kind: UTS, Inode: set[UTS], Paths: []string{"/proc/self/ns/ipc"}},
		"a file":        {Kind: UTS, Inode: set[UTS], Paths: []string{"/dev/null"}},
		"nothing":       {Kind: UTS, Inode: set[UTS]},
	} {
		if f, err := n.Open(); !errors.Is(err, ErrOther) {
			t.Errorf("%s: got %v, %v", name, f, err)
		}
	}
	if _, err := Open(1<<22+1, Network); !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EINVAL) {
		t.Errorf("a number that no process has: %v", err)
	}
	f, err := Open(self, Network)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestOpenPath(t *testing.T) {
	f, kind, err := OpenPath("/proc/self/ns/user")
	if err != nil || kind != User {
		t.Fatalf("got %s, %v", kind, err)
	}
	f.Close()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{"/dev/null": ErrNone, "/proc": ErrNone, fifo: ErrNone, "/nowhere": fs.ErrNotExist} {
		if _, _, err := OpenPath(path); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
	}
}

func TestOf(t *testing.T) {
	set, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range Kinds() {
		link, err := os.Readlink("/proc/self/ns/" + string(k))
		if err != nil {
			t.Fatal(err)
		}
		if got := (Namespace{Kind: k, Inode: set[k]}).String(); got != link {
			t.Errorf("got %s, want %s", got, link)
		}
	}
	if _, err := Of(1<<22 + 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestKinds(t *testing.T) {
	for _, k := range Kinds() {
		if back, ok := kindOf(int(k.Flag())); !ok || back != k {
			t.Errorf("%s: flag %#x is %s", k, k.Flag(), back)
		}
		if got, err := ParseKind(string(k)); got != k || err != nil {
			t.Errorf("%s: got %s, %v", k, got, err)
		}
		if linkNames[k.index()] != "ns/"+string(k) {
			t.Errorf("%s: the link %s", k, linkNames[k.index()])
		}
	}
	if k := Kind("house"); k.Flag() != 0 {
		t.Error("a kind that there is not has a flag")
	}
	if _, err := ParseKind("house"); err == nil || !strings.Contains(err.Error(), "cgroup, time") {
		t.Errorf("got %v", err)
	}
}

func TestDescribe(t *testing.T) {
	p, err := Describe(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if p.Pid != os.Getpid() || p.PPid != os.Getppid() || p.UID != uint32(os.Geteuid()) || !strings.HasPrefix(p.Command, os.Args[0]) {
		t.Errorf("got %+v", p)
	}
	if _, err := Describe(1<<22 + 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
