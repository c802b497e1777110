package main

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
)

// networkCommands are the commands below network.
func networkCommands() []command {
	return []command{
		{"create", "", "make a network", networkCreateCommand},
		{"ls", "", "list networks", networkLsCommand},
		{"inspect", "", "print everything about networks", networkInspectCommand},
		{"rm", "", "remove networks that no container uses", networkRmCommand},
		{"connect", "", "put a container on a network", networkConnectCommand},
		{"disconnect", "", "take a container off a network", networkDisconnectCommand},
		{"adopt", "", "put a network namespace of others on a network", networkAdoptCommand},
		{"release", "", "give an adopted network namespace back as it was", networkReleaseCommand},
		{"adopted", "", "list the adopted network namespaces", networkAdoptedCommand},
		{"reload", "", "put back what was taken away from under running containers", networkReloadCommand},
		{"prune", "", "remove all networks that no container uses", networkPruneCommand},
	}
}

func networkLsCommand(a *app) *cobra.Command {
	var quiet, whole bool
	var filter []string
	var format string
	c := &cobra.Command{
		Use: "ls [FLAGS]", Aliases: []string{"list"}, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			want, err := parseFilters(filter, "driver", "id", "label", "name")
			if err != nil {
				return err
			}
			list, err := a.runtime().Networks().States()
			if err != nil {
				return err
			}
			var rows []any
			for _, s := range list {
				row := newNetworkRow(s, whole)
				if want.any("name", func(v string) bool { return v == s.Name }) && want.any("driver", func(v string) bool { return v == row.Driver }) &&
					want.any("id", func(v string) bool { return strings.HasPrefix(s.ID, v) }) && want.labels(s.Labels) {
					rows = append(rows, row)
				}
			}
			l := listing{format: format, columns: []string{"ID", "Name", "Driver", "Subnet", "Bridge"}}
			if quiet {
				l.quiet = "ID"
			}
			return a.list(l, rows, networkRow{})
		},
	}
	s := c.Flags()
	s.BoolVarP(&quiet, "quiet", "q", false, "ids only")
	s.BoolVar(&whole, "no-trunc", false, "whole ids")
	s.StringArrayVarP(&filter, "filter", "f", nil, "only those for which KEY=VALUE holds: driver, id, label, name")
	s.StringVar(&format, "format", "", formatHelp)
	return c
}

// networkRow is a line of network ls. The network bridge has no id but its name.
type networkRow struct {
	ID        string `head:"NETWORK ID"`
	Name      string
	Driver    string
	Scope     string
	Subnet    string
	Bridge    string
	Internal  bool
	IPv6      bool
	CreatedAt string
	Labels    string
}

func newNetworkRow(s *network.State, whole bool) networkRow {
	row := networkRow{
		ID: firstOf(s.ID, s.Name), Name: s.Name, Driver: string(s.Driver), Scope: "local", Subnet: subnetsText(s), Bridge: s.Link,
		Internal: s.Internal, IPv6: s.Gateway6.IsValid(), Labels: labelList(s.Labels),
	}
	if !s.Created.IsZero() {
		row.CreatedAt = s.Created.Local().Format("2006-01-02 15:04:05 -0700 MST")
	}
	if !whole {
		row.ID = shortID(row.ID)
	}
	return row
}

// subnetsText are the subnets, IPv4 first.
func subnetsText(s *network.State) string {
	text := ""
	for _, p := range []netip.Prefix{s.Subnet(), s.Subnet6()} {
		if !p.IsValid() {
			continue
		}
		if text != "" {
			text += ","
		}
		text += p.String()
	}
	return text
}

func networkInspectCommand(a *app) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "inspect [FLAGS] NETWORK…", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, names []string) error {
			if err := a.runtime().Heal(); err != nil {
				return err
			}
			return a.printInspected(names, format, a.inspectNetwork)
		},
	}
	c.Flags().StringVarP(&format, "format", "f", "", "print it as \"json\" on one line, or as a Go template")
	return c
}

