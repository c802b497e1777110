package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// macvlan6 is container n on the network of the uplink.
func macvlan6(n int, ns Netns) []step.Step {
	address := netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/24", 10+n))
	return []step.Step{
		&SetLinkDefaults{Link: "eth0", Netns: ns},
		&AddMacvlan{Parent: "uplink", Name: "eth0", MAC: fmt.Sprintf("02:42:c0:00:02:%02x", n), MTU: 1400, Netns: ns},
		&AddAddress{Link: "eth0", Address: address, Netns: ns},
		&SetLinkUp{Link: "lo", Netns: ns},
		&SetLinkUp{Link: "eth0", Netns: ns},
		&AddRoute{Gateway: netip.MustParseAddr("192.0.2.2"), Link: "eth0", Netns: ns},
	}
}

// TestMacvlan: containers are machines of their own on the parent's network; the
// host is not among those that they reach.
func TestMacvlan(t *testing.T) {
	requireTools(t, "ip", "nsenter")
	freshHost(t)
	outside := internet(t, 1400)
	one, two := freshNetns(t, "one"), freshNetns(t, "two")
	steps := append(macvlan6(1, one), macvlan6(2, two)...)
	want := snapshotIn(t, one)
	run(t, steps)
	if err := step.Check(steps); err != nil {
		t.Fatal(err)
	}
	for _, ns := range []Netns{one, two, outside, thisHost()} {
		serve6(t, ns)
	}
	for _, c := range []struct {
		from      Netns
		to, heard string
	}{
		{one, "192.0.2.2", "192.0.2.11"},
		{outside, "192.0.2.12", "192.0.2.2"},
		{one, "192.0.2.12", "192.0.2.11"},
		{one, "192.0.2.1", ""},
	} {
		got, _ := dial6(c.from, c.to+":80")
		if got = strings.TrimPrefix(got, "::ffff:"); got != c.heard {
			t.Errorf("to %s: heard from %q, want %q", c.to, got, c.heard)
		}
	}
	if err := step.Undo(steps); err != nil {
		t.Error(err)
	}
	if err := step.Undo(steps); err != nil {
		t.Errorf("undo of what is gone: %v", err)
	}
	if diff := settle(func() string { return want }, func() string { return snapshotIn(t, one) }); diff != "" {
		t.Errorf("left:\n%s", diff)
	}
}

// TestMacvlanScript: the printed script makes the same.
func TestMacvlanScript(t *testing.T) {
	requireTools(t, "ip", "nsenter", "sysctl")
	freshHost(t)
	mountNetnsDir(t)
	internet(t, 1400)
	steps := macvlan6(1, Netns{Name: "applied"})
	run(t, append([]step.Step{&AddNetns{"applied"}}, steps...))
	script := step.Script(append([]step.Step{&AddNetns{"printed"}}, macvlan6(1, Netns{Name: "printed"})...))
	// The same hardware address is refused a second time on one parent, so the first goes.
	var applied string
	waitFor(t, "eth0's carrier", func() bool {
		applied = inDump(t, Netns{Name: "applied"})
		return strings.Contains(applied, `"operstate": "UP"`)
	})
	if err := step.Undo(steps); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, script)
	}
	if diff := settle(func() string { return applied }, func() string { return inDump(t, Netns{Name: "printed"}) }); diff != "" {
		t.Errorf("applied (-) and printed (+) differ:\n%s", diff)
	}
}

// TestMacvlanFailures: whatever is wrong with the parent is said in words, and
// nothing is left.
func TestMacvlanFailures(t *testing.T) {
	requireTools(t, "ip")
	for _, c := range []struct {
		name, prepare, parent string
		want                  string
		errno                 unix.Errno
	}{
		{"missing", "true", "nothing", "add macvlan eth0 on nothing: the host has no link nothing", unix.ENODEV},
		{"down", "ip link set uplink down", "uplink", "add macvlan eth0 on uplink: the link uplink is down", unix.ENETDOWN},
		{"port of a bridge", "ip link add br9 type bridge; ip link set uplink master br9", "uplink", "add macvlan eth0 on uplink: its parent's packets go elsewhere already: it is a port of a bridge or a bond, or carries an ipvlan", unix.EBUSY},
		{"smaller", "ip link set uplink mtu 1300", "uplink", "add macvlan eth0 on uplink: an MTU of 1400 is more than the 1300 of uplink", unix.EINVAL},
		{"lo", "ip link set lo up", "lo", "add macvlan eth0 on lo: lo is no network that a container could be on", unix.EINVAL},
	} {
		t.Run(c.name, func(t *testing.T) {
			freshHost(t)
			internet(t, 1400)
			sh(t, c.prepare)
			ns := freshNetns(t, "")
			steps := macvlan6(1, ns)
			steps[1].(*AddMacvlan).Parent = c.parent
			wantCause(t, steps[1].Apply(), c.want, c.errno)
			if err := steps[1].Undo(); err != nil {
				t.Error(err)
			}
			if err := steps[1].Check(); err == nil {
				t.Error("it is there")
			}
		})
	}
	freshHost(t)
	internet(t, 1400)
	one, two := freshNetns(t, ""), freshNetns(t, "")
	run(t, macvlan6(1, one))
	err := step.Run(macvlan6(1, two), nil)
	wantCause(t, err, "set link up eth0 in the container: another macvlan on the same parent has the hardware address", unix.EADDRINUSE)
}

