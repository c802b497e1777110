package cgroups

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-update rewrites it):\n%s", file, diff)
	}
}

func of[T any](v T) *T { return &v }

var throttle = []specs.LinuxThrottleDevice{{Rate: 1048576}}

// resources are the cases of the golden files: every field of the OCI config
// that limits something.
var resources = []struct {
	name string
	r    specs.LinuxResources
}{
	{"nothing", specs.LinuxResources{}},
	{"memory", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: of[int64](512 << 20)}}},
	{"memory and swap", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: of[int64](512 << 20), Swap: of[int64](1 << 30)}}},
	{"memory without swap", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: of[int64](512 << 20), Swap: of[int64](512 << 20)}}},
	{"memory and unlimited swap", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: of[int64](512 << 20), Swap: of[int64](-1)}}},
	{"unlimited memory", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: of[int64](-1)}}},
	{"unlimited memory, some swap", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: of[int64](-1), Swap: of[int64](1 << 30)}}},
	{"memory reservation", specs.LinuxResources{Memory: &specs.LinuxMemory{Reservation: of[int64](256 << 20)}}},
	{"cpu shares", specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: of[uint64](512)}}},
	{"cpu shares out of range", specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: of[uint64](1)}}},
	{"cpu quota", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: of[int64](150000), Period: of[uint64](100000)}}},
	{"cpu quota alone", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: of[int64](50000)}}},
	{"cpu period alone", specs.LinuxResources{CPU: &specs.LinuxCPU{Period: of[uint64](50000)}}},
	{"cpu quota unlimited, burst", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: of[int64](-1), Burst: of[uint64](1000)}}},
	{"cpu idle", specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: of[int64](1)}}},
	{"cpuset", specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0-1,3", Mems: "0"}}},
	{"pids", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: of[int64](100)}}},
	{"pids unlimited", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: of[int64](-1)}}},
	{"pids 0", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: of[int64](0)}}},
	{"block io weight", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{
		Weight: of[uint16](500), WeightDevice: []specs.LinuxWeightDevice{{Weight: of[uint16](10)}},
	}}},
	{"block io limits", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{
		ThrottleReadBpsDevice: throttle, ThrottleWriteBpsDevice: throttle,
		ThrottleReadIOPSDevice: throttle, ThrottleWriteIOPSDevice: []specs.LinuxThrottleDevice{{}},
	}}},
	{"huge pages", specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}}},
	{"rdma", specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{
		"mlx5_1": {HcaHandles: of[uint32](3), HcaObjects: of[uint32](10000)}, "mlx4_0": {HcaObjects: of[uint32](1000)},
	}}},
	{"default devices", specs.LinuxResources{Devices: DefaultDevices()}},
	{"all devices", specs.LinuxResources{Devices: AllDevices()}},
	{"v1: swappiness, no OOM killer", specs.LinuxResources{Memory: &specs.LinuxMemory{
		Swappiness: of[uint64](10), DisableOOMKiller: of(true),
	}}},
	{"v1: real-time", specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimePeriod: of[uint64](1000000), RealtimeRuntime: of[int64](950000)}}},
	{"v1: network", specs.LinuxResources{Network: &specs.LinuxNetwork{
		ClassID: of[uint32](0x100001), Priorities: []specs.LinuxInterfacePriority{{Name: "eth0", Priority: 5}},
	}}},
	{"v1: leaf weight", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{LeafWeight: of[uint16](100)}}},
	{"v2: unified", specs.LinuxResources{Unified: map[string]string{"memory.high": "268435456", "cgroup.max.depth": "3"}}},
	{"v2: unified, two lines", specs.LinuxResources{Unified: map[string]string{"io.max": "8:0 rbps=1\n8:16 wbps=2\n"}}},
}

// The golden files show each case as the script that it amounts to.
func TestGolden(t *testing.T) {
	extra := "50 31 0:50 / /sys/fs/cgroup/net_cls,net_prio rw - cgroup cgroup rw,net_cls,net_prio\n" +
		"51 31 0:51 / /sys/fs/cgroup/hugetlb rw - cgroup cgroup rw,hugetlb\n" +
		"52 31 0:52 / /sys/fs/cgroup/rdma rw - cgroup cgroup rw,rdma\n"
	for _, test := range []struct {
		file string
		host *Host
	}{
		{"v1.golden", hostOf(t, mountsV1()+extra)},
		{"v2.golden", hostOf(t, mountsV2, allV2...)},
		{"hybrid.golden", hostOf(t, mountsHybrid, "hugetlb")},
	} {
		var b strings.Builder
		for _, c := range resources {
			fmt.Fprintf(&b, "== %s\n", c.name)
			g, err := test.host.New("/minictr/0a", &c.r)
			if err != nil {
				fmt.Fprintf(&b, "%v\n", err)
				continue
			}
			for _, s := range g.Steps() {
				fmt.Fprintf(&b, "%s\n", s)
			}
		}
		golden(t, test.file, b.String())
	}
}

