package cgroups

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// A request is what the kernel asks a device program about.
type request struct {
	kind         byte
	major, minor uint32
	access       access
}

// allowedByRules is what the rules mean, said in another way than the program
// does it: each access is decided on its own, by the last rule that matches the
// device and names the access; without one it is denied.
func allowedByRules(t *testing.T, rules []specs.LinuxDeviceCgroup, r request) bool {
	t.Helper()
	for _, bit := range []access{accessRead, accessWrite, accessMknod} {
		if r.access&bit == 0 {
			continue
		}
		allowed := false
		for _, rule := range rules {
			m, set, err := parseRule(rule)
			if err != nil {
				t.Fatal(err)
			}
			if set&bit != 0 && (m.kind == 'a' || m.covers(deviceMatch{r.kind, int64(r.major), int64(r.minor)})) {
				allowed = rule.Allow
			}
		}
		if !allowed {
			return false
		}
	}
	return true
}

// run interprets a device program. It knows the instructions that deviceProgram
// uses and fails on any other.
func run(t *testing.T, program []instruction, r request) bool {
	t.Helper()
	kind := map[byte]uint32{'b': 1, 'c': 2}[r.kind]
	memory := map[int16]uint32{0: uint32(r.access)<<16 | kind, 4: r.major, 8: r.minor}
	var register [11]uint64
	for pc := 0; pc < len(program); pc++ {
		i := program[pc]
		dst, src, imm := &register[i.registers&0xf], register[i.registers>>4], uint32(i.immediate)
		switch i.code {
		case 0x61: // BPF_LDX | BPF_MEM | BPF_W
			*dst = uint64(memory[i.offset])
		case 0xb7: // BPF_ALU64 | BPF_MOV | BPF_K
			*dst = uint64(i.immediate)
		case 0xbc: // BPF_ALU | BPF_MOV | BPF_X
			*dst = uint64(uint32(src))
		case 0x54: // BPF_ALU | BPF_AND | BPF_K
			*dst = uint64(uint32(*dst) & imm)
		case 0x74: // BPF_ALU | BPF_RSH | BPF_K
			*dst = uint64(uint32(*dst) >> imm)
		case 0x56: // BPF_JMP32 | BPF_JNE | BPF_K
			if uint32(*dst) != imm {
				pc += int(i.offset)
			}
		case 0x16: // BPF_JMP32 | BPF_JEQ | BPF_K
			if uint32(*dst) == imm {
				pc += int(i.offset)
			}
		case 0x95: // BPF_JMP | BPF_EXIT
			return register[0] == 1
		default:
			t.Fatalf("instruction %d: unknown code %#x", pc, i.code)
		}
	}
	t.Fatal("the program runs off its end")
	return false
}

// allowedByV1 is the kernel's v1 (security/device_cgroup.c): in a group that
// denies, one exception has to match and to cover the whole access; in one that
// allows, no exception may match and overlap it.
func allowedByV1(p policy, r request) bool {
	for _, e := range p.exceptions {
		if !e.match.covers(deviceMatch{r.kind, int64(r.major), int64(r.minor)}) {
			continue
		}
		if p.allow && e.access&r.access != 0 {
			return false
		}
		if !p.allow && r.access&^e.access == 0 {
			return true
		}
	}
	return p.allow
}

// randomRules and randomRequest draw from few numbers, so that they meet.
func randomRules(rng *rand.Rand) []specs.LinuxDeviceCgroup {
	var rules []specs.LinuxDeviceCgroup
	for range rng.IntN(8) {
		rule := specs.LinuxDeviceCgroup{Allow: rng.IntN(2) == 0, Type: string("bccca"[rng.IntN(5)]), Access: access(rng.IntN(7) + 1).String()}
		if rule.Type == "a" {
			rule.Access = "rwm"
		} else {
			rule.Major, rule.Minor = randomNumber(rng), randomNumber(rng)
		}
		rules = append(rules, rule)
	}
	return rules
}

func randomNumber(rng *rand.Rand) *int64 {
	if n := []int64{-1, 0, 1, 1<<32 - 1}[rng.IntN(4)]; n >= 0 {
		return &n
	}
	return nil
}

func randomRequest(rng *rand.Rand) request {
	number := func() uint32 { return []uint32{0, 1, 2, 1<<32 - 1}[rng.IntN(4)] }
	return request{"bc"[rng.IntN(2)], number(), number(), access(rng.IntN(7) + 1)}
}

func TestDeviceProgram(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	answers := map[bool]int{}
	for range 5000 {
		rules := randomRules(rng)
		program, err := deviceProgram(rules)
		if err != nil {
			t.Fatal(err)
		}
		checkReachable(t, program)
		for range 20 {
			r := randomRequest(rng)
			want := allowedByRules(t, rules, r)
			if got := run(t, program, r); got != want {
				t.Fatalf("%s: program says %v, rules say %v\n%s", r, got, want, AttachDeviceProgram{Rules: rules})
			}
			answers[want]++
		}
	}
	if answers[true] < 1000 || answers[false] < 1000 {
		t.Errorf("one-sided: %v", answers)
	}
}

// checkReachable fails on a program that the kernel's verifier would refuse: one
// with an instruction that no path leads to.
func checkReachable(t *testing.T, program []instruction) {
	t.Helper()
	reached := make([]bool, len(program))
	reached[0] = true
	for pc, i := range program {
		if !reached[pc] {
			t.Fatalf("instruction %d of %d is never reached", pc, len(program))
		}
		if i.code == exit {
			continue
		}
		reached[pc+1] = true
		if i.code == jumpIfIs || i.code == jumpIfNot {
			reached[pc+1+int(i.offset)] = true
		}
	}
}

