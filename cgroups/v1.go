package cgroups

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// limitsV1 says each limit of the OCI config in the files of cgroup v1 (Linux,
// Documentation/admin-guide/cgroup-v1). kernel and kernelTCP of the memory are
// left out: Linux 5.4 and 6.12 have taken them away, and the OCI spec lets a
// runtime ignore them.
var limitsV1 = []limit{
	{"memory", "memory.limit", "limit memory and swap", memoryV1},
	{"memory", "memory.reservation", "reserve memory", func(r *specs.LinuxResources) []Setting {
		n := value(memoryOf(r).Reservation)
		return one(n != 0, "memory.soft_limit_in_bytes", decimal(n))
	}},
	{"memory", "memory.swappiness", "set the swappiness", func(r *specs.LinuxResources) []Setting {
		p := memoryOf(r).Swappiness
		return one(p != nil, "memory.swappiness", decimal(value(p)))
	}},
	{"memory", "memory.disableOOMKiller", "disable the OOM killer", func(r *specs.LinuxResources) []Setting {
		return one(value(memoryOf(r).DisableOOMKiller), "memory.oom_control", "1")
	}},
	{"pids", "pids.limit", "limit processes", pidsLimit},
	{"cpu", "cpu.shares", "weigh cpu time", func(r *specs.LinuxResources) []Setting {
		n := value(cpuOf(r).Shares)
		return one(n != 0, "cpu.shares", decimal(min(max(n, minShares), maxShares)))
	}},
	{"cpu", "cpu.quota", "limit cpu time", quotaV1},
	{"cpu", "cpu.realtimeRuntime", "limit real-time scheduling", realtimeV1},
	{"cpu", "cpu.idle", "set the idle class", cpuIdle},
	{"cpuset", "cpu.cpus", "choose cpus", cpusetCPUs},
	{"cpuset", "cpu.mems", "choose memory nodes", cpusetMems},
	{"io", "blockIO.weight", "weigh block io", blkioWeightV1},
	{"io", "blockIO.leafWeight", "weigh block io of the group itself", func(r *specs.LinuxResources) []Setting {
		n := value(blockOf(r).LeafWeight)
		return one(n != 0, "blkio.leaf_weight", decimal(n))
	}},
	{"io", "blockIO.weightDevice", "weigh block io of devices", blkioDevicesV1},
	{"io", "blockIO.throttle", "limit block io of devices", throttleV1},
	{"hugetlb", "hugepageLimits", "limit huge pages", func(r *specs.LinuxResources) []Setting {
		return hugepages(r, "limit_in_bytes")
	}},
	{"net_cls", "network.classID", "mark packets", func(r *specs.LinuxResources) []Setting {
		p := networkOf(r).ClassID
		return one(p != nil, "net_cls.classid", decimal(value(p)))
	}},
	{"net_prio", "network.priorities", "set network priorities", prioritiesV1},
	{"rdma", "rdma", "limit rdma", rdmaLimits},
}

// memoryV1: a group's memsw (memory and swap together) may never be less than
// its memory limit. On a new group both are unlimited, so memory goes first; on
// one that is raised the step finds out that it has to be the other way round.
func memoryV1(r *specs.LinuxResources) []Setting {
	m := memoryOf(r)
	memory, swap := value(m.Limit), value(m.Swap)
	if memory < 0 && swap == 0 {
		swap = -1 // as runc: unlimited memory is unlimited swap too
	}
	settings := one(memory != 0, "memory.limit_in_bytes", decimal(memory))
	if swap != 0 {
		absent := SkipNoSwap
		if swap < 0 {
			absent = Skip
		}
		settings = append(settings, Setting{File: "memory.memsw.limit_in_bytes", Value: decimal(swap), Absent: absent})
	}
	return settings
}

// pidsLimit is the same in both generations. 0 is a limit like any other (OCI
// runtime-spec 1.3, config-linux.md, "PIDs"): no process in the group can fork.
func pidsLimit(r *specs.LinuxResources) []Setting {
	if r.Pids == nil || r.Pids.Limit == nil {
		return nil
	}
	return one(true, "pids.max", orMax(*r.Pids.Limit))
}

func quotaV1(r *specs.LinuxResources) []Setting {
	cpu := cpuOf(r)
	period, quota := value(cpu.Period), value(cpu.Quota)
	settings := one(period != 0, "cpu.cfs_period_us", decimal(period))
	settings = append(settings, one(quota != 0, "cpu.cfs_quota_us", decimal(max(quota, -1)))...)
	return append(settings, one(cpu.Burst != nil, "cpu.cfs_burst_us", decimal(value(cpu.Burst)))...)
}

