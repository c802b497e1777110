package seccomp

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestNamesAreSorted(t *testing.T) {
	names := strings.Fields(callNames)
	if len(names) != callCount || !slices.IsSorted(names) {
		t.Fatalf("%d names, want %d in order", len(names), callCount)
	}
	for i, name := range names {
		if at, ok := callNamed(name); !ok || at != i || callName(i) != name {
			t.Errorf("%s is found at %d (%v), want %d", name, at, ok, i)
		}
	}
	for _, name := range []string{"", "a", "zzz", "read ", "READ", "rea", "syscall_mask", "arch_specific_syscall"} {
		if at, ok := callNamed(name); ok {
			t.Errorf("%q is found at %d", name, at)
		}
	}
}

// Numbers known from the kernel's tables; both ends, and what differs.
func TestNumbers(t *testing.T) {
	for _, tt := range []struct {
		arch, name string
		want       int // -1: none
	}{
		{"SCMP_ARCH_X86_64", "read", unix.SYS_READ},
		{"SCMP_ARCH_X86_64", "execve", 59},
		{"SCMP_ARCH_X86_64", "clone3", 435},
		{"SCMP_ARCH_X86_64", "socketcall", -1},
		{"SCMP_ARCH_X86", "execve", 11},
		{"SCMP_ARCH_X86", "socketcall", 102},
		{"SCMP_ARCH_X32", "read", 0x40000000},
		{"SCMP_ARCH_X32", "execve", 0x40000000 + 520},
		{"SCMP_ARCH_X32", "uselib", -1},
		{"SCMP_ARCH_AARCH64", "execve", 221},
		{"SCMP_ARCH_AARCH64", "open", -1},
		{"SCMP_ARCH_ARM", "set_tls", 0xf0005},
		{"SCMP_ARCH_ARM", "execve", 11},
		{"SCMP_ARCH_RISCV64", "riscv_flush_icache", 259},
		{"SCMP_ARCH_S390X", "s390_runtime_instr", 342},
		{"SCMP_ARCH_PPC64LE", "swapcontext", 249},
	} {
		at, known := callNamed(tt.name)
		if !known {
			t.Errorf("%s is not in the table", tt.name)
			continue
		}
		for i := range arches {
			if string(arches[i].name) != tt.arch {
				continue
			}
			n, ok := arches[i].number(at)
			if ok != (tt.want >= 0) || ok && n != uint32(tt.want) {
				t.Errorf("%s on %s is %d (%v), want %d", tt.name, tt.arch, n, ok, tt.want)
			}
		}
	}
}

// The kernel's headers of this machine say the same, as far as they reach.
func TestNumbersAgreeWithHeaders(t *testing.T) {
	define := regexp.MustCompile(`(?m)^#define __NR_(\w+) (?:\(__X32_SYSCALL_BIT \+ )?(\d+)`)
	for header, name := range map[string]string{"unistd_64.h": "SCMP_ARCH_X86_64", "unistd_32.h": "SCMP_ARCH_X86", "unistd_x32.h": "SCMP_ARCH_X32"} {
		text, err := os.ReadFile("/usr/include/x86_64-linux-gnu/asm/" + header)
		if err != nil {
			t.Skipf("the kernel's headers (Debian: linux-libc-dev) are not installed: %v", err)
		}
		a := slices.IndexFunc(arches[:], func(a arch) bool { return string(a.name) == name })
		found := define.FindAllStringSubmatch(string(text), -1)
		if len(found) < 300 {
			t.Fatalf("%s has %d numbers", header, len(found))
		}
		seen := map[string]bool{}
		for _, m := range found {
			want, err := strconv.Atoi(m[2])
			if err != nil {
				t.Fatal(err)
			}
			seen[m[1]] = true
			at, known := callNamed(m[1])
			n, ok := uint32(0), false
			if known {
				n, ok = arches[a].number(at)
			}
			if !ok || n&^x32Bit != uint32(want) {
				t.Errorf("%s: %s is %d (%v) here, %d there", name, m[1], n, ok, want)
			}
		}
		// The headers may be older; below 424 only these have come since 2019.
		late := []string{"uprobe", "uretprobe"}
		for at := range callCount {
			if n, ok := arches[a].number(at); ok && n&^x32Bit < 430 && !seen[callName(at)] && !slices.Contains(late, callName(at)) {
				t.Errorf("%s: %s is not in %s", name, callName(at), header)
			}
		}
	}
}

// The codes are those of linux/net.h and linux/ipc.h.
func TestMultiplexersAgreeWithHeaders(t *testing.T) {
	for holder, form := range map[string]string{"socketcall": `(?m)^#define SYS_(\w+)\s+(\d+)`, "ipc": `(?m)^#define ((?:SEM|MSG|SHM)\w+)\s+(\d+)`} {
		header := map[string]string{"socketcall": "net.h", "ipc": "ipc.h"}[holder]
		text, err := os.ReadFile("/usr/include/linux/" + header)
		if err != nil {
			t.Skipf("the kernel's headers (Debian: linux-libc-dev) are not installed: %v", err)
		}
		want, got := map[string]string{}, map[string]string{}
		for _, m := range regexp.MustCompile(form).FindAllStringSubmatch(string(text), -1) {
			want[strings.ToLower(m[1])] = m[2]
		}
		for _, m := range multiplexers {
			for _, one := range m.members {
				if m.name == holder {
					got[one.name] = strconv.FormatUint(one.code, 10)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-header +ours):\n%s", header, diff)
		}
	}
}

func TestMultiplexersNameCalls(t *testing.T) {
	for _, m := range multiplexers {
		for _, one := range append(m.members, member{name: m.name}) {
			if _, ok := callNamed(one.name); !ok {
				t.Errorf("%s is not in the table", one.name)
			}
		}
	}
}

func TestNative(t *testing.T) {
	if a := archNamed(Native()); a == nil || a.goarch == "" {
		t.Fatalf("native architecture %q", Native())
	}
	for i := range arches {
		if archNamed(arches[i].name) != &arches[i] {
			t.Errorf("%s is in the table twice", arches[i].name)
		}
	}
}
