package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// domainController is a controller of the v2 hierarchy that groups of threads
// cannot have.
func domainController(t *testing.T, h *Host) (*Hierarchy, string) {
	t.Helper()
	v2, ok := h.unified()
	if !ok {
		t.Skip("no v2 hierarchy")
	}
	for _, c := range []string{"memory", "io", "hugetlb"} {
		if slices.Contains(v2.Controllers, c) {
			return v2, c
		}
	}
	t.Skip("the v2 hierarchy has no controller")
	return nil, ""
}

func TestDelegationErrors(t *testing.T) {
	h := requireHost(t)
	v2, c := domainController(t, h)
	g := newGroup(t, h, "delegation", nil)
	d, _ := g.unified()
	enable := func(path string, controllers ...string) error {
		s := MakeGroup{v2.Mountpoint, g.Path + path}
		if err := s.Apply(); err != nil {
			t.Fatal(err)
		}
		defer s.Undo()
		return EnableControllers{v2.Mountpoint, g.Path + path, controllers, controllers}.Apply()
	}
	file := filepath.Join(d.path, "cgroup.subtree_control")

	err := enable("/a", "nonsense")
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("enable nonsense: %v", err)
	}

	cmd, out := start(t, g, "echo started; read x")
	readLine(t, out)
	err = enable("/b", c)
	want := fmt.Sprintf("enable controller %s for %s/b: write +%s to %s: device or resource busy (the group has processes of its own, "+
		"so it cannot share out this controller: move them to a group below it)", c, d.path, c, file)
	var refused *DelegationError
	if !errors.As(err, &refused) || !errors.Is(err, unix.EBUSY) || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
	cmd.Process.Kill()
	cmd.Wait()

	threads := filepath.Join(d.path, "threads")
	if err := os.Mkdir(threads, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(filepath.Join(threads, "cgroup.type"), "threaded"); err != nil {
		t.Fatal(err)
	}
	err = enable("/c", c)
	if !errors.As(err, &refused) || !errors.Is(err, unix.EOPNOTSUPP) || refused.Type != "domain threaded" {
		t.Errorf("error %v", err)
	}
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
}
