package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
)

// portCommand prints the published ports, as docker port, and has the commands
// that change them while the container runs.
func portCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "port CONTAINER [PORT[/PROTOCOL]]", Args: cobra.RangeArgs(1, 2),
		Long:    "Port prints where the ports of a container are reached. port add and port rm publish more of them,\nand fewer, while it runs.",
		Example: "  minictr port web\n  minictr port web 80\n  minictr port add web 8443:443\n  minictr port rm web 8443:443",
		RunE: func(_ *cobra.Command, args []string) error {
			a.heal(a.runtime())
			return a.printPorts(args[0], args[1:])
		},
	}
	for _, row := range []command{
		{"add", "", "publish ports of a container", portAddCommand},
		{"rm", "", "no longer publish ports of a container", portRmCommand},
	} {
		c.AddCommand(a.build(row))
	}
	return c
}

// printPorts prints all bindings, or those of one port of the container.
func (a *app) printPorts(name string, ports []string) error {
	c, err := a.runtime().Container(name)
	if err != nil {
		return err
	}
	if c.Status != runtime.Running {
		return &runtime.NotRunningError{Name: c.Config.Name}
	}
	bindings := bindingsOf(c)
	if len(ports) == 0 {
		for _, line := range bindings {
			fmt.Fprintln(a.out, line)
		}
		return nil
	}
	want := ports[0]
	if !strings.Contains(want, "/") {
		want += "/tcp"
	}
	found := false
	for _, line := range bindings {
		if inner, outer, _ := strings.Cut(line, " -> "); inner == want {
			fmt.Fprintln(a.out, outer)
			found = true
		}
	}
	if !found {
		return fmt.Errorf("port %s of container %s is not published", want, c.Config.Name)
	}
	return nil
}

// bindingsOf are the published ports of a running container, as minictr port
// prints them.
func bindingsOf(c *runtime.Container) []string {
	n := c.State.Network
	if n == nil {
		return nil
	}
	to, to6 := n.PortTargets()
	return network.Bindings(n.Ports, to.IsValid(), to6.IsValid())
}

// boundPorts are the same with an address each; ranges are whole.
func boundPorts(c *runtime.Container) []network.Port {
	if c.Status != runtime.Running || c.State.Network == nil {
		return nil
	}
	n := c.State.Network
	to, to6 := n.PortTargets()
	return network.Bound(n.Ports, to.IsValid(), to6.IsValid())
}

func portAddCommand(a *app) *cobra.Command {
	return a.portChangeCommand("add CONTAINER PORT…", (*runtime.Runtime).Publish)
}

func portRmCommand(a *app) *cobra.Command {
	return a.portChangeCommand("rm CONTAINER PORT…", (*runtime.Runtime).Unpublish)
}

func (a *app) portChangeCommand(use string, change func(*runtime.Runtime, string, []network.Port, runtime.Watch) error) *cobra.Command {
	var explain bool
	c := &cobra.Command{
		Use: use, Args: cobra.MinimumNArgs(2),
		Long: "A PORT is spelt as for run --publish: [[ADDRESS:]HOST:]CONTAINER[/tcp|udp|sctp]. For port rm\n" +
			"one of the CONTAINER alone is any that leads to it. A container that does not run has them when it is started.",
		RunE: func(_ *cobra.Command, args []string) error {
			ports, err := parsePorts(args[1:])
			if err != nil {
				return usageError{err}
			}
			r := a.runtime()
			a.heal(r)
			return change(r, args[0], ports, a.watch(explain))
		},
	}
	c.Flags().BoolVar(&explain, "explain", false, "print every step as it happens")
	return c
}

func parsePorts(texts []string) ([]network.Port, error) {
	var list []network.Port
	for _, text := range texts {
		ports, err := network.ParsePorts(text)
		if err != nil {
			return nil, err
		}
		list = append(list, ports...)
	}
	if len(list) == 0 {
		return nil, errors.New("no port is named")
	}
	return list, nil
}
