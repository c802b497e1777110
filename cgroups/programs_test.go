package cgroups

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/minictr/minictr/test/kernel"
)

// TestNetworkPrograms: a group that nobody has attached a program to has none, a group
// of cgroup v1 has none, and what is not there is an error.
func TestNetworkPrograms(t *testing.T) {
	kernel.RequireRoot(t)
	asked := false
	for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/pids"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
			continue
		}
		dir := filepath.Join(root, "minictr-test-programs")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		list, err := NetworkPrograms(dir)
		if err != nil || len(list) > 0 {
			t.Errorf("%s: %v, %v", dir, list, err)
		}
		asked = true
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	if !asked {
		t.Error("there is no cgroup file system")
	}
	if _, err := NetworkPrograms("/sys/fs/cgroup/nobody"); err == nil {
		t.Error("a group that is not there has been asked")
	}
}
