package seccomp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/capability"
)

// A libseccomp is the program built from testdata/libseccomp.c.
type libseccomp string

func buildLibseccomp(t *testing.T) libseccomp {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the comparison with libseccomp is written for amd64")
	}
	program := filepath.Join(t.TempDir(), "libseccomp")
	out, err := exec.Command("gcc", "-O1", "-o", program, "testdata/libseccomp.c", "-lseccomp").CombinedOutput()
	if err != nil {
		t.Skipf("a C compiler and libseccomp (Debian: gcc libseccomp-dev) are needed: %v\n%s", err, out)
	}
	return libseccomp(program)
}

// errContradiction is EEXIST of seccomp_rule_add(3).
var errContradiction = errors.New("libseccomp: a rule contradicts another")

// compile hands the profile over as runc does (libcontainer/seccomp, matchCall),
// without the answers for newer calls, which runc adds afterwards.
func (l libseccomp) compile(t *testing.T, profile *specs.LinuxSeccomp, tree bool) ([]unix.SockFilter, error) {
	t.Helper()
	var in bytes.Buffer
	fallback := actionOf(profile.DefaultAction, profile.DefaultErrnoRet)
	fmt.Fprintf(&in, "default %#x\n", uint32(fallback))
	for _, a := range profile.Architectures {
		fmt.Fprintf(&in, "arch %s\n", strings.ToLower(strings.TrimPrefix(string(a), "SCMP_ARCH_")))
	}
	if tree {
		fmt.Fprintln(&in, "optimize 2")
	}
	for _, entry := range profile.Syscalls {
		v := actionOf(entry.Action, entry.ErrnoRet)
		if v == fallback {
			continue
		}
		seen, split := 0, false
		for _, a := range entry.Args {
			split = split || seen&(1<<a.Index) != 0
			seen |= 1 << a.Index
		}
		for _, name := range entry.Names {
			head := fmt.Sprintf("rule %#x %s", uint32(v), name)
			line := head
			for i, a := range entry.Args {
				if split && i > 0 {
					line += "\n" + head
				}
				line += fmt.Sprintf(" %d %s %#x %#x", a.Index, strings.TrimPrefix(string(a.Op), "SCMP_CMP_"), a.Value, a.ValueTwo)
			}
			fmt.Fprintln(&in, line)
		}
	}
	cmd := exec.Command(string(l))
	cmd.Stdin = &in
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 17 {
			return nil, errContradiction
		}
		t.Fatalf("libseccomp: %v: %s\n%s", err, problem.String(), show(profile))
	}
	var filter []unix.SockFilter
	for b := out.Bytes(); len(b) >= 8; b = b[8:] {
		filter = append(filter, unix.SockFilter{Code: binary.NativeEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.NativeEndian.Uint32(b[4:])})
	}
	return filter, nil
}

// plain compiles without the answers for newer calls.
func plain(t *testing.T, profile *specs.LinuxSeccomp) ([]unix.SockFilter, error) {
	t.Helper()
	p, err := parse(profile, Native())
	if err != nil {
		return nil, err
	}
	p.closed = true
	return p.compile()
}

// older removes what the installed libseccomp may be too old for: names that
// came after Linux 5.16 (libseccomp 2.5.4 knows that one).
func older(profile *specs.LinuxSeccomp) {
	at, _ := callNamed("futex_waitv")
	for i := range profile.Syscalls {
		var names []string
		for _, name := range profile.Syscalls[i].Names {
			call, ok := callNamed(name)
			if ok && numbersAARCH64[call] != none && numbersAARCH64[call] > numbersAARCH64[at] {
				continue
			}
			if name == "uretprobe" || name == "riscv_hwprobe" {
				continue
			}
			names = append(names, name)
		}
		profile.Syscalls[i].Names = names
	}
}

