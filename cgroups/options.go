package cgroups

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Options are the flags of a command line that limit a container, spelt and
// meant as Docker's. The zero value of each is "not given".
type Options struct {
	Memory            string // --memory 512m
	MemorySwap        string // --memory-swap 1g: memory and swap together; -1 is unlimited swap
	MemoryReservation string // --memory-reservation 256m
	CPUs              string // --cpus 1.5
	CPUShares         int64  // --cpu-shares 512
	CPUPeriod         int64  // --cpu-period 100000, µs
	CPUQuota          int64  // --cpu-quota 50000, µs
	CpusetCPUs        string // --cpuset-cpus 0-3,1
	CpusetMems        string // --cpuset-mems 0
	PidsLimit         int64  // --pids-limit 100; -1 is unlimited
}

// minMemory is the least memory limit, in bytes. Docker asks for 6 MiB, since
// runc starts itself a second time in the group; minictr's process in the group
// is small from the start, and crun, which is alike, runs with 512 KiB. Less is
// a number whose unit was forgotten: "-m 512".
const minMemory = 512 << 10

// Resources turns the options into the OCI config's. Errors are one line that
// names the flag. online are the cpus that the host has (OnlineCPUs); an empty
// list, for tests and for other hosts, checks nothing against it.
func Resources(o Options, online List) (*specs.LinuxResources, error) {
	r := &specs.LinuxResources{}
	var err error
	if r.Memory, err = o.memory(); err != nil {
		return nil, err
	}
	if r.CPU, err = o.cpu(online); err != nil {
		return nil, err
	}
	if o.PidsLimit != 0 {
		limit := max(o.PidsLimit, -1)
		r.Pids = &specs.LinuxPids{Limit: &limit}
	}
	return r, nil
}

// memory follows Docker's daemon/daemon_unix.go, verifyPlatformContainerResources
// and adaptContainerSettings.
func (o Options) memory() (*specs.LinuxMemory, error) {
	limit, err := memoryFlag("--memory", o.Memory)
	if err != nil {
		return nil, err
	}
	reservation, err := memoryFlag("--memory-reservation", o.MemoryReservation)
	if err != nil {
		return nil, err
	}
	if limit > 0 && reservation > limit {
		return nil, fmt.Errorf("--memory-reservation: %s is more than --memory %s", o.MemoryReservation, o.Memory)
	}
	swap, err := o.swap(limit)
	if err != nil {
		return nil, err
	}
	if limit == 0 && reservation == 0 {
		return nil, nil
	}
	m := &specs.LinuxMemory{}
	if limit != 0 {
		m.Limit, m.Swap = &limit, &swap
	}
	if reservation != 0 {
		m.Reservation = &reservation
	}
	return m, nil
}

// swap returns the limit of memory and swap together, by default twice the
// memory.
func (o Options) swap(limit int64) (int64, error) {
	if o.MemorySwap == "-1" {
		return -1, nil
	}
	swap := int64(0)
	if o.MemorySwap != "" {
		var err error
		if swap, err = ParseMemory(o.MemorySwap); err != nil {
			return 0, fmt.Errorf("--memory-swap: %w", err)
		}
	}
	switch {
	case swap == 0:
		return twice(limit), nil
	case limit == 0:
		return 0, fmt.Errorf("--memory-swap: needs --memory too")
	case swap < limit:
		return 0, fmt.Errorf("--memory-swap: %s is memory and swap together and cannot be less than --memory %s", o.MemorySwap, o.Memory)
	}
	return swap, nil
}

// twice doubles, but not beyond what the kernel takes.
func twice(n int64) int64 {
	if n > 1<<61 {
		return n
	}
	return 2 * n
}

func memoryFlag(flag, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := ParseMemory(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", flag, err)
	}
	if n != 0 && n < minMemory {
		return 0, fmt.Errorf("%s: %s is less than the least limit, 512k", flag, text)
	}
	return n, nil
}

