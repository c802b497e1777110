package seccomp

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/capability"
)

// childVariable makes the test binary, run again, install the default filter
// for the capabilities in it and try some calls.
const childVariable = "SECCOMP_TEST_CHILD"

func TestMain(m *testing.M) {
	if bits := os.Getenv(childVariable); bits != "" {
		if err := child(bits); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// install puts the filter on the calling thread.
func install(filter []unix.SockFilter, flags uint) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl PR_SET_NO_NEW_PRIVS: %w", err)
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

// child installs the filter and prints each call's name and errno.
func child(bits string) error {
	var caps capability.Set
	if _, err := fmt.Sscan(bits, &caps); err != nil {
		return err
	}
	runtime.LockOSThread()
	filter, flags, err := Default(caps)
	if err != nil {
		return err
	}
	if err := install(filter, flags); err != nil {
		return err
	}
	zero, err := os.Open("/dev/zero")
	if err != nil {
		return err
	}
	defer zero.Close()
	var buffer [4]byte
	for _, try := range []struct {
		name string
		nr   uintptr
		args [3]uintptr
	}{
		{"read", unix.SYS_READ, [3]uintptr{zero.Fd(), uintptr(unsafe.Pointer(&buffer)), 4}},
		{"getpid", unix.SYS_GETPID, [3]uintptr{}},
		{"keyctl", unix.SYS_KEYCTL, [3]uintptr{0, 0, 0}},
		{"9999", 9999, [3]uintptr{}},
		{"clone(NEWUSER)", unix.SYS_CLONE, [3]uintptr{unix.CLONE_NEWUSER, 0, 0}},
		{"unshare(NEWUTS)", unix.SYS_UNSHARE, [3]uintptr{unix.CLONE_NEWUTS, 0, 0}},
		{"clone3", unix.SYS_CLONE3, [3]uintptr{0, 0, 0}},
		{"personality(READ_IMPLIES_EXEC)", unix.SYS_PERSONALITY, [3]uintptr{0x0400000, 0, 0}},
		{"personality(query)", unix.SYS_PERSONALITY, [3]uintptr{0xffffffff, 0, 0}},
		{"socket(AF_ALG)", unix.SYS_SOCKET, [3]uintptr{unix.AF_ALG, unix.SOCK_SEQPACKET, 0}},
		{"socket(AF_UNIX)", unix.SYS_SOCKET, [3]uintptr{unix.AF_UNIX, unix.SOCK_STREAM, 0}},
	} {
		_, _, errno := unix.RawSyscall(try.nr, try.args[0], try.args[1], try.args[2])
		fmt.Printf("%s %d\n", try.name, errno)
	}
	return nil
}

// The kernel takes the filter and judges by it.
func TestKernelAppliesDefaultFilter(t *testing.T) {
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(status), "\nSeccomp_filters:\t0\n") {
		t.Log("this process is under a filter already, which may answer instead")
	}
	with := func(extra capability.Set) map[string]unix.Errno {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", childVariable, capability.Default|extra))
		out, err := cmd.CombinedOutput()
		if err != nil {
			if strings.Contains(string(out), unix.ENOSYS.Error()) || strings.Contains(string(out), unix.EINVAL.Error()) {
				t.Skipf("the kernel does not take seccomp filters: %s", out)
			}
			t.Fatalf("%v: %s", err, out)
		}
		result := map[string]unix.Errno{}
		for line := range strings.Lines(string(out)) {
			name, number, _ := strings.Cut(strings.TrimSpace(line), " ")
			var e unix.Errno
			if _, err := fmt.Sscan(number, &e); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			result[name] = e
		}
		return result
	}
	is := func(got map[string]unix.Errno, name string, want unix.Errno) {
		t.Helper()
		if e, ok := got[name]; !ok || !errors.Is(e, want) {
			t.Errorf("%s: %d (%v), want %d (%v)", name, e, e, want, want)
		}
	}
	got := with(0)
	is(got, "read", 0)
	is(got, "getpid", 0)
	is(got, "keyctl", unix.EPERM)
	is(got, "9999", unix.ENOSYS)
	is(got, "clone(NEWUSER)", unix.EPERM)
	is(got, "unshare(NEWUTS)", unix.EPERM)
	is(got, "clone3", unix.ENOSYS)
	is(got, "personality(READ_IMPLIES_EXEC)", unix.EPERM)
	is(got, "personality(query)", 0)
	is(got, "socket(AF_ALG)", unix.EPERM)
	is(got, "socket(AF_UNIX)", 0)

	// With CAP_SYS_ADMIN the profile allows the calls; what the kernel says
	// then is its own affair (clone3 without arguments is EINVAL).
	got = with(1 << unix.CAP_SYS_ADMIN)
	is(got, "clone3", unix.EINVAL)
	is(got, "keyctl", unix.EPERM)
	is(got, "9999", unix.ENOSYS)
}
