package program_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The linker checks how much stack the interpreter uses, but not what it calls.
// An ordinary call would run Go code in a child that has no Go runtime.
func TestInterpreterCallsOnlyRawSystemCalls(t *testing.T) {
	raw := regexp.MustCompile(`^(syscall\.RawSyscall6?|syscall\.rawSyscallNoError|internal/runtime/syscall(/linux)?\.Syscall6|runtime/internal/syscall\.Syscall6|.*program\.interpret)(\.abi0|\.abiinternal)?\(SB\)$`)
	for arch, call := range map[string]string{"amd64": "CALL", "arm64": "CALL"} {
		binary := filepath.Join(t.TempDir(), "program.test")
		build := exec.Command("go", "test", "-c", "-o", binary, ".")
		build.Env = append(build.Environ(), "GOARCH="+arch, "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		out, err := exec.Command("go", "tool", "objdump", "-s", `program\.(interpret|cloneAndInterpret)$`, binary).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		calls := 0
		for line := range strings.Lines(string(out)) {
			_, target, found := strings.Cut(line, call+" ")
			if !found {
				continue
			}
			calls++
			if target = strings.TrimSpace(target); !raw.MatchString(target) {
				t.Errorf("%s: the interpreter calls %s", arch, target)
			}
		}
		if calls < 4 {
			t.Errorf("%s: %d calls found in the disassembly:\n%s", arch, calls, out)
		}
	}
}