func realtimeV1(r *specs.LinuxResources) []Setting {
	cpu := cpuOf(r)
	period, runtime := value(cpu.RealtimePeriod), value(cpu.RealtimeRuntime)
	settings := one(period != 0, "cpu.rt_period_us", decimal(period))
	return append(settings, one(runtime != 0, "cpu.rt_runtime_us", decimal(runtime))...)
}

func cpuIdle(r *specs.LinuxResources) []Setting {
	p := cpuOf(r).Idle
	return one(p != nil, "cpu.idle", decimal(value(p)))
}

func cpusetCPUs(r *specs.LinuxResources) []Setting {
	cpus := cpuOf(r).Cpus
	return one(cpus != "", "cpuset.cpus", cpus)
}

func cpusetMems(r *specs.LinuxResources) []Setting {
	mems := cpuOf(r).Mems
	return one(mems != "", "cpuset.mems", mems)
}

// blkioWeightV1: blkio.weight went with the CFQ scheduler (Linux 5.0); BFQ has
// its own file.
func blkioWeightV1(r *specs.LinuxResources) []Setting {
	weight := value(blockOf(r).Weight)
	if weight == 0 {
		return nil
	}
	bfq := Setting{File: "blkio.bfq.weight", Value: decimal(weight)}
	return []Setting{{File: "blkio.weight", Value: decimal(weight), Absent: WriteOther, Instead: &bfq}}
}

func blkioDevicesV1(r *specs.LinuxResources) []Setting {
	var settings []Setting
	for _, d := range blockOf(r).WeightDevice {
		line := func(weight uint16) string { return fmt.Sprintf("%d:%d %d", d.Major, d.Minor, weight) }
		if n := value(d.Weight); n != 0 {
			bfq := Setting{File: "blkio.bfq.weight_device", Value: line(n)}
			settings = append(settings, Setting{File: "blkio.weight_device", Value: line(n), Absent: WriteOther, Instead: &bfq})
		}
		n := value(d.LeafWeight)
		settings = append(settings, one(n != 0, "blkio.leaf_weight_device", line(n))...)
	}
	return settings
}

func throttleV1(r *specs.LinuxResources) []Setting {
	block := blockOf(r)
	var settings []Setting
	for _, t := range []struct {
		file    string
		devices []specs.LinuxThrottleDevice
	}{
		{"blkio.throttle.read_bps_device", block.ThrottleReadBpsDevice},
		{"blkio.throttle.write_bps_device", block.ThrottleWriteBpsDevice},
		{"blkio.throttle.read_iops_device", block.ThrottleReadIOPSDevice},
		{"blkio.throttle.write_iops_device", block.ThrottleWriteIOPSDevice},
	} {
		for _, d := range t.devices {
			settings = append(settings, Setting{File: t.file, Value: fmt.Sprintf("%d:%d %d", d.Major, d.Minor, d.Rate)})
		}
	}
	return settings
}

// hugepages limits usage and, where the kernel has it (Linux 5.7), reservation.
func hugepages(r *specs.LinuxResources, suffix string) []Setting {
	var settings []Setting
	for _, l := range r.HugepageLimits {
		prefix, n := "hugetlb."+l.Pagesize, decimal(l.Limit)
		settings = append(settings,
			Setting{File: prefix + "." + suffix, Value: n},
			Setting{File: prefix + ".rsvd." + suffix, Value: n, Absent: Skip})
	}
	return settings
}

func prioritiesV1(r *specs.LinuxResources) []Setting {
	var settings []Setting
	for _, p := range networkOf(r).Priorities {
		settings = append(settings, Setting{File: "net_prio.ifpriomap", Value: p.Name + " " + decimal(p.Priority)})
	}
	return settings
}

// rdmaLimits is the same in both generations. The devices come sorted, so that
// the plan is the same each time.
func rdmaLimits(r *specs.LinuxResources) []Setting {
	var settings []Setting
	for _, device := range sortedKeys(r.Rdma) {
		line := device
		if p := r.Rdma[device].HcaHandles; p != nil {
			line += " hca_handle=" + decimal(*p)
		}
		if p := r.Rdma[device].HcaObjects; p != nil {
			line += " hca_object=" + decimal(*p)
		}
		settings = append(settings, one(line != device, "rdma.max", line)...)
	}
	return settings
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