// Docker's profile gives the same verdicts by libseccomp's filter and by ours.
func TestDefaultAgreesWithLibseccomp(t *testing.T) {
	library := buildLibseccomp(t)
	args := [][6]uint64{{}, {8}, {37}, {38}, {39}, {40}, {41}, {0x20008}, {0xffffffff}, {0x7e020000}, {0x10000000}, {0x11}, {1 << 32}, {1<<32 | 38}, {^uint64(0)}}
	for _, caps := range []capability.Set{capability.Default, 0, capability.Named} {
		profile := dockers(t, caps)
		older(profile)
		theirs, err := library.compile(t, profile, true)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := plain(t, profile)
		if err != nil {
			t.Fatal(err)
		}
		calls, ourSteps, theirSteps, bad := 0, 0, 0, 0
		eachCall(args, func(c call) {
			x, n := simulate(ours, c)
			y, m := simulate(theirs, c)
			calls, ourSteps, theirSteps = calls+1, ourSteps+n, theirSteps+m
			if x != y && bad < 10 {
				bad++
				t.Errorf("arch %#x nr %#x args %#x: ours says %v, libseccomp's %v", c.arch, c.nr, c.args, x, y)
			}
		})
		t.Logf("%d calls: ours has %d instructions, of which %.1f are run on average; libseccomp's has %d, and %.1f",
			calls, len(ours), float64(ourSteps)/float64(calls), len(theirs), float64(theirSteps)/float64(calls))
	}
}

// plainProfile returns a random profile of the kinds of which libseccomp 2.5
// makes a right filter: for each call one rule with any conditions, or several
// that all compare one argument by one kind of operator, for an order with values
// of 32 bits. Mixtures, such as "arg 2 != a" beside "arg 2 == b", and bounds that
// differ in the upper half it does not get right: a rule that matches is lost. Nor
// are several architectures: a section may lack the load of the number.
// Those are left to the comparison with the reference.
func plainProfile(s source) *specs.LinuxSeccomp {
	profile := randomProfile(s, Native(), 0)
	profile.Architectures = nil
	for _, name := range strings.Fields("read clone ioctl personality socket semop execve arch_prctl set_tls") {
		kind := pick(s, [][]specs.LinuxSeccompOperator{
			nil, {specs.OpEqualTo}, {specs.OpLessThan}, {specs.OpGreaterEqual},
		})
		if kind == nil {
			kinds := randomProfile(s, Native(), 1).Syscalls
			if len(kinds) == 1 && !repeats(kinds[0].Args) {
				kinds[0].Names = []string{name}
				profile.Syscalls = append(profile.Syscalls, kinds[0])
			}
			continue
		}
		index := uint(s.IntN(6))
		for _, value := range someValues {
			if s.IntN(3) > 0 || kind[0] != specs.OpEqualTo && value>>32 != 0 {
				continue
			}
			entry := specs.LinuxSyscall{Names: []string{name}, Args: []specs.LinuxSeccompArg{{Index: index, Op: kind[0], Value: value}}}
			entry.Action, entry.ErrnoRet = randomAction(s)
			profile.Syscalls = append(profile.Syscalls, entry)
		}
	}
	return profile
}

func repeats(args []specs.LinuxSeccompArg) bool {
	seen := map[uint]bool{}
	for _, a := range args {
		if seen[a.Index] {
			return true
		}
		seen[a.Index] = true
	}
	return false
}

// Random profiles too, if libseccomp takes them.
func TestRandomProfilesAgreeWithLibseccomp(t *testing.T) {
	library := buildLibseccomp(t)
	rounds := 150
	if testing.Short() {
		rounds = 30
	}
	refused := 0
	for seed := range rounds {
		s := rand.New(rand.NewPCG(uint64(seed), 7))
		profile := plainProfile(s)
		theirs, err := library.compile(t, profile, false)
		ours, problem := plain(t, profile)
		if err != nil { // more often than ours: for overlapping bounds, too
			refused++
			continue
		}
		if problem != nil {
			t.Fatalf("seed %d: ours refuses what libseccomp takes: %v\n%s", seed, problem, show(profile))
		}
		eachCall(randomArgs(s, 3), func(c call) {
			x, _ := simulate(ours, c)
			y, _ := simulate(theirs, c)
			if x != y {
				t.Fatalf("seed %d: arch %#x nr %#x args %#x: ours says %v, libseccomp's %v\n%s", seed, c.arch, c.nr, c.args, x, y, show(profile))
			}
		})
	}
	t.Logf("%d profiles compared, %d refused by libseccomp", rounds-refused, refused)
	if refused > rounds*3/4 {
		t.Error("too few profiles were compared")
	}
}
