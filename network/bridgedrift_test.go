package network

import (
	"strings"
	"testing"

	"github.com/minictr/minictr/runtime/step"
)

// TestBridgeDrift: each thing that somebody can do to a bridge has its line, and
// what can be repaired the shared steps repair.
func TestBridgeDrift(t *testing.T) {
	requireTools(t, "ip")
	for _, c := range []struct {
		command string
		members int
		want    string
	}{
		{"true", 1, ""},
		{"ip addr add 10.9.9.9/24 dev minictr0", 1, ""},
		{"ip link del minictr0", 2, "network six: somebody has deleted its bridge minictr0, with 2 containers on it"},
		{"ip link del minictr0", 0, ""},
		// Switched off, it loses its IPv6 addresses.
		{"ip link set minictr0 down", 1, "network six: somebody has switched its bridge minictr0 off; network six: its bridge minictr0 no longer has the address fd00::1/64"},
		{"ip addr flush dev minictr0", 1, "network six: its bridge minictr0 no longer has the address 172.30.0.1/24; network six: its bridge minictr0 no longer has the address fd00::1/64"},
		{"ip addr flush dev minictr0", 0, ""}, // a launch is at work, or was killed
		{"ip -4 addr flush dev minictr0; ip addr add 10.9.9.9/24 dev minictr0", 0, "network six: its bridge minictr0 has the address 10.9.9.9/24, not 172.30.0.1/24"},
		{"ip addr del fd00::1/64 dev minictr0; ip addr add fd00::1/80 dev minictr0", 1, "network six: its bridge minictr0 has the address fd00::1/80, not fd00::1/64"},
		{"ip link del minictr0; ip link add minictr0 type veth peer name other", 1, "network six: the name of its bridge, minictr0, is taken by a link that is no bridge"},
	} {
		t.Run(c.command, func(t *testing.T) {
			freshHost(t)
			e, _ := endpoint6(t, t.TempDir(), 1, "172.30.0.1/24", "fd00::1/64")
			run(t, host6(e))
			sh(t, c.command)
			list, err := DriftOf(e.Network, c.members)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, d := range list {
				lines = append(lines, d.Error())
				if d.Unwrap() == nil {
					t.Errorf("%v has no errno", d)
				}
			}
			if got := strings.Join(lines, "; "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if strings.Contains(c.want, "taken") || strings.Contains(c.want, "/80") {
				return
			}
			run(t, host6(e))
			if list, err := DriftOf(e.Network, 1); err != nil || len(list) > 0 {
				t.Errorf("after the repair: %v, %v", list, err)
			}
			if err := step.Check(host6(e)); err != nil {
				t.Error(err)
			}
		})
	}
}
