package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minictr/minictr/test/kernel"
)

// aBridge is what minictr bridge --json says, as far as others say it, too.
type aBridge struct {
	Name  string `json:"ifname"`
	ID    string `json:"bridge_id"`
	STP   bool   `json:"stp"`
	Ports []struct {
		Name     string `json:"ifname"`
		State    string `json:"state"`
		Priority int    `json:"priority"`
		Cost     int    `json:"cost"`
		Hairpin  bool   `json:"hairpin"`
		Learning bool   `json:"learning"`
		Isolated bool   `json:"isolated"`
		VLANs    []struct {
			ID             int
			PVID, Untagged bool
		} `json:"vlans"`
		Peer *struct {
			Name      string   `json:"ifname"`
			Place     string   `json:"place"`
			Addresses []string `json:"addresses"`
		} `json:"peer"`
	} `json:"ports"`
	FDB []struct {
		MAC   string `json:"mac"`
		Port  string `json:"ifname"`
		VLAN  int    `json:"vlan"`
		Local bool   `json:"local"`
	} `json:"fdb"`
}

// TestBridge compares minictr bridge with bridge(8) and brctl(8) on random networks.
func TestBridge(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "bridge", "busybox")
	programs := kernel.Programs(t)
	seed, kinds, ports := kernel.Seed(t), kernel.LinkKinds(t), 0
	for i := range uint64(4) {
		t.Run("", func(t *testing.T) {
			kernel.Snapshot(t)
			kernel.InHost(t)
			t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
			topology := kernel.NewTopology(seed+i, 5, kinds...)
			topology.Make(t)
			script(t, changePorts)
			before := script(t, dumpAll)
			kernel.Eventually(t, 10*time.Second, func() error { // a bridge may learn between two questions
				n, err := compareBridges(t, kinds)
				ports += n
				return err
			})
			if after := script(t, dumpAll); after != before {
				t.Errorf("before (-) and after (+): %s", cmp.Diff(before, after))
			}
		})
	}
	if ports == 0 {
		t.Error("nothing was compared")
	}
}

// changePorts changes what a topology leaves as it is, and lets each bridge learn.
const changePorts = `for p in $(ip -br link | sed -n 's/^\(v[0-9]*c0\)@.*/\1/p'); do
	case $p in *2c0) bridge link set dev $p hairpin on;; *3c0) bridge link set dev $p isolated on;; *4c0) bridge link set dev $p learning off cost 77;; esac
done 2>/dev/null
for n in $(ip netns list | cut -d' ' -f 1); do for b in 0 1 2; do ip netns exec $n busybox ping -c 1 -W 1 10.$b.0.1 & done; done >/dev/null 2>&1
wait`

// dumpAll is what must not change, but for what the kernel itself is still about: the
// carriers, and addresses of IPv6 that it makes.
const dumpAll = `{ ip -o addr; ip route show table all; ip -6 route show table all; bridge fdb; } | sed 's, *linkdown *, ,; s, *$,,' | grep -v ' fe80\| ff00\|^33:33\|master' | sort
ip -o link | cut -d' ' -f 1,2,4-8; ip rule; ip netns list; ip netns list-id; bridge -d link | grep -v state; cat /proc/sys/net/ipv4/ip_forward; cat /proc/sys/net/ipv*/conf/*/forwarding`

// asked runs a command and reads its JSON.
func asked[T any](t *testing.T, words ...string) (v T) {
	t.Helper()
	out, err := exec.Command(words[0], words[1:]...).Output()
	if err == nil && len(out) > 0 {
		err = json.Unmarshal(out, &v)
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(words, " "), err, out)
	}
	return v
}

