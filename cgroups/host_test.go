package cgroups

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Hosts as their /proc/self/mountinfo and cgroup.controllers show them.
const (
	mountsHybrid = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/lib/systemd/agent,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw,nsdelegate
99 31 0:32 / /var/lib/old\040mount/memory ro,relatime - cgroup cgroup rw,memory
`
	mountsV2       = "33 26 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	mountsReadOnly = "33 26 0:28 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n"
	mountsNone     = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
)

func mountsV1() string {
	var kept []string
	for line := range strings.Lines(mountsHybrid) {
		if !strings.Contains(line, "cgroup2") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// hostOf builds the host that has these mounts.
func hostOf(t *testing.T, mounts string, controllers ...string) *Host {
	t.Helper()
	h, err := newHost(parseMountinfo([]byte(mounts)), func(string) ([]string, error) { return controllers, nil })
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// allV2 is what a stock kernel has in the top group's cgroup.controllers.
var allV2 = []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"}

func TestMode(t *testing.T) {
	for _, test := range []struct {
		name, mounts string
		want         Mode
	}{
		{"hybrid", mountsHybrid, Hybrid},
		{"v1", mountsV1(), V1},
		{"v2", mountsV2, V2},
		{"read-only", mountsReadOnly, None},
		{"none", mountsNone, None},
		{"v2 beside the named hierarchy of systemd", mountsV2 + "40 31 0:37 / /x rw - cgroup cgroup rw,name=systemd\n", V2},
	} {
		if got := hostOf(t, test.mounts, allV2...).Mode; got != test.want {
			t.Errorf("%s: mode %v, want %v", test.name, got, test.want)
		}
	}
}

func TestParseMountinfo(t *testing.T) {
	got := parseMountinfo([]byte(mountsHybrid))
	want := []Hierarchy{
		{Controllers: []string{"cpu", "cpuacct"}, Mountpoint: "/sys/fs/cgroup/cpu,cpuacct"},
		{Controllers: []string{"cpuset"}, Mountpoint: "/sys/fs/cgroup/cpuset"},
		{Controllers: []string{"memory"}, Mountpoint: "/sys/fs/cgroup/memory"},
		{Controllers: []string{"devices"}, Mountpoint: "/sys/fs/cgroup/devices"},
		{Controllers: []string{"freezer"}, Mountpoint: "/sys/fs/cgroup/freezer"},
		{Controllers: []string{"blkio"}, Mountpoint: "/sys/fs/cgroup/blkio"},
		{Controllers: []string{"pids"}, Mountpoint: "/sys/fs/cgroup/pids"},
		{Name: "systemd", Mountpoint: "/sys/fs/cgroup/systemd"},
		{Mountpoint: "/sys/fs/cgroup/unified", V2: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A hierarchy that is mounted twice is used where it can be written.
func TestParseMountinfoPrefersWritable(t *testing.T) {
	got := parseMountinfo([]byte(`1 0 0:32 / /ro/the\040memory ro - cgroup cgroup rw,memory
2 0 0:32 / /rw/the\040memory\134 rw - cgroup cgroup rw,memory
3 0 0:32 / /other rw - cgroup cgroup rw,memory
`))
	want := []Hierarchy{{Controllers: []string{"memory"}, Mountpoint: `/rw/the memory\`}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseMountinfo(f *testing.F) {
	for _, seed := range []string{mountsHybrid, mountsV2, mountsReadOnly, mountsNone, "1 2 3 4 /\\ 6 - cgroup cgroup rw,memory"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		seen := make(map[string]bool)
		for _, h := range parseMountinfo(content) {
			key := strings.Join(h.Controllers, ",") + "\x00" + h.Name + map[bool]string{true: "\x002"}[h.V2]
			switch {
			case !strings.HasPrefix(h.Mountpoint, "/"):
				t.Errorf("mountpoint %q", h.Mountpoint)
			case !h.V2 && h.Name == "" && len(h.Controllers) == 0:
				t.Errorf("a hierarchy of nothing: %+v", h)
			case seen[key]:
				t.Errorf("twice: %+v", h)
			}
			seen[key] = true
		}
	})
}

func TestParseMembership(t *testing.T) {
	got := parseMembership("9:name=systemd:/user.slice/a:b\n4:cpu,cpuacct:/minictr/0a\n0::/minictr/0a (deleted)\nrubbish\n1:x:relative\n")
	want := map[string]string{
		"name=systemd": "/user.slice/a:b", "cpu": "/minictr/0a", "cpuacct": "/minictr/0a", Unified: "/minictr/0a (deleted)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseMembership(f *testing.F) {
	f.Add("9:name=systemd:/a\n4:cpu,cpuacct:/b\n0::/c\n")
	f.Fuzz(func(t *testing.T, content string) {
		for controller, path := range parseMembership(content) {
			if !strings.HasPrefix(path, "/") || strings.ContainsAny(controller, ",:") {
				t.Errorf("%q: %q", controller, path)
			}
		}
	})
}

// A limit that the host cannot enforce is an error that says what is missing.
func TestMissing(t *testing.T) {
	limit, weight, swappiness := int64(1<<30), uint16(100), uint64(10)
	memory := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}
	for _, test := range []struct {
		name string
		host *Host
		r    *specs.LinuxResources
		want string
	}{
		{
			"v2 without memory", hostOf(t, mountsV2, "cpu", "pids"), memory,
			"linux.resources.memory.limit: no memory controller in /sys/fs/cgroup/cgroup.controllers",
		},
		{
			"v1 without memory", hostOf(t, strings.ReplaceAll(mountsHybrid, "rw,memory", "rw,net_cls")), memory,
			"linux.resources.memory.limit: no hierarchy with the memory controller is mounted",
		},
		{
			"v1 names", hostOf(t, strings.ReplaceAll(mountsV1(), "blkio", "net_cls")),
			&specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: &weight}},
			"linux.resources.blockIO.weight: no hierarchy with the blkio controller is mounted",
		},
		{
			"read-only", hostOf(t, mountsReadOnly, allV2...), memory,
			"linux.resources.memory.limit: /sys/fs/cgroup is mounted read-only",
		},
		{
			"none", hostOf(t, mountsNone), memory,
			"linux.resources.memory.limit: no cgroup file system is mounted that may be written",
		},
		{
			"v1 only", hostOf(t, mountsV2, allV2...),
			&specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: &swappiness}},
			"linux.resources.memory.swappiness: cgroup v2 has no such limit",
		},
		{
			"v2 only", hostOf(t, mountsHybrid),
			&specs.LinuxResources{Unified: map[string]string{"memory.high": "1"}},
			"linux.resources.unified[memory.high]: cgroup v1 has no such file",
		},
		{
			"devices", hostOf(t, mountsNone), &specs.LinuxResources{Devices: DefaultDevices()},
			"linux.resources.devices: no cgroup file system is mounted that may be written",
		},
	} {
		_, err := test.host.New("/minictr/0a", test.r)
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: error %v, want %s", test.name, err, test.want)
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v is not ErrUnsupported", test.name, err)
		}
	}
}

// Without limits a container runs on any host.
func TestNewWithoutCgroups(t *testing.T) {
	g, err := hostOf(t, mountsNone).New("/minictr/0a", &specs.LinuxResources{Devices: AllDevices()})
	if err != nil || len(g.Steps()) != 0 || len(g.Paths()) != 0 {
		t.Errorf("group %+v, error %v", g, err)
	}
}

func TestNewPath(t *testing.T) {
	for _, path := range []string{"", "/", "minictr/0a", "/minictr/", "/minictr/../0a", "//minictr", "/minictr/0\na"} {
		if _, err := hostOf(t, mountsV2, allV2...).New(path, nil); err == nil {
			t.Errorf("path %q is accepted", path)
		}
	}
}

func TestDetectHere(t *testing.T) {
	h, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	slow, err := newHost(parseMountinfo(content), readControllers)
	if err != nil {
		t.Fatal(err)
	}
	if h.Mode == V2 {
		if slow.Mode != V2 && slow.Mode != None {
			t.Errorf("statfs says %v, mountinfo %v", h.Mode, slow.Mode)
		}
		return
	}
	if diff := cmp.Diff(slow, h); diff != "" {
		t.Error(diff)
	}
}
