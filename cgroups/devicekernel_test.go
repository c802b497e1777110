package cgroups

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// tryDevices makes each node of the table in the current directory and opens it
// in three ways. It prints a line for each request that is refused.
func tryDevices() {
	for i, d := range triedDevices {
		name := strconv.Itoa(i)
		report(d, accessMknod, unix.Mknod(name+"x", d.mode(), d.number()))
		unix.Unlink(name + "x")
		for flags, set := range map[int]access{
			unix.O_RDONLY: accessRead, unix.O_WRONLY: accessWrite, unix.O_RDWR: accessRead | accessWrite,
		} {
			fd, err := unix.Open(name, flags|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
			unix.Close(fd)
			report(d, set, err)
		}
	}
	fmt.Println("end")
}

func report(d request, set access, err error) {
	d.access = set
	if errors.Is(err, unix.EPERM) {
		fmt.Println(d)
	}
}

var triedDevices = []request{
	{kind: 'c', major: 1, minor: 3},
	{kind: 'c', major: 1, minor: 5},
	{kind: 'c', major: 1, minor: 7},
	{kind: 'c', major: 1, minor: 8},
	{kind: 'c', major: 5, minor: 0},
	{kind: 'b', major: 1, minor: 3},
}

func (r request) mode() uint32 {
	if r.kind == 'b' {
		return unix.S_IFBLK | 0o600
	}
	return unix.S_IFCHR | 0o600
}

func (r request) number() int { return int(unix.Mkdev(r.major, r.minor)) }

// The kernel lets a process do with devices what the rules mean, be it by v1 or
// by a program: the rules of containers, and random ones.
func TestDevices(t *testing.T) {
	onEachHost(t, func(t *testing.T, h *Host) {
		nodes := makeNodes(t)
		sets := [][]specs.LinuxDeviceCgroup{DefaultDevices(), AllDevices(), nil}
		for rng := rand.New(rand.NewPCG(5, 6)); len(sets) < 16; {
			rules := randomDeviceRules(rng)
			if _, err := policyV1(rules); err == nil || !h.has("devices") {
				sets = append(sets, rules)
			}
		}
		for i, rules := range sets {
			testDevices(t, newGroup(t, h, "devices"+strconv.Itoa(i), &specs.LinuxResources{Devices: rules}), nodes, rules)
		}
	})
}

// makeNodes makes the nodes of triedDevices in a directory where they can be
// opened: the usual one for temporary files may be mounted nodev.
func makeNodes(t *testing.T) string {
	t.Helper()
	here, err := os.MkdirTemp(".", "nodes") //nolint:usetesting // beside t.TempDir, not in it: see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(here) })
	for _, dir := range []string{t.TempDir(), here} {
		if dir, err = filepath.Abs(dir); err != nil {
			t.Fatal(err)
		}
		for i, d := range triedDevices {
			if err := unix.Mknod(filepath.Join(dir, strconv.Itoa(i)), d.mode(), d.number()); err != nil {
				t.Fatal(err)
			}
		}
		fd, err := unix.Open(filepath.Join(dir, "0"), unix.O_RDONLY, 0)
		if err == nil {
			unix.Close(fd)
			return dir
		}
	}
	t.Skip("no directory in which device nodes can be opened")
	return ""
}

func testDevices(t *testing.T, g *Group, nodes string, rules []specs.LinuxDeviceCgroup) {
	t.Helper()
	_, out := start(t, g, "cd "+quote(nodes)+"; "+self(t), roleVariable+"=devices")
	content, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	refused := strings.Split(string(content), "\n")
	if !strings.HasSuffix(string(content), "end\n") {
		t.Fatalf("the process broke off: %q", content)
	}
	for _, r := range triedDevices {
		for _, set := range []access{accessMknod, accessRead, accessWrite, accessRead | accessWrite} {
			r.access = set
			want := len(rules) == 0 || allowedByRules(t, rules, r)
			if d, ok := g.dir("devices"); ok && !d.V2 {
				p, _ := policyV1(rules) // valid: the group is made
				want = allowedByV1(p, r)
			}
			if got := !slices.Contains(refused, r.String()); got != want {
				t.Errorf("%s: allowed %v, want %v\n%s", r, got, want, AttachDeviceProgram{Rules: rules})
			}
		}
	}
}

func randomDeviceRules(rng *rand.Rand) []specs.LinuxDeviceCgroup {
	var rules []specs.LinuxDeviceCgroup
	for range rng.IntN(6) + 1 {
		d := triedDevices[rng.IntN(len(triedDevices))]
		rule := allow(string(d.kind), int64(d.major), int64(d.minor), access(rng.IntN(7)+1).String())
		if rng.IntN(3) == 0 {
			rule.Minor = nil
		}
		if rng.IntN(8) == 0 {
			rule = AllDevices()[0]
		}
		rule.Allow = rng.IntN(2) == 0
		rules = append(rules, rule)
	}
	return rules
}

// A second Apply takes the place of the first, and Check sees the program.
func TestDeviceProgramIsReplaced(t *testing.T) {
	g := newGroup(t, requireHost(t), "replace", nil)
	d, ok := g.unified()
	if !ok {
		t.Skip("no v2 hierarchy")
	}
	s := AttachDeviceProgram{Dir: d.path, Rules: DefaultDevices()}
	if err := s.Check(); !errors.Is(err, unix.ENOENT) {
		t.Errorf("check before: %v", err)
	}
	for range 3 {
		if err := s.Apply(); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := openFile(d.path, unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if ids, err := attachedPrograms(fd); err != nil || len(ids) != 1 || s.Check() != nil {
		t.Errorf("attached %v, %v; check %v", ids, err, s.Check())
	}
}

// Without the right to load programs the error says what is needed.
func TestDeviceProgramNotPermitted(t *testing.T) {
	g := newGroup(t, requireHost(t), "permitted", nil)
	d, ok := g.unified()
	if !ok {
		t.Skip("no v2 hierarchy")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all, fewer [2]unix.CapUserData
	if err := unix.Capget(&header, &all[0]); err != nil {
		t.Fatal(err)
	}
	fewer = all
	fewer[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
	fewer[1].Effective &^= 1 << (unix.CAP_BPF - 32)
	if err := unix.Capset(&header, &fewer[0]); err != nil {
		t.Fatal(err)
	}
	err := AttachDeviceProgram{Dir: d.path, Rules: DefaultDevices()}.Apply()
	if back := unix.Capset(&header, &all[0]); back != nil {
		t.Fatal(back)
	}
	want := "load device program for " + d.path + ": bpf: operation not permitted (device rules on cgroup v2 need " +
		"CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, and no seccomp filter against bpf)"
	if !errors.Is(err, unix.EPERM) || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
}
