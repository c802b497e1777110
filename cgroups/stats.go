package cgroups

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// Stats is what a group, and those below it, have used so far. What the host
// does not count is zero, or nil.
type Stats struct {
	CPU      CPUStats
	Memory   MemoryStats
	Pids     PidsStats
	IO       []IOStats // one for each block device used
	Pressure PressureStats
}

// CPUStats is cpu time, of all cpus together.
type CPUStats struct {
	Usage, User, System time.Duration
	Periods             uint64        // of --cpus that have passed
	Throttled           uint64        // of them in which the quota was used up
	ThrottledTime       time.Duration // for which processes had to wait
}

// MemoryStats is in bytes.
type MemoryStats struct {
	Usage        uint64 // with the page cache
	Limit        uint64 // Unlimited if there is none
	Peak         uint64 // highest Usage (v2: Linux 5.19)
	Cache        uint64 // page cache
	InactiveFile uint64 // part of Cache that can be dropped at once; docker stats shows Usage without it
	Swap         uint64 // in swap space
	SwapLimit    uint64 // of swap alone; Unlimited if there is none
}

// PidsStats counts processes and threads.
type PidsStats struct {
	Current uint64
	Limit   uint64 // Unlimited if there is none
}

// IOStats is what went to and from one block device.
type IOStats struct {
	Major, Minor          uint64
	ReadBytes, WriteBytes uint64
	Reads, Writes         uint64
}

// PressureStats is how long processes had to wait for a resource, where there
// is a v2 hierarchy and the kernel has CONFIG_PSI (Documentation/accounting/
// psi.rst).
type PressureStats struct {
	CPU, Memory, IO *Pressure
}

// Pressure is a file such as memory.pressure: Some is the time in which at least
// one process waited, Full that in which all did.
type Pressure struct {
	Some, Full PressureLine
}

// PressureLine has averages in per cent over 10, 60 and 300 seconds.
type PressureLine struct {
	Avg10, Avg60, Avg300 float64
	Total                time.Duration
}

// Stats reads what the group has used. A file that the kernel lacks leaves its
// numbers zero; a group that is gone gives os.ErrNotExist.
func (g *Group) Stats() (Stats, error) {
	var r reader
	if len(g.dirs) == 0 {
		return Stats{}, step.Fail("read stats of", g.Path, os.ErrNotExist)
	}
	if _, err := os.Stat(g.dirs[0].path); err != nil {
		return Stats{}, step.Fail("read stats of", g.Path, unwrapPath(err))
	}
	s := Stats{CPU: g.cpuStats(&r), Memory: g.memoryStats(&r), IO: g.ioStats(&r)}
	if d, ok := g.dir("pids"); ok {
		s.Pids = PidsStats{Current: r.number(d.path, "pids.current"), Limit: r.number(d.path, "pids.max")}
	}
	if d, ok := g.unified(); ok {
		s.Pressure = PressureStats{
			CPU:    r.pressure(d.path, "cpu.pressure"),
			Memory: r.pressure(d.path, "memory.pressure"),
			IO:     r.pressure(d.path, "io.pressure"),
		}
	}
	return s, errors.Join(r.errs...)
}

// cpuStats: v2 counts time without a controller, so that a hybrid host needs no
// cpuacct; but the periods are where the cpu controller is.
func (g *Group) cpuStats(r *reader) CPUStats {
	var s CPUStats
	if d, ok := g.unified(); ok {
		keys := r.keys(d.path, "cpu.stat")
		s.Usage = microseconds(keys["usage_usec"])
		s.User = microseconds(keys["user_usec"])
		s.System = microseconds(keys["system_usec"])
		s.Periods, s.Throttled = keys["nr_periods"], keys["nr_throttled"]
		s.ThrottledTime = microseconds(keys["throttled_usec"])
	} else if d, ok := g.dir("cpuacct"); ok {
		s.Usage = nanoseconds(r.number(d.path, "cpuacct.usage"))
		s.User = nanoseconds(r.number(d.path, "cpuacct.usage_user"))
		s.System = nanoseconds(r.number(d.path, "cpuacct.usage_sys"))
	}
	if d, ok := g.dir("cpu"); ok && !d.V2 {
		keys := r.keys(d.path, "cpu.stat")
		s.Periods, s.Throttled = keys["nr_periods"], keys["nr_throttled"]
		s.ThrottledTime = nanoseconds(keys["throttled_time"])
	}
	return s
}

func microseconds(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }
func nanoseconds(n uint64) time.Duration  { return time.Duration(n) }

func (g *Group) memoryStats(r *reader) MemoryStats {
	d, ok := g.dir("memory")
	if !ok {
		return MemoryStats{}
	}
	if d.V2 {
		keys := r.keys(d.path, "memory.stat")
		return MemoryStats{
			Usage: r.number(d.path, "memory.current"), Limit: r.number(d.path, "memory.max"),
			Peak: r.number(d.path, "memory.peak"), Cache: keys["file"], InactiveFile: keys["inactive_file"],
			Swap: r.number(d.path, "memory.swap.current"), SwapLimit: r.number(d.path, "memory.swap.max"),
		}
	}
	keys := r.keys(d.path, "memory.stat")
	s := MemoryStats{
		Usage: r.number(d.path, "memory.usage_in_bytes"), Limit: limitV1(r.number(d.path, "memory.limit_in_bytes")),
		Peak: r.number(d.path, "memory.max_usage_in_bytes"), Cache: keys["total_cache"],
		InactiveFile: keys["total_inactive_file"], Swap: keys["total_swap"],
	}
	s.SwapLimit = limitV1(r.number(d.path, "memory.memsw.limit_in_bytes"))
	if s.SwapLimit != Unlimited && s.SwapLimit >= s.Limit {
		s.SwapLimit -= s.Limit
	}
	return s
}

