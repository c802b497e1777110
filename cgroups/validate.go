package cgroups

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// validate checks resources of an OCI config for what the tables of limits take
// for granted. The error names the field by its JSON path. What only the kernel
// can judge is left to it.
func validate(r *specs.LinuxResources) error {
	for _, check := range []func(*specs.LinuxResources) (string, error){
		validateMemory, validateCPU, validateBlockIO, validateHugepages, validateNames, validateUnified, validateDevices,
	} {
		if field, err := check(r); err != nil {
			return fmt.Errorf("linux.resources.%s: %w", field, err)
		}
	}
	return nil
}

func validateMemory(r *specs.LinuxResources) (string, error) {
	m := memoryOf(r)
	for _, n := range []struct {
		field string
		value int64
	}{
		{"memory.limit", value(m.Limit)},
		{"memory.swap", value(m.Swap)},
		{"memory.reservation", value(m.Reservation)},
	} {
		if n.value < -1 {
			return n.field, fmt.Errorf("%d: negative, and not -1 for unlimited", n.value)
		}
	}
	limit, swap := value(m.Limit), value(m.Swap)
	switch {
	case swap > 0 && limit == 0:
		return "memory.swap", errors.New("limits memory and swap together, so it needs memory.limit")
	case swap > 0 && swap < limit:
		return "memory.swap", fmt.Errorf("%d is less than memory.limit %d, which it includes", swap, limit)
	case value(m.Swappiness) > 100:
		return "memory.swappiness", fmt.Errorf("%d is not in the range 0 to 100", *m.Swappiness)
	case m.UseHierarchy != nil && !*m.UseHierarchy:
		return "memory.useHierarchy", errors.New("false: every hierarchy counts what is below it (Linux 5.11)")
	}
	return "", nil
}

func validateCPU(r *specs.LinuxResources) (string, error) {
	cpu := cpuOf(r)
	for _, l := range []struct{ field, list string }{{"cpu.cpus", cpu.Cpus}, {"cpu.mems", cpu.Mems}} {
		if _, err := ParseList(l.list); l.list != "" && err != nil {
			return l.field, err
		}
	}
	if idle := value(cpu.Idle); idle != 0 && idle != 1 {
		return "cpu.idle", fmt.Errorf("%d is neither 0 nor 1", idle)
	}
	return "", nil
}

func validateBlockIO(r *specs.LinuxResources) (string, error) {
	block := blockOf(r)
	weights := map[string]uint16{"blockIO.weight": value(block.Weight), "blockIO.leafWeight": value(block.LeafWeight)}
	for i, d := range block.WeightDevice {
		weights[fmt.Sprintf("blockIO.weightDevice[%d].weight", i)] = value(d.Weight)
		weights[fmt.Sprintf("blockIO.weightDevice[%d].leafWeight", i)] = value(d.LeafWeight)
	}
	for _, field := range sortedKeys(weights) {
		if n := weights[field]; n != 0 && (n < 10 || n > 1000) {
			return field, fmt.Errorf("%d is not in the range 10 to 1000", n)
		}
	}
	return "", nil
}

// isPageSize accepts what stands in the names of the hugetlb files: 64KB, 2MB.
func isPageSize(s string) bool {
	digits := strings.TrimRight(s, "KMGB")
	unit := s[len(digits):]
	return len(digits) > 0 && len(digits) <= 4 && strings.Trim(digits, "0123456789") == "" &&
		(unit == "KB" || unit == "MB" || unit == "GB")
}

func validateHugepages(r *specs.LinuxResources) (string, error) {
	for i, l := range r.HugepageLimits {
		if !isPageSize(l.Pagesize) {
			return fmt.Sprintf("hugepageLimits[%d].pageSize", i), fmt.Errorf("%q: want a size as in 2MB", l.Pagesize)
		}
	}
	return "", nil
}

// validateNames keeps names that go into control files to one word, so that
// none can say more there than it should.
func validateNames(r *specs.LinuxResources) (string, error) {
	for _, device := range sortedKeys(r.Rdma) {
		if !isWord(device) {
			return "rdma", fmt.Errorf("%q is no name of a device", device)
		}
	}
	for i, p := range networkOf(r).Priorities {
		if !isWord(p.Name) {
			return fmt.Sprintf("network.priorities[%d].name", i), fmt.Errorf("%q is no name of an interface", p.Name)
		}
	}
	return "", nil
}

func isWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// notUnified are the files of v2's core that move, end or delegate processes:
// they are no limits.
var notUnified = []string{
	"cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze", "cgroup.type", "cgroup.subtree_control",
}

func validateUnified(r *specs.LinuxResources) (string, error) {
	for _, file := range sortedKeys(r.Unified) {
		controller, rest, _ := strings.Cut(file, ".")
		var err error
		switch {
		case controller == "" || rest == "" || !isWord(file) || strings.Contains(file, "/"):
			err = errors.New("want the name of a file as in memory.high")
		case slices.Contains(notUnified, file):
			err = errors.New("not a limit")
		}
		if err != nil {
			return "unified[" + file + "]", err
		}
	}
	return "", nil
}

func validateDevices(r *specs.LinuxResources) (string, error) {
	for i, rule := range r.Devices {
		if _, _, err := parseRule(rule); err != nil {
			return fmt.Sprintf("devices[%d]", i), err
		}
	}
	return "", nil
}
