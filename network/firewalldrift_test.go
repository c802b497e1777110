package network

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// TestFirewallDrift: Check tells by its parts what somebody has done to our table, and
// Renew puts all of it back.
func TestFirewallDrift(t *testing.T) {
	requireTools(t, "nft")
	freshHost(t)
	s := &AddFirewall{Network: "bridge", Bridge: "minictr0", Gateway: netip.MustParsePrefix("172.17.0.1/16"), Lease: Lease{File: leaseFile(t.TempDir(), "bridge")}}
	for _, x := range []struct {
		command, piece, text string
		masquerade, foreign  bool
	}{
		{"flush chain ip minictr postrouting", "postrouting", "ip saddr", true, false},
		{"flush chain ip minictr forward", "forward", "ct state", false, false},
		{"delete element ip minictr subnets { 172.17.0.0/16 }", "subnets", "172.17.0.0/16", true, false},
		{"delete element ip minictr bridges { minictr0 }", "bridges", "minictr0", false, false},
		{"insert rule ip minictr forward iifname minictr0 drop", "forward", "drop", false, true},
		{"add rule ip minictr forward drop", "forward", "drop", false, true},
		{"add element ip minictr internal { minictr0 }", "internal", "minictr0", false, true},
		{"chain ip minictr forward { policy drop; }", "forward", "policy drop", false, true},
		{"add chain ip minictr mine { type filter hook input priority 0; policy drop; }", "mine", "the chain itself", false, true},
	} {
		if err := s.Renew(); err != nil {
			t.Fatal(err)
		}
		if err := s.Check(); err != nil {
			t.Fatalf("before %s: %v", x.command, err)
		}
		sh(t, "nft '"+x.command+"'")
		d, ok := errors.AsType[*FirewallDrift](s.Check())
		if !ok || d.NoTable {
			t.Errorf("%s: %v", x.command, s.Check())
			continue
		}
		list := d.Missing
		if x.foreign {
			list = d.Foreign
		}
		if len(list) == 0 || list[0].Set+list[0].Chain != x.piece || list[0].Masquerade != x.masquerade || !strings.Contains(list[0].Text, x.text) {
			t.Errorf("%s: %+v", x.command, d)
		}
		for _, p := range d.Foreign { // the command that is told takes it away
			sh(t, p.Delete)
		}
	}
	sh(t, "nft delete table ip minictr")
	if d, ok := errors.AsType[*FirewallDrift](s.Check()); !ok || !d.NoTable || d.Family != "ip" {
		t.Errorf("without a table: %v", s.Check())
	}
}