func (o Options) cpu(online List) (*specs.LinuxCPU, error) {
	c := specs.LinuxCPU{}
	for _, set := range []func(*specs.LinuxCPU, List) error{o.setShares, o.setQuota, o.setCpuset} {
		if err := set(&c, online); err != nil {
			return nil, err
		}
	}
	if c == (specs.LinuxCPU{}) {
		return nil, nil
	}
	return &c, nil
}

func (o Options) setShares(c *specs.LinuxCPU, _ List) error {
	if o.CPUShares == 0 {
		return nil
	}
	if o.CPUShares < minShares || o.CPUShares > maxShares {
		return fmt.Errorf("--cpu-shares: %d is not in the range %d to %d", o.CPUShares, minShares, maxShares)
	}
	shares := uint64(o.CPUShares)
	c.Shares = &shares
	return nil
}

// The kernel's bounds of cpu.cfs_period_us and cpu.cfs_quota_us, in µs
// (kernel/sched/core.c, max_cfs_quota_period and min_cfs_quota_period).
const (
	minPeriod = 1_000
	maxPeriod = 1_000_000
	minQuota  = 1_000
)

func (o Options) setQuota(c *specs.LinuxCPU, online List) error {
	if o.CPUs != "" {
		return o.setCPUs(c, online)
	}
	if o.CPUPeriod != 0 {
		if o.CPUPeriod < minPeriod || o.CPUPeriod > maxPeriod {
			return fmt.Errorf("--cpu-period: %d is not in the range %d to %d (microseconds)", o.CPUPeriod, minPeriod, maxPeriod)
		}
		period := uint64(o.CPUPeriod)
		c.Period = &period
	}
	if o.CPUQuota != 0 {
		if o.CPUQuota > 0 && o.CPUQuota < minQuota {
			return fmt.Errorf("--cpu-quota: %d is less than %d (microseconds)", o.CPUQuota, minQuota)
		}
		quota := max(o.CPUQuota, -1)
		c.Quota = &quota
	}
	return nil
}

// setCPUs turns cpus into a quota of the default period, rounded down, as
// Docker does: 1.5 cpus are 150000 µs in each 100000 µs.
func (o Options) setCPUs(c *specs.LinuxCPU, online List) error {
	if o.CPUPeriod != 0 || o.CPUQuota != 0 {
		return fmt.Errorf("--cpus: cannot go with --cpu-period or --cpu-quota")
	}
	billionths, err := parseCPUs(o.CPUs)
	if err != nil {
		return fmt.Errorf("--cpus: %w", err)
	}
	if billionths == 0 {
		return nil // Docker: no limit
	}
	quota := billionths / (1_000_000_000 / defaultPeriod)
	if quota < minQuota {
		return fmt.Errorf("--cpus: %s is less than 0.01", o.CPUs)
	}
	if n := len(online); n > 0 && billionths > int64(n)*1_000_000_000 {
		return fmt.Errorf("--cpus: %s is more than the %d that this host has", o.CPUs, n)
	}
	period := uint64(defaultPeriod)
	c.Quota, c.Period = &quota, &period
	return nil
}

func (o Options) setCpuset(c *specs.LinuxCPU, online List) error {
	if o.CpusetCPUs != "" {
		list, err := ParseList(o.CpusetCPUs)
		if err != nil {
			return fmt.Errorf("--cpuset-cpus: %w", err)
		}
		if foreign := list.Without(online); len(online) > 0 && len(foreign) > 0 {
			return fmt.Errorf("--cpuset-cpus: this host has no cpu %s, only %s", foreign, online)
		}
		c.Cpus = list.String()
	}
	if o.CpusetMems != "" {
		list, err := ParseList(o.CpusetMems)
		if err != nil {
			return fmt.Errorf("--cpuset-mems: %w", err)
		}
		c.Mems = list.String()
	}
	return nil
}
