package kernel_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/minictr/minictr/test/kernel"
)

func TestTopologyIsRepeatable(t *testing.T) {
	one, same, other := kernel.NewTopology(7, 9, "vlan", "dummy"), kernel.NewTopology(7, 9, "vlan", "dummy"), kernel.NewTopology(8, 9, "vlan", "dummy")
	if one.String() != same.String() {
		t.Error("the same seed makes another topology")
	}
	if one.String() == other.String() {
		t.Error("another seed makes the same topology")
	}
}

// ip takes what was invented, whatever it is.
func TestTopology(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip")
	kernel.Snapshot(t)
	seed, kinds := kernel.Seed(t), kernel.LinkKinds(t)
	machine, err := os.ReadDir("/run/netns")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for i := range uint64(8) {
		t.Run("", func(t *testing.T) {
			kernel.InHost(t)
			topology := kernel.NewTopology(seed+i, 6, kinds...)
			topology.Make(t)
			out, err := exec.Command("ip", "netns", "list").CombinedOutput()
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for line := range strings.Lines(string(out)) {
				names = append(names, strings.Fields(line)[0])
			}
			slices.Sort(names)
			if !slices.Equal(names, topology.Namespaces) {
				t.Errorf("ip netns list: %s", out)
			}
		})
	}
	if after, _ := filepath.Glob("/run/netns/*"); len(after) != len(machine) {
		t.Errorf("the machine's own names: %v, before: %v", after, machine)
	}
}

// Links that could go in circles, a cable of which both ends are on bridges, are
// never made.
func TestTopologyHasNoLoops(t *testing.T) {
	for seed := range uint64(200) {
		topology := kernel.NewTopology(seed, 12, "vlan", "macvlan", "ipvlan", "dummy")
		for name, lines := range topology.Inside {
			for _, line := range lines {
				if strings.Contains(line, " master ") {
					t.Errorf("in %s: %s", name, line)
				}
			}
		}
	}
}
