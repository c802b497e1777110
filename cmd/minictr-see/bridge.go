package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/namespaces"
	"github.com/minictr/minictr/network/survey"
	"github.com/minictr/minictr/runtime"
)

// bridgeTables are what bridge can print of each bridge; show is what it does unasked.
var bridgeTables = map[string]func(*app, []bridgeView){
	"show": (*app).printBridges, "link": (*app).printPorts, "fdb": (*app).printMACs, "vlan": (*app).printVLANs,
}

func bridgeCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "bridge [--json] [NAME] [show|link|fdb|vlan]", Args: cobra.MaximumNArgs(2),
		Short: "show bridges: what is plugged in, and who is at the other end",
		Long: `Bridge prints the bridges of this network namespace, or one of them: what brctl show prints, and what each
port leads to: the container or namespace at the other end of the cable, and the interface there. A port that
somebody else has plugged into a bridge of minictr's is called foreign.

  show  the table of brctl show, with the other ends; this is what is printed unasked
  link  the ports as bridge link knows them: state, cost, flags
  fdb   which MAC is behind which port, since when, and whose it is: bridge fdb, brctl showmacs
  vlan  the VLANs of the ports, where a bridge filters by them: bridge vlan

Bridges in another namespace: minictr netns exec NAME minictr bridge.`,
		Example: "  minictr bridge\n  minictr bridge minictr0 fdb\n  minictr bridge link\n  minictr bridge --json | jq '.[].ports[].peer'",
		RunE:    func(_ *cobra.Command, args []string) error { return a.bridge(args, asJSON) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"show", "link", "fdb", "vlan"}, cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().BoolVarP(&asJSON, "json", "j", false, "print all of it as JSON")
	return c
}

// bridgeArguments tells a bridge's name from what is to be printed of it, in any order.
func bridgeArguments(args []string) (name, table string, err error) {
	for _, word := range args {
		switch {
		case bridgeTables[word] != nil && table == "":
			table = word
		case name == "":
			name = word
		default:
			return "", "", usageError{fmt.Errorf("%q: after the bridge there are show, link, fdb and vlan", word)}
		}
	}
	if table == "" {
		table = "show"
	}
	return name, table, nil
}

func (a *app) bridge(args []string, asJSON bool) error {
	name, table, err := bridgeArguments(args)
	if err != nil {
		return err
	}
	reader, err := a.readBridges()
	if err != nil {
		return err
	}
	views := reader.views(name)
	if name != "" && len(views) == 0 {
		return noBridge(reader.here(), name)
	}
	if asJSON {
		return terminal.JSON(a.out, views)
	}
	bridgeTables[table](a, views)
	return nil
}

// noBridge says why there is no bridge of the name.
func noBridge(n *survey.Netns, name string) error {
	l := n.LinkNamed(name)
	if l == nil {
		return hinted{fmt.Errorf("there is no bridge %s here", name), "minictr bridge lists them; those of another namespace: minictr netns exec NAME minictr bridge"}
	}
	if bridge := n.Link(l.Master); bridge != nil && bridge.Bridge != nil {
		return hinted{fmt.Errorf("%s is not a bridge", name), "it is a port of one: minictr bridge " + bridge.Name}
	}
	return hinted{fmt.Errorf("%s is not a bridge", name), "minictr bridge lists them"}
}

// readBridges surveys all network namespaces, for the other ends of the cables.
func (a *app) readBridges() (*bridgeReader, error) {
	list, err := namespaces.Read(namespaces.Network)
	if err != nil {
		return nil, err
	}
	r := &bridgeReader{places: map[uint64]string{}, networks: map[string]string{}, ours: map[string]bool{}}
	containers, err := a.containerNetns(r.ours)
	if err != nil {
		a.warn(err)
	}
	names, err := a.containerNames()
	if err != nil {
		a.warn(err)
	}
	var sources []survey.Source
	for _, n := range list {
		r.places[n.Inode] = place(n, containers, names)
		if path := pathOf(n); path != "" {
			sources = append(sources, survey.Source{Path: path, Inode: n.Inode})
		}
	}
	networks, err := a.runtime().Networks().All()
	if err != nil {
		a.warn(err)
	}
	for _, n := range networks {
		if n.Driver != network.MacvlanDriver {
			r.networks[n.Bridge] = n.Name
		}
	}
	if r.host, err = survey.Read(sources); err != nil {
		return nil, err
	}
	r.taps = taps(r.here())
	return r, nil
}

// containerNetns are the names of running containers by their network namespaces. Into
// ours go the host's ends of all cables that minictr has laid.
func (a *app) containerNetns(ours map[string]bool) (map[uint64]string, error) {
	containers := map[uint64]string{}
	list, err := a.runtime().List()
	note := func(c *network.Config) {
		if c != nil {
			for _, e := range c.Endpoints {
				ours[e.Interface.Host] = true
			}
		}
	}
	host, failed := namespaces.Host()
	for _, c := range slices.Backward(list) { // of several in one, the eldest
		if c.Status != runtime.Running {
			continue
		}
		note(c.State.Network)
		set, gone := namespaces.Of(c.State.Pid)
		inode := set[namespaces.Network]
		if _, known := containers[inode]; gone == nil && !known && inode != host[namespaces.Network] {
			containers[inode] = c.Config.Name
		}
	}
	adopted, unread := a.runtime().Adoptions()
	for _, one := range adopted {
		note(one.Network)
	}
	return containers, errors.Join(err, failed, unread)
}

