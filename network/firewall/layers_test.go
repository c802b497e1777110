package firewall

import (
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/test/kernel"
)

// loadRules makes the kernel have what nft reads.
func loadRules(t *testing.T, script string) {
	t.Helper()
	load := exec.Command("nft", "-f", "-")
	load.Stdin = strings.NewReader("flush ruleset\n" + script)
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// frame is a packet of a container's, as a frame.
func frame() Packet {
	mac, _ := net.ParseMAC("02:42:ac:11:00:02")
	return Packet{
		In: Link{"veth0", 2}, Source: netip.MustParseAddr("172.17.0.2"), Destination: netip.MustParseAddr("203.0.113.1"), Protocol: unix.IPPROTO_TCP,
		SourcePort: 40000, DestinationPort: 80, SourceMAC: mac,
	}
}

// TestLayers: families that see frames are read, and a frame is taken through them.
func TestLayers(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "nft", "ip")
	kernel.InNetns(t)
	if out, err := exec.Command("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, x := range []struct {
		rules string
		walk  func(*Ruleset) Verdict
		want  Kind
	}{
		{"table bridge b {\nchain p {\ntype filter hook prerouting priority 0\nether saddr 02:42:ac:11:00:02 drop\n}\n}", func(r *Ruleset) Verdict { return r.WalkBridge(Prerouting, frame()) }, Drop},
		{"table bridge b {\nchain p {\ntype filter hook prerouting priority 0\nether saddr 02:42:ac:11:00:03 drop\n}\n}", func(r *Ruleset) Verdict { return r.WalkBridge(Prerouting, frame()) }, Accept},
		{"table bridge b {\nchain p {\ntype filter hook prerouting priority 0\nether daddr 02:42:ac:11:00:03 drop\n}\n}", func(r *Ruleset) Verdict { return r.WalkBridge(Prerouting, frame()) }, Unknown},
		{"table bridge b {\nchain p {\ntype filter hook input priority 0\nip saddr 172.17.0.2 drop\n}\n}", func(r *Ruleset) Verdict { return r.WalkBridge(Input, frame()) }, Drop},
		{"table bridge b {\nchain p {\ntype filter hook input priority 0\ndrop\n}\n}", func(r *Ruleset) Verdict { return r.WalkBridge(Prerouting, frame()) }, Accept},
		{"table netdev n {\nchain i {\ntype filter hook ingress device veth0 priority 0\ntcp dport 80 drop\n}\n}", func(r *Ruleset) Verdict { return r.WalkDevice("veth0", false, frame()) }, Drop},
		{"table netdev n {\nchain i {\ntype filter hook ingress device veth1 priority 0\ndrop\n}\n}", func(r *Ruleset) Verdict { return r.WalkDevice("veth0", false, frame()) }, Accept},
		{"table inet n {\nchain i {\ntype filter hook ingress device veth0 priority 0; policy drop;\n}\n}", func(r *Ruleset) Verdict { return r.WalkDevice("veth0", false, frame()) }, Drop},
		{"table arp a {\nchain i {\ntype filter hook input priority 0; policy drop;\n}\n}", func(r *Ruleset) Verdict { p := frame(); p.ARP, p.Protocol = true, 0; return r.WalkARP(false, p) }, Drop},
		{"table arp a {\nchain i {\ntype filter hook input priority 0; policy drop;\n}\n}", func(r *Ruleset) Verdict { p := frame(); p.ARP, p.Protocol = true, 0; return r.WalkARP(true, p) }, Accept},
		{"table ip minictr {\nchain i {\ntype filter hook input priority 0; policy drop;\n}\n}", func(r *Ruleset) Verdict { return r.WalkBridge(Input, frame()) }, Accept},
	} {
		loadRules(t, x.rules)
		r, err := ReadLayers()
		if err != nil {
			t.Fatal(err)
		}
		v := x.walk(r)
		if v.Kind != x.want {
			t.Errorf("%s\n%v: %v", x.rules, v.Kind, v)
		}
		if v.Kind == Drop && v.Owner() == "" {
			t.Errorf("%v has no owner", v)
		}
	}
}

// TestTranslator: the first rule of nat that applies is found, in the order of priorities.
func TestTranslator(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "nft")
	kernel.InNetns(t)
	for _, x := range []struct {
		rules, table string
		priority     int32
	}{
		{"table ip late {\nchain p {\ntype nat hook prerouting priority -90\ntcp dport 80 redirect to :1\n}\n}\ntable ip early {\nchain p {\ntype nat hook prerouting priority -150\ntcp dport 80 dnat to 192.0.2.1\n}\n}", "early", -150},
		{"table ip other {\nchain p {\ntype nat hook prerouting priority -150\ntcp dport 81 dnat to 192.0.2.1\n}\n}", "", 0},
		{"table ip jumps {\nchain x {\ndnat to 192.0.2.1\n}\nchain p {\ntype nat hook prerouting priority -100\niifname veth0 jump x\n}\n}", "jumps", -100},
		{"table ip filters {\nchain p {\ntype filter hook prerouting priority -150\ndrop\n}\n}", "", 0},
	} {
		loadRules(t, x.rules)
		r, err := Read()
		if err != nil {
			t.Fatal(err)
		}
		v, found := r.Translator(Prerouting, frame())
		if found != (x.table != "") || v.Table != x.table || v.Priority() != x.priority {
			t.Errorf("%s\n%v %+v", x.rules, found, v)
		}
	}
}
