package seccomp

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
	}
}

// smallProfile has one of everything.
func smallProfile() *specs.LinuxSeccomp {
	arg := func(index uint, op specs.LinuxSeccompOperator, value, two uint64) specs.LinuxSeccompArg {
		return specs.LinuxSeccompArg{Index: index, Op: op, Value: value, ValueTwo: two}
	}
	return &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno,
		Architectures: []specs.Arch{specs.ArchX86},
		Syscalls: []specs.LinuxSyscall{
			{Names: []string{"read", "write", "exit", "exit_group", "listns"}, Action: specs.ActAllow},
			{Names: []string{"clone"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{arg(0, specs.OpMaskedEqual, unix.CLONE_NEWUSER, 0)}},
			{Names: []string{"socket"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{
				arg(0, specs.OpLessThan, unix.AF_ALG, 0), arg(1, specs.OpNotEqual, unix.SOCK_RAW, 0),
			}},
			{Names: []string{"lseek"}, Action: specs.ActLog, Args: []specs.LinuxSeccompArg{arg(1, specs.OpGreaterThan, 5<<32|7, 0)}},
			{Names: []string{"ptrace"}, Action: specs.ActKillProcess},
			{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: new(uint(unix.ENOSYS))},
		},
	}
}

func TestDescribe(t *testing.T) {
	filter, _, err := Compile(smallProfile(), specs.ArchX86_64)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "small.txt", Describe(filter))
}

func TestDescribeForeign(t *testing.T) {
	got := Describe([]unix.SockFilter{
		{Code: 0x02, K: 1}, {Code: 0x20, K: 8}, {Code: 0x05, K: 0x7fffffff}, {Code: 0x15, Jt: 255, Jf: 255}, {Code: 0x06, K: 0x12345678},
	})
	want := `   0  .code 0x2, k 0x1, jt 0, jf 0
   1  ld [8]
   2  ja 2147483650
   3  jeq #0, 259, 259
   4  ret 0x12345678
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := Describe(nil); got != "" {
		t.Errorf("nothing is described as %q", got)
	}
}
