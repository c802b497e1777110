package network

import (
	"fmt"
	"testing"
	"time"

	"github.com/minictr/minictr/runtime/step"
)

// exhaustLinkwatch has the kernel handle a bridge's carrier now, so that it lets
// the next one wait for a second.
func exhaustLinkwatch(t testing.TB) {
	t.Helper()
	sh(t, `ip link add warm type bridge; ip link set warm up
ip link add warm0 type veth peer name warm1; ip link set warm0 master warm up; ip link set warm1 up
until ip -o link show warm | grep -q 'state UP'; do sleep 0.01; done; ip link del warm0; ip link del warm`)
}

// TestSyncCarrier: nothing is lost that the first container of a bridge sends
// directly after the last step. Without the step every second try takes a second.
func TestSyncCarrier(t *testing.T) {
	requireTools(t, "ip")
	for i := range 5 {
		for name, g := range networksOfEachFamily() {
			t.Run(fmt.Sprint(name, i), func(t *testing.T) {
				freshHost(t)
				serve6(t, thisHost())
				e, ns := endpoint6(t, t.TempDir(), 1, g[0], g[1])
				exhaustLinkwatch(t)
				run(t, plan6(e, ns))
				address := "172.30.0.1:80"
				if g[0] == "" {
					address = "[fd00::1]:80"
				}
				begin := time.Now()
				if _, err := dial6(ns, address); err != nil {
					t.Error(err)
				}
				if took := time.Since(begin); took > 500*time.Millisecond {
					t.Errorf("the first packet was lost; it took %v", took)
				}
			})
		}
	}
	s := &SyncCarrier{Host: "nothing", Bridge: DefaultBridge}
	if err := s.Apply(); err == nil || err.Error() != "sync carrier nothing on minictr0: no such device" {
		t.Errorf("a cable that is not there: %v", err)
	}
}

// TestCarrierDrift: a port that does not pass packets on is told.
func TestCarrierDrift(t *testing.T) {
	requireTools(t, "ip")
	freshHost(t)
	e, ns := endpoint6(t, t.TempDir(), 1, "172.30.0.1/24", "")
	run(t, plan6(e, ns))
	sh(t, "ip link set "+e.Interface.Host+" down")
	var s step.Step = &SyncCarrier{Host: e.Interface.Host, Bridge: DefaultBridge}
	if err := s.Check(); err == nil || err.Error() != "check carrier veth00000001 on minictr0: the port is disabled" {
		t.Error(err)
	}
}
