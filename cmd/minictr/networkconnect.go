package main

import (
	"errors"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
)

func networkConnectCommand(a *app) *cobra.Command {
	var u network.Use
	var explain bool
	c := &cobra.Command{
		Use: "connect [FLAGS] NETWORK CONTAINER", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			u.Network = args[0]
			r := a.runtime()
			a.heal(r)
			return r.Connect(args[1], u, a.watch(explain))
		},
	}
	s := c.Flags()
	s.StringVar(&u.IP, "ip", "", "IPv4 address, of the network's subnet")
	s.StringVar(&u.IP6, "ip6", "", "IPv6 address, of the network's subnet")
	s.StringVar(&u.MAC, "mac-address", "", "MAC address of the interface")
	s.StringArrayVar(&u.Aliases, "alias", nil, "another name for it on this network")
	s.IntVar(&u.Priority, "gw-priority", 0, "the network of the highest priority has the default route")
	s.BoolVar(&explain, "explain", false, "print every step as it happens")
	return c
}

func networkDisconnectCommand(a *app) *cobra.Command {
	var force, explain bool
	c := &cobra.Command{
		Use: "disconnect [FLAGS] NETWORK CONTAINER", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			r := a.runtime()
			a.heal(r)
			err := r.Disconnect(args[1], args[0], a.watch(explain))
			if force && (is[*runtime.NotFoundError](err) || errors.Is(err, runtime.ErrNotConnected)) {
				return nil
			}
			return err
		},
	}
	s := c.Flags()
	s.BoolVarP(&force, "force", "f", false, "that there is nothing to disconnect is no error")
	s.BoolVar(&explain, "explain", false, "print every step as it happens")
	return c
}
