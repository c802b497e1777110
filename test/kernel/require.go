package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// RequireRoot skips the test unless it runs as root with CAP_SYS_ADMIN, which
// every namespace other than a user namespace needs (namespaces(7)). A root
// inside a container of somebody else has the uid and not the capability.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	effective, err := effectiveCapabilities()
	if err != nil {
		t.Fatal(err)
	}
	if effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		t.Skip("needs CAP_SYS_ADMIN, which this root does not have")
	}
}

// RequireCommand skips the test unless all the commands are in PATH. The reason
// names those that are missing; test/setup.sh installs them.
func RequireCommand(t testing.TB, names ...string) {
	t.Helper()
	var missing []string
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		t.Skipf("needs %s in PATH", strings.Join(missing, ", "))
	}
}

// Eventually polls until ok returns nil, and fails the test with ok's last
// error when that has not happened within the limit. Use it for what the kernel
// does in the background: a dying namespace, a link coming up.
func Eventually(t testing.TB, limit time.Duration, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still not so after %v: %v", limit, err)
		}
		time.Sleep(pollInterval)
	}
}

const pollInterval = 10 * time.Millisecond

// effectiveCapabilities reads CapEff of proc_pid_status(5), a set of 64 bits.
func effectiveCapabilities() (uint64, error) {
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		}
	}
	return 0, fmt.Errorf("read /proc/thread-self/status: no line CapEff")
}
