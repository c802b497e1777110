package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const exampleStatus = `Name:	a name (x)
Umask:	0022
State:	S (sleeping)
Tgid:	812
Pid:	812
PPid:	811
Uid:	100000	100033	100000	100000
Gid:	100000	100034	100000	100000
NSpid:	812	17	1
VmRSS:	    1024 kB
Threads:	3
`

func TestProcessFrom(t *testing.T) {
	for depth, nspid := range map[int]int{1: 812, 2: 17, 3: 1, 4: 0} {
		got := processFrom(parseStatus(exampleStatus), depth)
		want := ProcessStatus{Name: "a name (x)", State: "S", PPid: 811, NSPid: nspid, Threads: 3, UID: 100033, GID: 100034, RSSBytes: 1 << 20}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("depth %d: %s", depth, diff)
		}
	}
}

func TestAddTimes(t *testing.T) {
	var p ProcessStatus
	p.addTimes("812 (a) b) c) S 811 812 812 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 3 0 1234 5 6")
	if p.CPU != 2*time.Second || p.Started != 12340*time.Millisecond {
		t.Errorf("cpu %v, started %v", p.CPU, p.Started)
	}
	p = ProcessStatus{}
	if p.addTimes("812 (x) S 1"); p.CPU != 0 {
		t.Errorf("of a short line: %v", p.CPU)
	}
}

func TestParsePasswd(t *testing.T) {
	got := parsePasswd("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n# a comment\nbad:x:y:z\n:x:5:\nnobody:x:65534:65534:nobody:/:/sbin/nologin")
	if diff := cmp.Diff(map[uint32]string{0: "root", 65534: "nobody"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestContainerID(t *testing.T) {
	mappings := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 1000}, {ContainerID: 2000, HostID: 500, Size: 1}}
	for host, want := range map[uint32]uint32{100000: 0, 100033: 33, 500: 2000, 0: overflowID, 101000: overflowID} {
		if got := containerID(mappings, host); got != want {
			t.Errorf("%d: got %d, want %d", host, got, want)
		}
		if got := containerID(nil, host); got != host {
			t.Errorf("%d without mappings: got %d", host, got)
		}
	}
}

// This process reads itself as ps(1) would.
func TestReadProcess(t *testing.T) {
	pid := os.Getpid()
	depth, err := pidDepth(pid)
	if err != nil {
		t.Fatal(err)
	}
	p, err := readProcess(pid, depth)
	if err != nil {
		t.Fatal(err)
	}
	if p.Pid != pid || p.PPid != os.Getppid() || int(p.UID) != os.Geteuid() || !slices.Equal(p.Args, os.Args) || p.Threads < 1 || p.RSSBytes == 0 {
		t.Errorf("%+v", p)
	}
	inside, err := pidsInNamespace("/proc/self/ns/pid")
	if err != nil || !slices.Contains(inside, pid) {
		t.Errorf("pids in this namespace: %v, %v", inside, err)
	}
}

// The oracle is the link that readlink(1) prints.
func TestNamespaces(t *testing.T) {
	list, err := Namespaces(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, n := range list {
		link, err := os.Readlink("/proc/self/ns/" + n.Kind)
		if err != nil || link != n.String() {
			t.Errorf("%s: got %s, the link says %s, %v", n.Kind, n, link, err)
		}
		host, err := os.Readlink(hostProcess() + "/ns/" + n.Kind)
		if err != nil || n.Host != (host == link) {
			t.Errorf("%s: host %v, but the host has %s, %v", n.Kind, n.Host, host, err)
		}
		kinds[n.Kind] = true
	}
	if !kinds["net"] || !kinds["pid"] || !kinds["mnt"] {
		t.Errorf("some are missing: %v", list)
	}
}

func TestNamespacesOfNobody(t *testing.T) {
	c := exec.Command("true")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if list, err := Namespaces(c.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a process that has ended: %v, %v", list, err)
	}
}

func ExampleNamespace_String() {
	fmt.Println(Namespace{Kind: "net", Inode: 4026531840})
	// Output: net:[4026531840]
}