// printBridges prints the table of brctl show, wider.
func (a *app) printBridges(views []bridgeView) {
	table := [][]string{{"bridge name", "bridge id", "STP enabled", "interfaces", "state", "leads to"}}
	for _, v := range views {
		head := []string{terminal.Visible(v.Name), v.ID, yesNo(v.STP)}
		if len(v.Ports) == 0 {
			table = append(table, head)
		}
		for _, p := range v.Ports {
			table = append(table, append(head, terminal.Visible(p.Name), p.condition(), p.leadsTo()))
			head = []string{"", "", ""}
		}
	}
	a.columns(spaced(table), "")
}

// spaced puts one more space before each column but the first, since headings are of
// two words.
func spaced(table [][]string) [][]string {
	for _, line := range table {
		for i := range line {
			if i > 0 {
				line[i] = " " + line[i]
			}
		}
	}
	return table
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// condition is the port's state or, where it is off, why.
func (p bridgePort) condition() string {
	switch {
	case !p.Up:
		return p.State + ", down"
	case !p.Carrier:
		return p.State + ", no carrier"
	}
	return p.State
}

// leadsTo says what is at the other end.
func (p bridgePort) leadsTo() string {
	words := ""
	switch peer := p.Peer; {
	case peer == nil && p.Kind == "":
		words = "outside: it is hardware"
	case peer == nil && p.Kind == "tun":
		words = "a tap"
		if p.Holder != "" {
			words += " that " + p.Holder + " has open"
		}
	case peer == nil:
		words = "a " + p.Kind + " link here"
	case peer.Name == "":
		words = fmt.Sprintf("interface %d of %s", peer.Index, peer.Place)
	case peer.NSID == nil:
		words = terminal.Visible(peer.Name) + " here"
	default:
		words = terminal.Visible(peer.Name) + " of " + peer.Place
	}
	if p.Peer != nil && len(p.Peer.Addresses) > 0 {
		words += ", " + strings.Join(p.Peer.Addresses, ", ")
	}
	if p.Foreign {
		words += " (foreign)"
	}
	return words
}

// printPorts prints what bridge link says of the ports.
func (a *app) printPorts(views []bridgeView) {
	table := [][]string{{"bridge", "no", "interface", "state", "mtu", "priority", "cost", "flags", "leads to"}}
	for _, v := range views {
		for _, p := range v.Ports {
			table = append(table, []string{
				terminal.Visible(v.Name), strconv.Itoa(int(p.Number)), terminal.Visible(p.Name), p.condition(), strconv.Itoa(p.MTU),
				strconv.Itoa(int(p.Priority)), strconv.FormatUint(uint64(p.Cost), 10), p.flags(), p.leadsTo(),
			})
		}
	}
	a.columns(spaced(table), "")
}

// flags are what is unusual about a port, as bridge(8) calls it.
func (p bridgePort) flags() string {
	var list []string
	for _, f := range []struct {
		on   bool
		word string
	}{
		{p.Hairpin, "hairpin"},
		{p.Isolated, "isolated"},
		{p.Guard, "guard"},
		{p.RootBlock, "root_block"},
		{!p.Learning, "no-learning"},
		{!p.Flood, "no-flood"},
	} {
		if f.on {
			list = append(list, f.word)
		}
	}
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ",")
}

// printMACs prints what brctl showmacs and bridge fdb say, and whose each address is.
func (a *app) printMACs(views []bridgeView) {
	table := [][]string{{"bridge", "mac address", "interface", "vlan", "is local?", "state", "ageing timer", "whose"}}
	for _, v := range views {
		for _, m := range v.FDB {
			vlan, age := "-", "-"
			if m.VLAN != 0 {
				vlan = strconv.Itoa(int(m.VLAN))
			}
			if !m.Local && m.State != "static" {
				age = fmt.Sprintf("%.2f", m.Updated)
			}
			table = append(table, []string{terminal.Visible(v.Name), m.MAC, terminal.Visible(m.Port), vlan, yesNo(m.Local), m.kind(), age, m.Owner})
		}
	}
	a.columns(spaced(table), "")
}

// kind says how the address came to be there.
func (m bridgeMAC) kind() string {
	if m.State == "reachable" || m.State == "stale" {
		return "learnt"
	}
	return m.State
}

// printVLANs prints what bridge vlan says.
func (a *app) printVLANs(views []bridgeView) {
	table := [][]string{{"bridge", "interface", "vlan-id", "flags", "leads to"}}
	for _, v := range views {
		if !v.VLANs {
			table = append(table, []string{terminal.Visible(v.Name), "-", "-", "it does not filter by VLAN"})
			continue
		}
		for _, p := range v.Ports {
			for _, vlan := range p.VLANs {
				table = append(table, []string{terminal.Visible(v.Name), terminal.Visible(p.Name), strconv.Itoa(int(vlan.ID)), vlan.flags(), p.leadsTo()})
			}
		}
	}
	a.columns(spaced(table), "")
}

func (v bridgeVLAN) flags() string {
	words := ""
	if v.PVID {
		words = "PVID "
	}
	if v.Untagged {
		words += "Egress Untagged"
	}
	if words == "" {
		return "-"
	}
	return strings.TrimSpace(words)
}
