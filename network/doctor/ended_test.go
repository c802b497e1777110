package doctor

import (
	"os/exec"
	"testing"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/test/kernel"
)

// TestLookAtEnded: a container that has ended since it was listed, while its network is
// still there, is a finding.
func TestLookAtEnded(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "true")
	host := kernel.NewNetns(t)
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	p := Patient{Name: "web", Pid: dead.Process.Pid, Network: well().Network}
	p.Network.Netns = network.Netns{Inode: guestIno}
	host.Do(t, func() {
		for _, words := range [][]string{
			{"link", "add", "minictr0", "type", "bridge"}, {"address", "add", gateway.String(), "dev", "minictr0"}, {"link", "set", "minictr0", "up"},
		} {
			if out, err := exec.Command("ip", words...).CombinedOutput(); err != nil {
				t.Errorf("ip %q: %v: %s", words, err, out)
			}
		}
		r, err := Look(Request{Runroot: t.TempDir(), Patient: p, NoUpstream: true})
		if err != nil {
			t.Error(err)
		} else if r.Cause == nil || r.Cause.Check != "container" && r.Cause.Check != "namespace" {
			t.Errorf("the cause is %+v", r.Cause)
		}
	})
}