func (r request) String() string {
	return fmt.Sprintf("%c %d:%d %s", r.kind, r.major, r.minor, r.access)
}

// Where v1 takes the rules it answers as they mean, but that an access of two
// kinds has to be allowed by one exception alone: then it denies more.
func TestPolicyV1(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	refused, compared := 0, 0
	for range 5000 {
		rules := randomRules(rng)
		p, err := policyV1(rules)
		if err != nil {
			refused++
			continue
		}
		for range 20 {
			r := randomRequest(rng)
			want, got := allowedByRules(t, rules, r), allowedByV1(p, r)
			single := r.access&(r.access-1) == 0
			if got && !want || single && got != want {
				t.Fatalf("%s: v1 says %v, rules say %v\n%s", r, got, want, AttachDeviceProgram{Rules: rules})
			}
			compared++
		}
	}
	if refused < 100 || compared < 10000 {
		t.Errorf("refused %d, compared %d", refused, compared)
	}
}

func TestPolicyV1RefusesHoles(t *testing.T) {
	deny := func(text string) specs.LinuxDeviceCgroup {
		rule := allow("c", 1, 3, "w")
		rule.Allow = false
		if text == "crossing" {
			rule.Minor = nil
		}
		return rule
	}
	_, err := policyV1([]specs.LinuxDeviceCgroup{allow("c", 1, anyNumber, "rw"), deny("")})
	want := "linux.resources.devices[1]: cgroup v1 cannot take c 1:3 w out of the wider c 1:* rw"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	_, err = policyV1([]specs.LinuxDeviceCgroup{allow("c", anyNumber, 3, "rw"), deny("crossing")})
	want = "linux.resources.devices[1]: cgroup v1 cannot take c 1:* w out of c *:3 rw, which it crosses"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// What runc and crun say of the default rules.
func TestDefaultDevices(t *testing.T) {
	rules := DefaultDevices()
	for _, test := range []struct {
		r    request
		want bool
	}{
		{request{'c', 1, 3, accessRead | accessWrite}, true},
		{request{'c', 1, 1, accessRead}, false}, // mem
		{request{'c', 1, 1, accessMknod}, true},
		{request{'b', 8, 0, accessMknod}, true},
		{request{'b', 8, 0, accessRead}, false},
		{request{'b', 1, 3, accessRead}, false},
		{request{'c', 136, 77, accessRead | accessWrite}, true},
		{request{'c', 5, 2, accessRead | accessWrite}, true},
		{request{'c', 10, 200, accessRead | accessWrite}, false}, // net/tun
		{request{'c', 10, 229, accessRead}, false},               // fuse
	} {
		program, err := deviceProgram(rules)
		if err != nil {
			t.Fatal(err)
		}
		p, err := policyV1(rules)
		if err != nil {
			t.Fatal(err)
		}
		if run(t, program, test.r) != test.want || allowedByV1(p, test.r) != test.want {
			t.Errorf("%s: program %v, v1 %v, want %v", test.r, run(t, program, test.r), allowedByV1(p, test.r), test.want)
		}
	}
}

func TestAllDevicesNeedNothing(t *testing.T) {
	for _, rules := range [][]specs.LinuxDeviceCgroup{AllDevices(), append(DefaultDevices(), AllDevices()...)} {
		if p, err := policyV1(rules); err != nil || !p.allowsAll() {
			t.Errorf("%v: %+v, %v", rules, p, err)
		}
	}
	if p, err := policyV1(DefaultDevices()); err != nil || p.allowsAll() {
		t.Errorf("the default rules: %+v, %v", p, err)
	}
}

// The program as text, for a reader to follow.
func TestDeviceProgramGolden(t *testing.T) {
	deny := allow("c", 10, anyNumber, "w")
	deny.Allow = false
	program, err := deviceProgram(append(DefaultDevices()[:3:3], deny, allow("c", 1, 3, "rw")))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for pc, i := range program {
		fmt.Fprintf(&b, "%2d  %s\n", pc, i.text(pc))
	}
	golden(t, "devices.golden", b.String())
}

func (i instruction) text(pc int) string {
	dst, src := i.registers&0xf, i.registers>>4
	target := pc + 1 + int(i.offset)
	switch i.code {
	case loadWord:
		return fmt.Sprintf("r%d = *(u32 *)(r%d + %d)", dst, src, i.offset)
	case moveImm:
		return fmt.Sprintf("r%d = %d", dst, i.immediate)
	case move32:
		return fmt.Sprintf("w%d = w%d", dst, src)
	case and32Imm:
		return fmt.Sprintf("w%d &= %#x", dst, i.immediate)
	case shiftRight:
		return fmt.Sprintf("w%d >>= %d", dst, i.immediate)
	case jumpIfNot:
		return fmt.Sprintf("if w%d != %d goto %d", dst, i.immediate, target)
	case jumpIfIs:
		return fmt.Sprintf("if w%d == %d goto %d", dst, i.immediate, target)
	case exit:
		return "exit"
	}
	return fmt.Sprintf("?%#x", i.code)
}

func TestLinesV1(t *testing.T) {
	rule := allow("c", 10, 200, "rwm")
	rule.Allow = false
	p, err := policyV1(append(AllDevices(), rule))
	if err != nil {
		t.Fatal(err)
	}
	got := p.lines()
	want := []DeviceLine{{"devices.allow", "a"}, {"devices.deny", "c 10:200 rwm"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