// Every row of the tables is shown by some case.
func TestGoldenIsComplete(t *testing.T) {
	for name, rows := range map[string][]limit{"v1": limitsV1, "v2": limitsV2} {
		for _, row := range rows {
			used := false
			for _, c := range resources {
				used = used || len(row.settings(&c.r)) > 0
			}
			if !used {
				t.Errorf("%s: no case for %s", name, row.field)
			}
			if row.words == "" || row.controller == "" {
				t.Errorf("%s: row %s is not filled in", name, row.field)
			}
		}
	}
}

// The first line has the values of opencontainers/cgroups' own test
// (utils_test.go), the second some that were worked out by hand.
func TestWeightOfShares(t *testing.T) {
	for shares, want := range map[uint64]uint64{
		0: 0, 1: 1, 2: 1, 3: 2, 1024: 100, 262143: 10000, 262144: 10000, 262145: 10000,
		512: 59, 2048: 174, 1 << 40: 10000,
	} {
		if got := weightOfShares(shares); got != want {
			t.Errorf("%d shares: weight %d, want %d", shares, got, want)
		}
	}
	for shares := uint64(2); shares < 1<<18; shares++ {
		if weightOfShares(shares) > weightOfShares(shares+1) {
			t.Fatalf("weight falls at %d shares", shares)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		r    specs.LinuxResources
		want string
	}{
		{specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: of[int64](-2)}}, "memory.limit: -2: negative, and not -1 for unlimited"},
		{specs.LinuxResources{Memory: &specs.LinuxMemory{Swap: of[int64](1)}}, "memory.swap: limits memory and swap together, so it needs memory.limit"},
		{specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: of[int64](2), Swap: of[int64](1)}}, "memory.swap: 1 is less than memory.limit 2, which it includes"},
		{specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: of[uint64](101)}}, "memory.swappiness: 101 is not in the range 0 to 100"},
		{specs.LinuxResources{Memory: &specs.LinuxMemory{UseHierarchy: of(false)}}, "memory.useHierarchy: false: every hierarchy counts what is below it (Linux 5.11)"},
		{specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "1-"}}, `cpu.cpus: "1-": "" is no number, want a list as in 0-3,8`},
		{specs.LinuxResources{CPU: &specs.LinuxCPU{Mems: "1 > /x"}}, `cpu.mems: "1 > /x": "1 > /x" is no number, want a list as in 0-3,8`},
		{specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: of[int64](2)}}, "cpu.idle: 2 is neither 0 nor 1"},
		{specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: of[uint16](9)}}, "blockIO.weight: 9 is not in the range 10 to 1000"},
		{specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "../2MB"}}}, `hugepageLimits[0].pageSize: "../2MB": want a size as in 2MB`},
		{specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"a b": {}}}, `rdma: "a b" is no name of a device`},
		{specs.LinuxResources{Network: &specs.LinuxNetwork{Priorities: []specs.LinuxInterfacePriority{{Name: "a\n"}}}}, `network.priorities[0].name: "a\n" is no name of an interface`},
		{specs.LinuxResources{Unified: map[string]string{"../memory.max": "1"}}, "unified[../memory.max]: want the name of a file as in memory.high"},
		{specs.LinuxResources{Unified: map[string]string{"cgroup.procs": "1"}}, "unified[cgroup.procs]: not a limit"},
		{specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Type: "p", Access: "r"}}}, `devices[0]: type: unknown device type "p"`},
		{specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Type: "c", Access: "x"}}}, `devices[0]: access: unknown letter 'x', want r, w, m`},
		{specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Type: "c"}}}, "devices[0]: access: empty"},
		{specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Type: "a", Access: "r"}}}, "devices[0]: a rule for devices of type a is for all numbers and for rwm"},
		{specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Type: "c", Access: "r", Major: of[int64](1 << 32)}}}, "devices[0]: major, minor: 4294967296 is no device number"},
	} {
		_, err := hostOf(t, mountsHybrid).New("/minictr/0a", &test.r)
		if err == nil || err.Error() != "linux.resources."+test.want {
			t.Errorf("error %v, want linux.resources.%s", err, test.want)
		}
	}
}

func TestHolds(t *testing.T) {
	for _, test := range []struct {
		setting Setting
		content string
		want    bool
	}{
		{Setting{File: "memory.max", Value: "max"}, "max", true},
		{Setting{File: "memory.max", Value: "10000000"}, "9998336", true}, // rounded to pages
		{Setting{File: "memory.max", Value: "10000000"}, "9990000", false},
		{Setting{File: "memory.limit_in_bytes", Value: "-1"}, "9223372036854771712", true},
		{Setting{File: "memory.limit_in_bytes", Value: "-1"}, "4096", false},
		{Setting{File: "cpuset.cpus", Value: "0,1,2"}, "0-2", true},
		{Setting{File: "cpuset.cpus", Value: "0"}, "0-2", false},
		{Setting{File: "io.max", Value: "8:0 rbps=1"}, "8:0 rbps=1 wbps=max riops=max wiops=max", true},
		{Setting{File: "io.max", Value: "8:0 rbps=1"}, "8:16 rbps=1 wbps=max", false},
		{Setting{File: "io.weight", Value: "100"}, "default 100", true},
	} {
		if got := test.setting.holds(test.content); got != test.want {
			t.Errorf("%+v in %q: %v", test.setting, test.content, got)
		}
	}
}
