package cgroups

import (
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// limitsV2 says each limit of the OCI config in the files of cgroup v2 (Linux,
// Documentation/admin-guide/cgroup-v2.rst). What v2 has no file for is not
// here, and asking for it is an error.
var limitsV2 = []limit{
	{"memory", "memory.limit", "limit memory and swap", memoryV2},
	{"memory", "memory.reservation", "protect memory", func(r *specs.LinuxResources) []Setting {
		n := value(memoryOf(r).Reservation)
		return one(n != 0, "memory.low", orMax(n))
	}},
	{"pids", "pids.limit", "limit processes", pidsLimit},
	{"cpu", "cpu.shares", "weigh cpu time", func(r *specs.LinuxResources) []Setting {
		n := value(cpuOf(r).Shares)
		return one(n != 0, "cpu.weight", decimal(weightOfShares(n)))
	}},
	{"cpu", "cpu.quota", "limit cpu time", quotaV2},
	{"cpu", "cpu.idle", "set the idle class", cpuIdle},
	{"cpuset", "cpu.cpus", "choose cpus", cpusetCPUs},
	{"cpuset", "cpu.mems", "choose memory nodes", cpusetMems},
	{"io", "blockIO.weight", "weigh block io", ioWeightV2},
	{"io", "blockIO.weightDevice", "weigh block io of devices", func(r *specs.LinuxResources) []Setting {
		var settings []Setting
		for _, d := range blockOf(r).WeightDevice {
			if n := value(d.Weight); n != 0 {
				settings = append(settings, ioWeight(fmt.Sprintf("%d:%d ", d.Major, d.Minor), n))
			}
		}
		return settings
	}},
	{"io", "blockIO.throttle", "limit block io of devices", throttleV2},
	{"hugetlb", "hugepageLimits", "limit huge pages", func(r *specs.LinuxResources) []Setting {
		return hugepages(r, "max")
	}},
	{"rdma", "rdma", "limit rdma", rdmaLimits},
}

func memoryV2(r *specs.LinuxResources) []Setting {
	m := memoryOf(r)
	var settings []Setting
	if swap, ok := swapV2(m); ok {
		absent := SkipNoSwap
		if swap < 0 {
			absent = Skip
		}
		settings = append(settings, Setting{File: "memory.swap.max", Value: orMax(swap), Absent: absent})
	}
	memory := value(m.Limit)
	return append(settings, one(memory != 0, "memory.max", orMax(memory))...)
}

// defaultPeriod of cpu.max, in µs.
const defaultPeriod = 100_000

func quotaV2(r *specs.LinuxResources) []Setting {
	cpu := cpuOf(r)
	period, quota := value(cpu.Period), value(cpu.Quota)
	var settings []Setting
	if period != 0 || quota != 0 {
		line := "max"
		if quota > 0 {
			line = decimal(quota)
		}
		if period == 0 {
			period = defaultPeriod
		}
		settings = one(true, "cpu.max", line+" "+decimal(period))
	}
	return append(settings, one(cpu.Burst != nil, "cpu.max.burst", decimal(value(cpu.Burst)))...)
}

func ioWeightV2(r *specs.LinuxResources) []Setting {
	weight := value(blockOf(r).Weight)
	if weight == 0 {
		return nil
	}
	return []Setting{ioWeight("", weight)}
}

// ioWeight writes the weight as it is where the BFQ scheduler gives its file,
// else converts it for io.weight, as runc and crun do.
func ioWeight(device string, weight uint16) Setting {
	other := Setting{File: "io.weight", Value: device + decimal(weightOfBlkio(weight))}
	return Setting{File: "io.bfq.weight", Value: device + decimal(weight), Absent: WriteOther, Instead: &other}
}

func throttleV2(r *specs.LinuxResources) []Setting {
	block := blockOf(r)
	var settings []Setting
	for _, t := range []struct {
		key     string
		devices []specs.LinuxThrottleDevice
	}{
		{"rbps", block.ThrottleReadBpsDevice},
		{"wbps", block.ThrottleWriteBpsDevice},
		{"riops", block.ThrottleReadIOPSDevice},
		{"wiops", block.ThrottleWriteIOPSDevice},
	} {
		for _, d := range t.devices {
			rate := decimal(d.Rate)
			if d.Rate == 0 {
				rate = "max" // v1's 0 takes the limit away; v2 refuses 0
			}
			settings = append(settings, Setting{File: "io.max", Value: fmt.Sprintf("%d:%d %s=%s", d.Major, d.Minor, t.key, rate)})
		}
	}
	return settings
}

// limitsUnified returns a row for each key of linux.resources.unified, which
// names a v2 file and what to write there, line by line. The controller is the
// part of the name before the first dot.
func limitsUnified(r *specs.LinuxResources) []limit {
	var rows []limit
	for _, file := range sortedKeys(r.Unified) {
		controller, _, _ := strings.Cut(file, ".")
		var settings []Setting
		for line := range strings.Lines(r.Unified[file]) {
			line = strings.TrimSuffix(line, "\n")
			settings = append(settings, one(line != "", file, line)...)
		}
		rows = append(rows, limit{
			controller: controller,
			field:      "unified[" + file + "]",
			words:      "set " + file,
			settings:   func(*specs.LinuxResources) []Setting { return settings },
		})
	}
	return rows
}