func limitV1(n uint64) uint64 {
	if n >= unlimitedV1 {
		return Unlimited
	}
	return n
}

func (g *Group) ioStats(r *reader) []IOStats {
	d, ok := g.dir("io")
	if !ok {
		return nil
	}
	if d.V2 {
		return parseIOStat(r.text(d.path, "io.stat"))
	}
	return parseThrottle(
		r.text(d.path, "blkio.throttle.io_service_bytes_recursive"),
		r.text(d.path, "blkio.throttle.io_serviced_recursive"))
}

// parseIOStat reads v2's io.stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 …".
func parseIOStat(content string) []IOStats {
	var all []IOStats
	for line := range strings.Lines(content) {
		device, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		s, ok := ioDevice(device)
		if !ok {
			continue
		}
		targets := map[string]*uint64{
			"rbytes": &s.ReadBytes, "wbytes": &s.WriteBytes, "rios": &s.Reads, "wios": &s.Writes,
		}
		for word := range strings.FieldsSeq(rest) {
			key, text, _ := strings.Cut(word, "=")
			if n, err := strconv.ParseUint(text, 10, 64); err == nil && targets[key] != nil {
				*targets[key] = n
			}
		}
		all = append(all, s)
	}
	return all
}

// parseThrottle reads v1's two files, of bytes and of operations, each with
// lines "8:0 Read 4096".
func parseThrottle(bytes, operations string) []IOStats {
	var all []IOStats
	add := func(content string, target func(*IOStats, string) *uint64) {
		for line := range strings.Lines(content) {
			words := strings.Fields(line)
			if len(words) != 3 {
				continue
			}
			device, ok := ioDevice(words[0])
			n, err := strconv.ParseUint(words[2], 10, 64)
			if !ok || err != nil {
				continue
			}
			if p := target(findDevice(&all, device), words[1]); p != nil {
				*p = n
			}
		}
	}
	add(bytes, func(s *IOStats, what string) *uint64 {
		return map[string]*uint64{"Read": &s.ReadBytes, "Write": &s.WriteBytes}[what]
	})
	add(operations, func(s *IOStats, what string) *uint64 {
		return map[string]*uint64{"Read": &s.Reads, "Write": &s.Writes}[what]
	})
	return all
}

func findDevice(all *[]IOStats, device IOStats) *IOStats {
	for i := range *all {
		if s := &(*all)[i]; s.Major == device.Major && s.Minor == device.Minor {
			return s
		}
	}
	*all = append(*all, device)
	return &(*all)[len(*all)-1]
}

func ioDevice(text string) (IOStats, bool) {
	major, minor, _ := strings.Cut(text, ":")
	a, errA := strconv.ParseUint(major, 10, 32)
	b, errB := strconv.ParseUint(minor, 10, 32)
	return IOStats{Major: a, Minor: b}, errA == nil && errB == nil
}

// parsePressure reads a pressure file:
//
//	some avg10=0.00 avg60=0.00 avg300=0.00 total=0
//	full avg10=0.00 avg60=0.00 avg300=0.00 total=0
func parsePressure(content string) *Pressure {
	var p Pressure
	for line := range strings.Lines(content) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		target := map[string]*PressureLine{"some": &p.Some, "full": &p.Full}[kind]
		if target == nil {
			continue
		}
		averages := map[string]*float64{"avg10": &target.Avg10, "avg60": &target.Avg60, "avg300": &target.Avg300}
		for word := range strings.FieldsSeq(rest) {
			key, text, _ := strings.Cut(word, "=")
			if n, err := strconv.ParseUint(text, 10, 64); err == nil && key == "total" {
				target.Total = microseconds(n)
			}
			if f, err := strconv.ParseFloat(text, 64); err == nil && averages[key] != nil {
				*averages[key] = f
			}
		}
	}
	return &p
}

// A reader reads control files, and keeps the errors but for those of files that
// the kernel does not have.
type reader struct {
	errs []error
}

func (r *reader) keep(file string, err error) {
	// EOPNOTSUPP is a pressure file while PSI is compiled in but switched off.
	if err != nil && !gone(err) && !errors.Is(err, unix.EOPNOTSUPP) {
		r.errs = append(r.errs, step.Fail("read", file, err))
	}
}

func (r *reader) number(dir, name string) uint64 {
	file := filepath.Join(dir, name)
	n, err := readNumber(file)
	r.keep(file, err)
	return n
}

func (r *reader) keys(dir, name string) map[string]uint64 {
	file := filepath.Join(dir, name)
	keys, err := readKeys(file)
	r.keep(file, err)
	return keys
}

func (r *reader) text(dir, name string) string {
	file := filepath.Join(dir, name)
	content, err := readFile(file)
	r.keep(file, err)
	return string(content)
}

func (r *reader) pressure(dir, name string) *Pressure {
	content := r.text(dir, name)
	if content == "" {
		return nil
	}
	return parsePressure(content)
}
