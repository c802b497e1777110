package main

import (
	"fmt"
	"strings"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
)

func networkAdoptCommand(a *app) *cobra.Command {
	var u network.Use
	var explain, dryRun bool
	c := &cobra.Command{
		Use: "adopt [FLAGS] NAMESPACE", Args: cobra.ExactArgs(1),
		Long: "Adopt plugs a network namespace that somebody else made into a network: a cable to the bridge, an address,\n" +
			"a default route unless it has one, lo. NAMESPACE is the name of one that ip netns add made, a path, or pid:PID.\n" +
			"Called again with another network it is on that, too. minictr network release gives it back as it was.",
		Example: "  ip netns add web\n  minictr network adopt web\n  minictr network adopt --network blue --ip 10.5.0.7 web\n  minictr network release web",
		RunE: func(_ *cobra.Command, args []string) error {
			r := a.runtime()
			if dryRun {
				script, err := r.AdoptScript(args[0], u)
				fmt.Fprint(a.out, script)
				return err
			}
			a.heal(r)
			return r.Adopt(args[0], u, a.watch(explain))
		},
	}
	s := c.Flags()
	s.StringVar(&u.Network, "network", network.DefaultNetwork, "the network")
	s.StringVar(&u.IP, "ip", "", "IPv4 address, of the network's subnet")
	s.StringVar(&u.IP6, "ip6", "", "IPv6 address, of the network's subnet")
	s.StringVar(&u.MAC, "mac-address", "", "MAC address of the interface")
	s.StringArrayVar(&u.Aliases, "alias", nil, "another name for it on this network")
	s.IntVar(&u.Priority, "gw-priority", 0, "the network of the highest priority has the default route")
	s.BoolVar(&explain, "explain", false, "print every step as it happens")
	s.BoolVar(&dryRun, "dry-run", false, "print what would be done, as a shell script, and change nothing")
	return c
}

func networkReleaseCommand(a *app) *cobra.Command {
	var name string
	var explain, dryRun bool
	c := &cobra.Command{
		Use: "release [FLAGS] NAMESPACE", Args: cobra.ExactArgs(1),
		Long: "Release takes an adopted network namespace off its networks, or off one, and gives it back as it was.",
		RunE: func(_ *cobra.Command, args []string) error {
			r := a.runtime()
			if dryRun {
				script, err := r.ReleaseScript(args[0], name)
				fmt.Fprint(a.out, script)
				return err
			}
			a.heal(r)
			return r.Release(args[0], name, a.watch(explain))
		},
	}
	s := c.Flags()
	s.StringVar(&name, "network", "", "only this network; all by default")
	s.BoolVar(&explain, "explain", false, "print every step as it happens")
	s.BoolVar(&dryRun, "dry-run", false, "print what would be done, as a shell script, and change nothing")
	return c
}

func networkAdoptedCommand(a *app) *cobra.Command {
	var quiet bool
	var l listing
	c := &cobra.Command{
		Use: "adopted [FLAGS]", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r := a.runtime()
			a.heal(r)
			list, err := r.Adoptions()
			if err != nil {
				return err
			}
			var rows []any
			for _, adopted := range list {
				for _, e := range adopted.Network.Endpoints {
					rows = append(rows, newAdoptedRow(adopted, e))
				}
			}
			if l.columns = []string{"Namespace", "Network", "Interface", "IPAddress"}; quiet {
				l.quiet = "Namespace"
			}
			return a.list(l, rows, adoptedRow{})
		},
	}
	s := c.Flags()
	s.BoolVarP(&quiet, "quiet", "q", false, "names only")
	s.StringVar(&l.format, "format", "", formatHelp)
	return c
}

// adoptedRow is a line of network adopted: one network of one namespace.
type adoptedRow struct {
	ID            string
	Namespace     string
	Network       string
	Interface     string
	HostInterface string `head:"HOST INTERFACE"`
	IPAddress     string `head:"IP ADDRESS"`
	MacAddress    string `head:"MAC ADDRESS"`
}

func newAdoptedRow(adopted *runtime.Adopted, e network.Endpoint) adoptedRow {
	var addresses []string
	for _, p := range e.Interface.Addresses() {
		addresses = append(addresses, p.String())
	}
	return adoptedRow{
		ID: adopted.ID, Namespace: terminal.Visible(adopted.Name), Network: e.Network.Name, Interface: e.Interface.Name,
		HostInterface: e.Interface.Host, IPAddress: strings.Join(addresses, ","), MacAddress: e.Interface.MAC,
	}
}

// addAdopted adds an adopted namespace, if it is on the network.
func (v *networkView) addAdopted(adopted *runtime.Adopted) {
	if e := adopted.Network.Endpoint(v.Name); e != nil {
		v.Containers[adopted.ID] = newMemberView(adopted.Name, e)
	}
}

// adoptedNames are those of the namespaces that are adopted.
func (a *app) adoptedNames() []string {
	var names []string
	list, _ := a.runtime().Adoptions() // for completion: no names is an answer
	for _, adopted := range list {
		names = append(names, adopted.Name)
	}
	return names
}

// netnsNames are those that ip netns list prints.
func (a *app) netnsNames() []string { return network.NetnsNames() }