// compareBridges compares all that both know, and tells how many ports that were.
func compareBridges(t *testing.T, kinds []string) (ports int, err error) {
	t.Helper()
	views := asked[[]aBridge](t, "minictr", "bridge", "--json")
	ours := map[string][]string{}
	for _, b := range views {
		for _, p := range b.Ports {
			ours["ports"] = append(ours["ports"], fmt.Sprintln(p.Name, b.Name, p.State, p.Priority, p.Cost, p.Hairpin, p.Learning, p.Isolated))
			for _, v := range p.VLANs {
				ours["vlans"] = append(ours["vlans"], fmt.Sprintln(p.Name, v.ID, v.PVID, v.Untagged))
			}
			if p.Peer != nil { // topologies name both ends: v3c0 is eth0 of n3
				ours["peers"] = append(ours["peers"], fmt.Sprintln(p.Name, p.Peer.Name, "of", p.Peer.Place))
			}
		}
		for _, m := range b.FDB {
			ours["macs"] = append(ours["macs"], fmt.Sprintln(b.Name, m.MAC, m.Port, m.VLAN, m.Local))
		}
	}
	theirs := theirBridges(t, slices.Contains(kinds, "vlan"))
	for _, line := range ours["peers"] {
		var i, j int
		if _, err := fmt.Sscanf(line, "v%dc%d ", &i, &j); err != nil {
			t.Fatal(err)
		}
		theirs["peers"] = append(theirs["peers"], fmt.Sprintf("v%dc%d eth%d of netns n%d\n", i, j, j, i))
	}
	errs := []error{compareWithBrctl(t, views)}
	for _, what := range []string{"ports", "macs", "vlans", "peers"} {
		slices.Sort(ours[what])
		slices.Sort(theirs[what])
		if !slices.Equal(ours[what], theirs[what]) {
			errs = append(errs, fmt.Errorf("%s: bridge says\n%vminictr says\n%v", what, theirs[what], ours[what]))
		}
	}
	return len(ours["ports"]), errors.Join(errs...)
}

// theirBridges is what bridge(8) says. Of the entries of its FDB those that are of a
// device itself are no bridge's.
func theirBridges(t *testing.T, vlans bool) map[string][]string {
	t.Helper()
	theirs := map[string][]string{}
	for _, p := range asked[[]map[string]any](t, "bridge", "-j", "-d", "link") {
		theirs["ports"] = append(theirs["ports"], fmt.Sprintln(p["ifname"], p["master"], p["state"], p["priority"], p["cost"], p["hairpin"], p["learning"], p["isolated"]))
	}
	for _, m := range asked[[]map[string]any](t, "bridge", "-j", "fdb") {
		if master, ok := m["master"]; ok {
			vlan := m["vlan"]
			if vlan == nil {
				vlan = 0
			}
			theirs["macs"] = append(theirs["macs"], fmt.Sprintln(master, m["mac"], m["ifname"], vlan, m["state"] == "permanent"))
		}
	}
	if !vlans {
		return theirs
	}
	filters := map[string]bool{}
	for _, l := range asked[[]map[string]any](t, "ip", "-j", "-d", "link", "show", "type", "bridge") {
		info, _ := l["linkinfo"].(map[string]any)
		data, _ := info["info_data"].(map[string]any)
		filters[fmt.Sprint(l["ifname"])] = fmt.Sprint(data["vlan_filtering"]) == "1"
	}
	masters := map[string]string{}
	for _, p := range asked[[]map[string]any](t, "bridge", "-j", "link") {
		masters[fmt.Sprint(p["ifname"])] = fmt.Sprint(p["master"])
	}
	for _, p := range asked[[]map[string]any](t, "bridge", "-j", "vlan") {
		list, _ := p["vlans"].([]any)
		for _, v := range list {
			one, _ := v.(map[string]any)
			if flags := fmt.Sprint(one["flags"]); filters[masters[fmt.Sprint(p["ifname"])]] {
				theirs["vlans"] = append(theirs["vlans"], fmt.Sprintln(p["ifname"], one["vlan"], strings.Contains(flags, "PVID"), strings.Contains(flags, "Untagged")))
			}
		}
	}
	return theirs
}

// compareWithBrctl compares the table, where brctl is there: bridge, id, STP, and the
// interfaces below each other, in whatever order.
func compareWithBrctl(t *testing.T, views []aBridge) error {
	t.Helper()
	if _, err := exec.LookPath("brctl"); err != nil {
		t.Log("there is no brctl; its table is not compared")
		return nil
	}
	var ours, theirs []string
	for _, b := range views {
		ours = append(ours, fmt.Sprintln(b.Name, b.ID, map[bool]string{true: "yes", false: "no"}[b.STP]))
		for _, p := range b.Ports {
			ours = append(ours, fmt.Sprintln(b.Name, "has", p.Name))
		}
	}
	bridge := ""
	for _, line := range strings.Split(strings.TrimSpace(script(t, "brctl show")), "\n")[1:] {
		f := strings.Fields(line)
		if len(f) >= 3 {
			bridge = f[0]
			theirs = append(theirs, fmt.Sprintln(f[0], f[1], f[2]))
			f = f[3:]
		}
		for _, port := range f {
			theirs = append(theirs, fmt.Sprintln(bridge, "has", port))
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	if !slices.Equal(ours, theirs) {
		return fmt.Errorf("brctl says\n%vminictr says\n%v", theirs, ours)
	}
	return nil
}
