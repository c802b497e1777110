package main

import (
	"errors"
	"maps"
	"net/netip"
	"slices"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
)

// networkCommands are the commands below network.
func networkCommands() []command {
	return []command{
		{"ls", "", "list networks", networkLsCommand},
		{"inspect", "", "print everything about networks", networkInspectCommand},
		{"rm", "", "remove networks that no container uses", networkRmCommand},
		{"prune", "", "remove all networks that no container uses", networkPruneCommand},
	}
}

func networkLsCommand(a *app) *cobra.Command {
	var quiet bool
	var filter []string
	var format string
	c := &cobra.Command{
		Use: "ls [FLAGS]", Aliases: []string{"list"}, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			want, err := parseFilters(filter, "driver", "name")
			if err != nil {
				return err
			}
			list, err := network.List(a.runroot)
			if err != nil {
				return err
			}
			var rows []any
			for _, s := range list {
				if want.any("name", func(v string) bool { return v == s.Name }) && want.any("driver", func(v string) bool { return v == s.Driver }) {
					rows = append(rows, newNetworkRow(s))
				}
			}
			l := listing{format: format, columns: []string{"Name", "Driver", "Scope", "Subnet", "Bridge"}}
			if quiet {
				l.quiet = "Name"
			}
			return a.list(l, rows, networkRow{})
		},
	}
	s := c.Flags()
	s.BoolVarP(&quiet, "quiet", "q", false, "names only")
	s.StringArrayVarP(&filter, "filter", "f", nil, "only those for which KEY=VALUE holds: driver, name")
	s.StringVar(&format, "format", "", formatHelp)
	return c
}

// networkRow is a line of network ls. A network has no id but its name.
type networkRow struct {
	ID     string `head:"NETWORK ID"`
	Name   string
	Driver string
	Scope  string
	Subnet string
	Bridge string
}

func newNetworkRow(s network.State) networkRow {
	return networkRow{ID: s.Name, Name: s.Name, Driver: s.Driver, Scope: "local", Subnet: prefixText(s.Subnet), Bridge: s.Bridge}
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
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
// Bridge and Rules are what the kernel has now.
type networkView struct {
	Name   string
	ID     string `json:"Id"`
	Scope  string
	Driver string
	IPAM   struct {
		Driver string
		Config []ipamView
	}
	Internal   bool
	Containers map[string]memberView
	Options    map[string]string
	Labels     map[string]string

	Bridge *bridgeView
	Rules  []string
}

type ipamView struct{ Subnet, Gateway string }

type memberView struct {
	Name        string
	EndpointID  string
	MacAddress  string
	IPv4Address string
}

type bridgeView struct {
	Name       string
	Index      int
	Up         bool
	MacAddress string
	MTU        int // bytes
	Ports      []string
}

// inspectNetwork describes a network and the containers on it.
func (a *app) inspectNetwork(name string) (any, error) {
	s, err := network.InspectNetwork(a.runroot, name)
	if err != nil {
		return nil, err
	}
	containers, err := a.runtime().List()
	if err != nil {
		return nil, err
	}
	return newNetworkView(s, containers), nil
}

func newNetworkView(s *network.State, containers []*runtime.Container) *networkView {
	v := &networkView{
		Name: s.Name, ID: s.Name, Scope: "local", Driver: s.Driver,
		Containers: map[string]memberView{}, Options: map[string]string{}, Labels: map[string]string{}, Rules: listOf(s.Rules),
	}
	v.IPAM.Driver, v.IPAM.Config = "default", []ipamView{}
	if s.Subnet.IsValid() {
		v.IPAM.Config = append(v.IPAM.Config, ipamView{s.Subnet.String(), s.Gateway.String()})
	}
	if s.Bridge != "" {
		v.Bridge = &bridgeView{s.Bridge, s.Index, s.Up, s.MAC, s.MTU, listOf(s.Ports)}
		v.Options["com.docker.network.bridge.name"] = s.Bridge
	}
	for _, c := range containers {
		if c.Status != runtime.Running || c.Config.Network.Mode != s.Name {
			continue
		}
		m := memberView{Name: c.Config.Name}
		if n := c.State.Network; n != nil && n.Mode == network.Bridge {
			m.EndpointID, m.MacAddress, m.IPv4Address = n.Interface.Host, n.Interface.MAC, n.Interface.Address.String()
		}
		v.Containers[c.Config.ID] = m
	}
	return v
}

func networkRmCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rm NETWORK…", Aliases: []string{"remove"}, Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, names []string) error {
			r := a.runtime()
			if err := r.Heal(); err != nil {
				return err
			}
			return a.each(names, r.RemoveNetwork)
		},
	}
}

// networkPruneCommand removes what is made again when it is next wanted.
func networkPruneCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "prune", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r := a.runtime()
			if err := r.Heal(); err != nil {
				return err
			}
			list, err := network.List(a.runroot)
			if err != nil {
				return err
			}
			var errs []error
			for _, s := range list {
				if s.Bridge == "" {
					continue
				}
				err := a.each([]string{s.Name}, r.RemoveNetwork)
				if !is[*network.InUseError](err) {
					errs = append(errs, err)
				}
			}
			return errors.Join(errs...)
		},
	}
	c.Flags().BoolP("force", "f", false, "accepted for docker's sake: nothing is asked")
	return c
}

// networkNames are those that there are.
func (a *app) networkNames() []string {
	names := map[string]bool{}
	list, _ := network.List(a.runroot) // for completion: no names is an answer
	for _, s := range list {
		names[s.Name] = true
	}
	return slices.Sorted(maps.Keys(names))
}
