package cgroups

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1024": 1024, "1024b": 1024, "1k": 1024, "1K": 1024, "1kb": 1024, "64KiB": 64 << 10,
		"512m": 512 << 20, "1.5g": 3 << 29, ".5g": 1 << 29, "1 m": 1 << 20, "2t": 2 << 40, "1p": 1 << 50, "0.1k": 102,
	} {
		got, err := ParseMemory(text)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "m", "-1", "-1m", "1x", "1mm", "1bb", "1bib", "1.2.3m", "1e3", "1/2", "0x10", "9000p", "99999999999999999999g", "1m ", "１m"} {
		if got, err := ParseMemory(text); err == nil {
			t.Errorf("%q is accepted as %d", text, got)
		}
	}
}

func FuzzParseMemory(f *testing.F) {
	for _, seed := range []string{"512m", "1.5g", "0.1k", "-1", "9000p", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseMemory(text)
		if n < 0 || err != nil && n != 0 {
			t.Errorf("%q: %d, %v", text, n, err)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: the error has two lines", text)
		}
	})
}

func TestParseList(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "0-3": "0-3", "0-3,1": "0-3", "3,1,2": "1-3", "0,2,4-5\n": "0,2,4-5", "7-7": "7",
	} {
		got, err := ParseList(text)
		if err != nil || got.String() != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", ",", "1,", "3-1", "-1", "1-", "a", "0-2:1", "8192", "0-99999999999999999999", "1 2"} {
		if got, err := ParseList(text); err == nil {
			t.Errorf("%q is accepted as %s", text, got)
		}
	}
}

func FuzzParseList(f *testing.F) {
	for _, seed := range []string{"0-3,1", "0", "8191", "3-1", "0-8191,0-8191"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseList(text)
		if err != nil {
			if list != nil {
				t.Errorf("%q: both %s and %v", text, list, err)
			}
			return
		}
		again, err := ParseList(list.String())
		if err != nil || !cmp.Equal(list, again) {
			t.Errorf("%q: %s reads back as %s, %v", text, list, again, err)
		}
	})
}

func TestResources(t *testing.T) {
	online := List{0, 1}
	for _, test := range []struct {
		name string
		o    Options
		want specs.LinuxResources
	}{
		{"nothing", Options{}, specs.LinuxResources{}},
		{"memory", Options{Memory: "512m"}, specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: of[int64](512 << 20), Swap: of[int64](1 << 30)}}},
		{"least memory", Options{Memory: "512k"}, specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: of[int64](512 << 10), Swap: of[int64](1 << 20)}}},
		{"swap", Options{Memory: "512m", MemorySwap: "600m"}, specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: of[int64](512 << 20), Swap: of[int64](600 << 20)}}},
		{"unlimited swap", Options{Memory: "1g", MemorySwap: "-1"}, specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: of[int64](1 << 30), Swap: of[int64](-1)}}},
		{"swap 0 is not given", Options{Memory: "1g", MemorySwap: "0"}, specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: of[int64](1 << 30), Swap: of[int64](2 << 30)}}},
		{"unlimited swap alone", Options{MemorySwap: "-1"}, specs.LinuxResources{}},
		{"reservation", Options{MemoryReservation: "1g"}, specs.LinuxResources{Memory: &specs.LinuxMemory{Reservation: of[int64](1 << 30)}}},
		{"cpus", Options{CPUs: "1.5"}, specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: of[int64](150000), Period: of[uint64](100000)}}},
		{"all cpus", Options{CPUs: "2"}, specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: of[int64](200000), Period: of[uint64](100000)}}},
		{"least cpus", Options{CPUs: "0.01"}, specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: of[int64](1000), Period: of[uint64](100000)}}},
		{"no cpus", Options{CPUs: "0"}, specs.LinuxResources{}},
		{"quota", Options{CPUQuota: 50000, CPUPeriod: 20000}, specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: of[int64](50000), Period: of[uint64](20000)}}},
		{"shares", Options{CPUShares: 512}, specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: of[uint64](512)}}},
		{"cpuset", Options{CpusetCPUs: "1,0", CpusetMems: "0"}, specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0-1", Mems: "0"}}},
		{"pids", Options{PidsLimit: 100}, specs.LinuxResources{Pids: &specs.LinuxPids{Limit: of[int64](100)}}},
		{"unlimited pids", Options{PidsLimit: -5}, specs.LinuxResources{Pids: &specs.LinuxPids{Limit: of[int64](-1)}}},
	} {
		got, err := Resources(test.o, online)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if diff := cmp.Diff(&test.want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
		if err := validate(got); err != nil {
			t.Errorf("%s: not valid: %v", test.name, err)
		}
	}
}

func TestResourcesErrors(t *testing.T) {
	online := List{0, 1}
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{Memory: "lots"}, `--memory: "lots": unknown unit "lots", want b, k, m or g`},
		{Options{Memory: "-1"}, `--memory: "-1": unknown unit "-1", want b, k, m or g`},
		{Options{Memory: "512"}, `--memory: 512 is less than the least limit, 512k`},
		{Options{Memory: "1..g"}, `--memory: "1..g": want a number with a unit of b, k, m or g, as in 512m`},
		{Options{Memory: "9999999t"}, `--memory: "9999999t": too large`},
		{Options{MemorySwap: "1g"}, `--memory-swap: needs --memory too`},
		{Options{Memory: "1g", MemorySwap: "512m"}, `--memory-swap: 512m is memory and swap together and cannot be less than --memory 1g`},
		{Options{Memory: "1g", MemorySwap: "x"}, `--memory-swap: "x": unknown unit "x", want b, k, m or g`},
		{Options{Memory: "1g", MemoryReservation: "2g"}, `--memory-reservation: 2g is more than --memory 1g`},
		{Options{CPUs: "two"}, `--cpus: "two": want a number of cpus, as in 1.5`},
		{Options{CPUs: "-1"}, `--cpus: "-1": want a number of cpus, as in 1.5`},
		{Options{CPUs: "3"}, `--cpus: 3 is more than the 2 that this host has`},
		{Options{CPUs: "0.001"}, `--cpus: 0.001 is less than 0.01`},
		{Options{CPUs: "1.0000000001"}, `--cpus: "1.0000000001": more than nine decimals, or too large`},
		{Options{CPUs: "1", CPUQuota: 1000}, `--cpus: cannot go with --cpu-period or --cpu-quota`},
		{Options{CPUPeriod: 10}, `--cpu-period: 10 is not in the range 1000 to 1000000 (microseconds)`},
		{Options{CPUQuota: 10}, `--cpu-quota: 10 is less than 1000 (microseconds)`},
		{Options{CPUShares: 1}, `--cpu-shares: 1 is not in the range 2 to 262144`},
		{Options{CPUShares: -1}, `--cpu-shares: -1 is not in the range 2 to 262144`},
		{Options{CpusetCPUs: "0-3,8"}, `--cpuset-cpus: this host has no cpu 2-3,8, only 0-1`},
		{Options{CpusetCPUs: "1-0"}, `--cpuset-cpus: "1-0": range 1-0 runs backwards`},
		{Options{CpusetMems: "x"}, `--cpuset-mems: "x": "x" is no number, want a list as in 0-3,8`},
	} {
		r, err := Resources(test.o, online)
		if err == nil || err.Error() != test.want || r != nil {
			t.Errorf("%+v: error %v, want %s", test.o, err, test.want)
		}
	}
}