// networkView is what network inspect prints; the names are Docker's, and
// Bridge, Rules and Drift are what the kernel has now.
type networkView struct {
	Name       string
	ID         string `json:"Id"`
	Created    string
	Scope      string
	Driver     string
	EnableIPv4 bool
	EnableIPv6 bool
	IPAM       struct {
		Driver string
		Config []ipamView
	}
	Internal   bool
	Containers map[string]memberView
	Options    map[string]string
	Labels     map[string]string

	Bridge *bridgeView
	Rules  []string
	Drift  []string
}

type ipamView struct {
	Subnet, Gateway string
	IPRange         string `json:",omitempty"`

	AuxiliaryAddresses map[string]netip.Addr `json:",omitempty"`
}

type memberView struct {
	Name        string
	EndpointID  string
	MacAddress  string
	IPv4Address string
	IPv6Address string
}

type bridgeView struct {
	Name       string
	Index      int
	Up         bool
	MacAddress string
	MTU        int // bytes
	Ports      []string
}

// inspectNetwork describes a network, and the containers and adopted namespaces on
// it.
func (a *app) inspectNetwork(name string) (any, error) {
	s, err := a.runtime().Networks().Inspect(name)
	if err != nil {
		return nil, err
	}
	containers, err := a.runtime().List()
	if err != nil {
		return nil, err
	}
	adopted, err := a.runtime().Adoptions()
	if err != nil {
		return nil, err
	}
	v := newNetworkView(s, containers)
	for _, namespace := range adopted {
		v.addAdopted(namespace)
	}
	return v, nil
}

func newNetworkView(s *network.State, containers []*runtime.Container) *networkView {
	v := &networkView{
		Name: s.Name, ID: firstOf(s.ID, s.Name), Scope: "local", Driver: string(s.Driver), Internal: s.Internal,
		EnableIPv4: s.Gateway.IsValid(), EnableIPv6: s.Gateway6.IsValid(),
		Containers: map[string]memberView{}, Options: mapOf(s.Options), Labels: mapOf(s.Labels), Rules: listOf(s.Rules), Drift: listOf(s.Drift),
	}
	if !s.Created.IsZero() {
		v.Created = s.Created.UTC().Format(time.RFC3339Nano)
	}
	v.IPAM.Driver, v.IPAM.Config = "default", []ipamView{}
	for _, gateway := range []netip.Prefix{s.Gateway, s.Gateway6} {
		if !gateway.IsValid() {
			continue
		}
		row := ipamView{Subnet: gateway.Masked().String(), Gateway: gateway.Addr().String()}
		for _, within := range []netip.Prefix{s.Range, s.Range6} {
			if within.IsValid() && gateway.Contains(within.Addr()) {
				row.IPRange = within.String()
			}
		}
		row.AuxiliaryAddresses = maps.Clone(s.Reserved)
		maps.DeleteFunc(row.AuxiliaryAddresses, func(_ string, a netip.Addr) bool { return !gateway.Contains(a) })
		v.IPAM.Config = append(v.IPAM.Config, row)
	}
	if s.Link != "" {
		v.Bridge = &bridgeView{s.Link, s.Index, s.Up, s.MAC, s.MTU, listOf(s.Ports)}
	}
	for _, c := range containers {
		v.addMember(c)
	}
	return v
}

// addMember adds a container, if it is on the network.
func (v *networkView) addMember(c *runtime.Container) {
	if c.Status != runtime.Running || !slices.Contains(networkNames(c.Config), v.Name) {
		return
	}
	var e *network.Endpoint
	if c.State.Network != nil {
		e = c.State.Network.Endpoint(v.Name)
	}
	v.Containers[c.Config.ID] = newMemberView(c.Config.Name, e)
}

func newMemberView(name string, e *network.Endpoint) memberView {
	m := memberView{Name: name}
	if e != nil {
		m.EndpointID, m.MacAddress = e.Interface.Host, e.Interface.MAC
		m.IPv4Address, m.IPv6Address = prefixText(e.Interface.Address), prefixText(e.Interface.Address6)
	}
	return m
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

// networkNames are those that there are.
func (a *app) networkNames() []string {
	var names []string
	list, _ := a.runtime().Networks().All() // for completion: no names is an answer
	for _, n := range list {
		names = append(names, n.Name)
	}
	return names
}
