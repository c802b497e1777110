package cgroups

import (
	"math"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Unlimited stands for "no limit" in numbers read from the kernel.
const Unlimited = math.MaxUint64

// unlimitedV1 is what v1 shows for no limit of memory: the highest number of
// bytes in whole pages, which differs with the size of a page.
const unlimitedV1 = 1 << 62

// A Setting is one value for one control file of a group.
type Setting struct {
	File    string // "memory.max"
	Value   string // "536870912"
	Absent  Absent // what it means if the group has no such file
	Instead *Setting
}

// Absent says what to do when the kernel has no file of a setting's name.
type Absent int

// What an absent file means.
const (
	Fail       Absent = iota // the limit cannot be enforced: an error
	Skip                     // the limit holds without the file
	SkipNoSwap               // the limit holds if this machine has no swap space
	WriteOther               // write the setting Instead
)

// A limit is a row of the tables limitsV1 and limitsV2: how one limit of the
// OCI config is said to the kernel. Its settings depend on each other and are
// written by one step.
type limit struct {
	controller string // as v2 names it: "io", not "blkio"
	field      string // of the config, below linux.resources: "memory.limit"
	words      string // "limit memory and swap"
	// settings returns what to write, nothing if the limit was not asked for.
	// The resources have been validated.
	settings func(r *specs.LinuxResources) []Setting
}

// The config is read through these, so that no row need ask for nil. In the
// OCI config 0 stands for "not asked for" wherever runc takes it so.

func memoryOf(r *specs.LinuxResources) specs.LinuxMemory {
	if r.Memory == nil {
		return specs.LinuxMemory{}
	}
	return *r.Memory
}

func cpuOf(r *specs.LinuxResources) specs.LinuxCPU {
	if r.CPU == nil {
		return specs.LinuxCPU{}
	}
	return *r.CPU
}

func blockOf(r *specs.LinuxResources) specs.LinuxBlockIO {
	if r.BlockIO == nil {
		return specs.LinuxBlockIO{}
	}
	return *r.BlockIO
}

func networkOf(r *specs.LinuxResources) specs.LinuxNetwork {
	if r.Network == nil {
		return specs.LinuxNetwork{}
	}
	return *r.Network
}

// value returns what p points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// one returns a single setting if it was asked for.
func one(asked bool, file, value string) []Setting {
	if !asked {
		return nil
	}
	return []Setting{{File: file, Value: value}}
}

func decimal[T ~int64 | ~uint64 | ~uint32 | ~uint16](n T) string {
	if n < 0 {
		return strconv.FormatInt(int64(n), 10)
	}
	return strconv.FormatUint(uint64(n), 10)
}

// orMax writes a negative number as v2 and the pids controller write "no limit".
func orMax(n int64) string {
	if n < 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

// swapV2 turns the config's limit of memory and swap together into v2's limit
// of swap alone, as ConvertMemorySwapToCgroupV2Value of opencontainers/cgroups
// does. ok is false if nothing is to be written.
func swapV2(m specs.LinuxMemory) (max int64, ok bool) {
	memory, swap := value(m.Limit), value(m.Swap)
	switch {
	case memory < 0 && swap == 0:
		return -1, true // unlimited memory, as v1 does it, means unlimited swap
	case swap == 0:
		return 0, false
	case swap < 0, memory < 0:
		return swap, true
	}
	return swap - memory, true
}

// weightOfShares turns v1's cpu shares (2 … 262144, by default 1024) into v2's
// cpu.weight (1 … 10000, by default 100) so that the two ends and the default
// meet: weight = 10^((l² + 125 l)/612 - 7/34), l = log2 shares.
//
// crun 1.23 (4998c928) and opencontainers/cgroups 0.0.3 (fd95216), hence runc
// 1.4, brought in this formula in 2025. The one before it,
// 1 + (shares-2)*9999/262142, made 39 of the default 1024, so a container with
// the default shares got less than half of the cpu of a group without any
// (opencontainers/runc#4772). Kubernetes has followed (KEP 2254). minictr
// never had the old one to be compatible with.
func weightOfShares(shares uint64) uint64 {
	switch {
	case shares == 0:
		return 0
	case shares <= minShares:
		return 1
	case shares >= maxShares:
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

// The range of cpu.shares, MIN_SHARES and MAX_SHARES of kernel/sched.
const (
	minShares = 2
	maxShares = 1 << 18
)

// weightOfBlkio turns v1's weight (10 … 1000) into v2's io.weight (1 … 10000),
// linearly, as runc and crun do.
func weightOfBlkio(weight uint16) uint64 {
	return 1 + (uint64(weight)-10)*9999/990
}
