package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/minictr/minictr/network"
	"github.com/spf13/cobra"
)

func networkCreateCommand(a *app) *cobra.Command {
	var labels, options, reserved []string
	var driver string
	var explain, dryRun bool
	n := network.Creation{}
	c := &cobra.Command{
		Use: "create [FLAGS] NETWORK", Args: cobra.ExactArgs(1),
		Long:    "Create makes a network and prints its id. Without --subnet it gets a /24 of its own that overlaps nothing on the host.",
		Example: "  minictr network create blue\n  minictr network create --subnet 10.5.0.0/24 --ip-range 10.5.0.128/25 --ipv6 green\n  minictr network create --internal backend",
		RunE: func(_ *cobra.Command, args []string) (err error) {
			n.Name, n.Driver = args[0], network.Driver(driver)
			if n.Labels, err = pairs("label", labels, false); err != nil {
				return err
			}
			if n.Options, err = pairs("opt", options, true); err != nil {
				return err
			}
			if n.Reserved, err = pairs("aux-address", reserved, true); err != nil {
				return err
			}
			store := a.runtime().Networks()
			if dryRun {
				script, err := store.Script(n)
				fmt.Fprint(a.out, script)
				return err
			}
			made, err := store.Create(n, a.watch(explain).Step)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, made.ID)
			return nil
		},
	}
	s := c.Flags()
	s.StringVarP(&driver, "driver", "d", string(network.BridgeDriver), "bridge, or macvlan: addresses of their own on a link of the host")
	s.StringArrayVar(&n.Subnets, "subnet", nil, "subnet, as 10.5.0.0/24; one of IPv4 and one of IPv6")
	s.StringArrayVar(&n.Gateways, "gateway", nil, "the host's address in it; the first one by default")
	s.StringArrayVar(&n.Ranges, "ip-range", nil, "give out addresses of this part of the subnet only")
	s.StringArrayVar(&reserved, "aux-address", nil, "an address that no container gets, NAME=ADDRESS: a router's, a printer's")
	s.BoolVar(&n.IPv4, "ipv4", true, "give IPv4 addresses")
	s.BoolVar(&n.IPv6, "ipv6", false, "give IPv6 addresses; without a --subnet of a private prefix (ULA) that is chosen")
	s.BoolVar(&n.Internal, "internal", false, "no way out, and none in")
	s.IntVar(&n.MTU, "mtu", 0, "largest packet in bytes; that of the host's default route by default")
	s.StringArrayVar(&labels, "label", nil, "label, NAME=VALUE")
	s.StringArrayVarP(&options, "opt", "o", nil, "com.docker.network.bridge.name=LINK; of macvlan parent=LINK")
	s.BoolVar(&explain, "explain", false, "print every step as it happens")
	s.BoolVar(&dryRun, "dry-run", false, "print what would make it, as a shell script, and change nothing")
	return c
}

func networkRmCommand(a *app) *cobra.Command {
	var force, all, restore bool
	c := &cobra.Command{
		Use: "rm [FLAGS] NETWORK…", Aliases: []string{"remove"},
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case restore && !all:
				return errors.New("--restore is of --all: while a network is there, the host goes on forwarding for it")
			case all && len(args) > 0:
				return errors.New("--all, and networks are named")
			case !all && len(args) == 0:
				return errors.New("no network is named")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, names []string) error {
			r := a.runtime()
			if err := r.Heal(); err != nil {
				return err
			}
			if all {
				return errors.Join(a.removeAllNetworks(), a.restoreHost(restore))
			}
			return a.each(names, func(name string) error {
				err := r.RemoveNetwork(name)
				if force && errors.Is(err, network.ErrNotFound) {
					return nil
				}
				return err
			})
		},
	}
	s := c.Flags()
	s.BoolVarP(&force, "force", "f", false, "a network that does not exist is no error; one in use stays all the same")
	s.BoolVar(&all, "all", false, "all networks, the default one too")
	s.BoolVar(&restore, "restore", false, "with --all, set the host's sysctls that were changed back to what they were")
	return c
}

// removeAllNetworks removes what is there of every network.
func (a *app) removeAllNetworks() error {
	r := a.runtime()
	list, err := r.Networks().States()
	errs := []error{err}
	for _, s := range list {
		if s.ID != "" || s.Link != "" || len(s.Rules) > 0 {
			errs = append(errs, a.each([]string{s.Name}, r.RemoveNetwork))
		}
	}
	return errors.Join(errs...)
}

// restoreHost sets back what was changed of the host, and says what.
func (a *app) restoreHost(wanted bool) error {
	if !wanted {
		return nil
	}
	notes, err := network.RestoreSysctls(a.runroot)
	for _, n := range notes {
		key := strings.ReplaceAll(n.Key, "/", ".")
		if n.Foreign() {
			a.warn(fmt.Errorf("%s was %s, minictr made it %s, and somebody else %s since: it is left", key, n.Was, n.Set, n.Now))
			continue
		}
		fmt.Fprintf(a.out, "%s = %s\n", key, n.Was)
	}
	return errors.Join(err, network.ForgetPorts(a.runroot))
}

func networkReloadCommand(a *app) *cobra.Command {
	var explain bool
	c := &cobra.Command{
		Use: "reload [FLAGS]", Args: cobra.NoArgs,
		Long: "Reload puts back what somebody has taken away from under running containers: the nftables tables,\n" +
			"after nft flush ruleset or the reload of a firewall, and bridges that were deleted, switched off or\nre-addressed. What is as it was is left alone.",
		RunE: func(*cobra.Command, []string) error {
			r := a.runtime()
			a.heal(r)
			return r.ReloadNetworks(a.watch(explain))
		},
	}
	c.Flags().BoolVar(&explain, "explain", false, "print every step as it happens")
	return c
}

// networkPruneCommand removes the networks that no running container uses. The
// network bridge is made again when it is next wanted.
func networkPruneCommand(a *app) *cobra.Command {
	var p pruning
	c := &cobra.Command{
		Use: "prune [FLAGS]", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !a.confirm(p, "all networks that no container uses") {
				return nil
			}
			return a.pruneNetworks(p)
		},
	}
	p.flags(c, "")
	return c
}

func (a *app) pruneNetworks(p pruning) error {
	r := a.runtime()
	if err := r.Heal(); err != nil {
		return err
	}
	choose, err := p.condition(time.Now())
	if err != nil {
		return err
	}
	list, err := r.Networks().States()
	errs := []error{err}
	for _, s := range list {
		if s.ID == "" && s.Link == "" || !choose(s.Created, s.Labels) {
			continue
		}
		err := a.each([]string{s.Name}, r.RemoveNetwork)
		if !is[*network.InUseError](err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