func TestIsWireless(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"eth0", "wlan0/phy80211"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if isWireless(dir, "eth0") || !isWireless(dir, "wlan0") || isWireless(dir, "other") {
		t.Error("eth0 or other is wireless, or wlan0 is not")
	}
}

func TestParseVLAN(t *testing.T) {
	for text, want := range map[string]string{
		"eth0.100": "eth0 100 true", "eth0.1": "eth0 1 true", "bond0.7.4094": "bond0.7 4094 true",
		"eth0": " 0 false", "eth0.": " 0 false", ".5": " 0 false", "eth0.0": " 0 false", "eth0.4095": " 0 false",
		"eth0.05": " 0 false", "eth0.x": " 0 false", "eth0.-1": " 0 false", "": " 0 false",
	} {
		parent, id, ok := ParseVLAN(text)
		if got := fmt.Sprint(parent, " ", id, " ", ok); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestVLAN makes a VLAN, twice, and deletes only its own; a kernel that cannot says so.
func TestVLAN(t *testing.T) {
	requireTools(t, "ip")
	freshHost(t)
	internet(t, 1400)
	before := sh(t, "ip -o link | wc -l")
	lease := leaseIn(t.TempDir(), 1)
	s := &AddVLAN{Name: "uplink.100", Parent: "uplink", ID: 100, Lease: lease}
	err := s.Apply()
	if errors.Is(err, unix.EOPNOTSUPP) {
		wantCause(t, err, "add VLAN uplink.100: this kernel has no VLANs (CONFIG_VLAN_8021Q)", unix.EOPNOTSUPP)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	again := &AddVLAN{Name: "uplink.100", Parent: "uplink", ID: 100, Lease: lease}
	run(t, []step.Step{again})
	if err := again.Undo(); err != nil || s.Check() != nil {
		t.Errorf("the second took away the first's: %v, %v", err, s.Check())
	}
	sh(t, s.String())
	ns := freshNetns(t, "")
	m := macvlan6(1, ns)
	m[1].(*AddMacvlan).Parent = "uplink.100"
	run(t, m)
	if err := step.Check(m); err != nil {
		t.Error(err)
	}
	if err := s.Undo(); err != nil {
		t.Error(err)
	}
	time.Sleep(10 * time.Millisecond)
	if after := sh(t, "ip -o link | wc -l"); after != before {
		t.Errorf("%s links, %s were", after, before)
	}
	sh(t, "ip link add foreign link uplink type vlan id 5")
	if err := once(Netns{}, func(c *conn) error { return c.deleteVLAN("foreign") }); err != nil {
		t.Error(err)
	}
	sh(t, "ip link show foreign")
}

// TestMacvlanSparesHost: no container gets the address that the host has on the parent.
func TestMacvlanSparesHost(t *testing.T) {
	freshHost(t)
	internet(t, 1500)
	dir := t.TempDir()
	_, err := makeNetwork(t, storeIn(dir), Creation{
		Name: "lan", Driver: MacvlanDriver, IPv4: true, Subnets: []string{"192.0.2.0/24"}, Gateways: []string{"192.0.2.2"},
		Options: map[string]string{"parent": "uplink"},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := requestOf(dir, 1)
	for ip, want := range map[string]string{"": "192.0.2.3/24", "192.0.2.1": "ip 192.0.2.1: the address of the host on uplink"} {
		r.Uses, r.DryRun = []Use{{Network: "lan", IP: ip}}, true
		got := ""
		cfg, err := Resolve(r)
		if err == nil {
			got = cfg.Endpoints[0].Interface.Address.String()
		} else {
			got = err.Error()
		}
		if got != want {
			t.Errorf("--ip %q: got %s, want %s", ip, got, want)
		}
	}
}
