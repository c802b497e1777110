package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/netnsdir"
)

// Exit codes of ip netns, beside 1.
const (
	netnsKernelSaidNo = 2   // the kernel refused a number
	netnsBadWord      = 255 // a name or a number that is none, a namespace that cannot be entered
)

func netnsCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "netns [COMMAND]", Args: cobra.ArbitraryArgs,
		Short: "make, name and use network namespaces, as ip netns does",
		Long: `Netns does what ip netns does, in the same directory (/run/netns): what is made with one is seen by the other.
A container of minictr is there by its name, as long as it runs. Commands may be shortened, as ip's: minictr netns l.`,
		Example: "  minictr netns add blue\n  minictr netns exec blue ip addr\n  minictr netns list\n  minictr netns -all exec ip route\n  minictr netns delete blue",
		RunE:    func(c *cobra.Command, args []string) error { return a.netnsShortened(c, args) },
	}
	c.Flags().SetInterspersed(false)
	c.AddCommand(
		netnsListCommand(a), netnsListIDCommand(a), netnsAddCommand(a), netnsAttachCommand(a), netnsSetCommand(a), netnsDeleteCommand(a),
		netnsIdentifyCommand(a), netnsPidsCommand(a), netnsExecCommand(a), netnsMonitorCommand(a),
	)
	return c
}

// netnsOrder is which command the beginning of a word means: the first that fits, in
// the order of ip netns.
var netnsOrder = []string{"list", "show", "lst", "list-id", "add", "set", "delete", "identify", "pids", "exec", "monitor", "attach"}

// netnsShortened runs the command of which the first argument is the beginning; without
// one it lists.
func (a *app) netnsShortened(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return a.netnsList(false)
	}
	if strings.HasPrefix("help", args[0]) && args[0] != "" {
		return c.Help()
	}
	i := slices.IndexFunc(netnsOrder, func(name string) bool { return args[0] != "" && strings.HasPrefix(name, args[0]) })
	if i < 0 {
		return statusError{usageError{fmt.Errorf("unknown command %q of netns; 'minictr netns help' lists them", args[0])}, netnsBadWord}
	}
	command, _, err := c.Find([]string{netnsOrder[i]})
	if err != nil {
		return err
	}
	if err := command.ParseFlags(args[1:]); err != nil {
		return usageError{err}
	}
	args = command.Flags().Args()
	if err := command.ValidateArgs(args); err != nil {
		return err
	}
	return command.RunE(command, args)
}

// netns is the directory of the names.
func (a *app) netns() netnsdir.Dir { return netnsdir.Dir(network.NetnsDir(a.runroot)) }

// netnsNames completes names for the first argument; with more, commands are up to the
// shell.
func (a *app) netnsNames(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	names, err := a.netns().Names()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// netnsStatus gives an error of netnsdir the exit code of ip netns, and a hint.
func netnsStatus(err error) error {
	switch {
	case isRoot(err):
		return hinted{err, "network namespaces are root's to make, name and enter: sudo minictr netns …"}
	case is[*netnsdir.NameError](err):
		return statusError{err, netnsBadWord}
	case errors.Is(err, os.ErrNotExist):
		return hinted{err, "minictr netns list lists the names, minictr ps the containers"}
	case network.IsOtherNetns(err):
		return hinted{err, "it is a file on which nothing is mounted, at least here; minictr netns delete NAME takes it away"}
	}
	return err
}

// named wants exactly so many arguments, of which the first is a name.
func named(n int, missing string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return errors.New(missing)
		}
		if len(args) > n {
			return fmt.Errorf("%q is too many", args[n])
		}
		return nil
	}
}

func netnsAddCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "add NAME", Args: named(1, "the name is missing"),
		Short: "make a network namespace with a name; it has a lo, which is down",
		RunE: func(_ *cobra.Command, args []string) error {
			return netnsStatus(nameInUse(a.netns().Add(args[0]), args[0]))
		},
	}
}

func netnsAttachCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "attach NAME PID", Args: named(2, "a name and a process's number are needed"),
		Short: "give the network namespace of a process a name",
		RunE: func(_ *cobra.Command, args []string) error {
			pid, err := parsePid(args[1])
			if err != nil {
				return err
			}
			return netnsStatus(nameInUse(a.netns().Attach(args[0], pid), args[0]))
		},
	}
}

// nameInUse adds what may help against a name that there is already.
func nameInUse(err error, name string) error {
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	return hinted{err, "take another name, or see what has this one: minictr ns netns:" + name + "; minictr netns delete " + name + " takes it away"}
}

// parsePid reads a process's number.
func parsePid(text string) (int, error) {
	pid, err := strconv.ParseUint(text, 10, 31)
	if err != nil || pid == 0 {
		return 0, fmt.Errorf("%q is no number of a process", text)
	}
	return int(pid), nil
}

func netnsIdentifyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "identify [PID]", Args: cobra.MaximumNArgs(1),
		Short: "print the names of the network namespace that a process is in, or this one",
		Long:  "Identify prints each name on a line; an empty one when the namespace has none.",
		RunE: func(_ *cobra.Command, args []string) error {
			pid := os.Getpid()
			if len(args) > 0 {
				var err error
				if pid, err = parsePid(args[0]); err != nil {
					return err
				}
			}
			names, err := a.netns().Identify(pid)
			if err != nil {
				return err
			}
			if len(names) == 0 {
				names = []string{""}
			}
			for _, name := range names {
				fmt.Fprintln(a.out, terminal.Visible(name))
			}
			return nil
		},
	}
}

func netnsPidsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "pids NAME", Args: named(1, "the name is missing"), ValidArgsFunction: a.netnsNames,
		Short: "print the numbers of the processes in a network namespace",
		RunE: func(_ *cobra.Command, args []string) error {
			pids, err := a.netns().Pids(args[0])
			for _, pid := range pids {
				fmt.Fprintln(a.out, pid)
			}
			return netnsStatus(err)
		},
	}
}

func netnsMonitorCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "monitor", Args: cobra.NoArgs,
		Short: "print each name that is added or deleted, as it happens",
		RunE: func(*cobra.Command, []string) error {
			say := func(word string) func(string) {
				return func(name string) { fmt.Fprintln(a.out, word, terminal.Visible(name)) }
			}
			return a.netns().Watch(say("add"), say("delete"))
		},
	}
}
