package kernel

import (
	"fmt"
	"os"
	"testing"
)

// A cgroup that another test has made for itself is that test's while it runs,
// also without a process in it.
func TestCgroupOfAnotherTest(t *testing.T) {
	for pid, foreign := range map[int]bool{os.Getppid(): true, os.Getpid(): false, 1 << 30: false} {
		if got := ofOthers(fmt.Sprintf("/nowhere/%s%d/below", testCgroup, pid)); got != foreign {
			t.Errorf("of process %d: %v", pid, got)
		}
	}
}
