package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network/netnsdir"
	"github.com/minictr/minictr/runtime/step"
)

func netnsExecCommand(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "exec NAME COMMAND [ARGUMENT…]", Args: cobra.ArbitraryArgs, ValidArgsFunction: a.netnsNames,
		Short: "run a command in a network namespace, or with -all in each",
		Long: `Exec runs a command in the namespace of a name, with the host's files and tools: only the network is another.
/sys shows its devices, and the files of /etc/netns/NAME lie on those of /etc, so that resolv.conf can be its own.
The exit code is the command's; 255 when the namespace cannot be entered, 1 when the command cannot be run.`,
		Example: "  minictr netns exec blue ip addr\n  minictr netns exec blue bash\n  minictr netns -all exec ip -br addr",
		RunE: func(_ *cobra.Command, args []string) error {
			if all {
				return a.netnsExecAll(args)
			}
			return a.netnsExec(args)
		},
	}
	c.Flags().SetInterspersed(false)
	allFlag(c, &all)
	return c
}

// allFlag declares --all and, for hands that know ip, -all: the flags a, l and l.
func allFlag(c *cobra.Command, all *bool) {
	c.Flags().BoolVarP(all, "all", "a", false, "each name; ip spells it -all")
	c.Flags().BoolP("ll", "l", false, "")
	_ = c.Flags().MarkHidden("ll") // it is there
}

// netnsExec becomes the command. It comes back only with an error.
func (a *app) netnsExec(args []string) error {
	if len(args) == 0 {
		return usageError{fmt.Errorf("in which namespace? usage: minictr netns exec NAME COMMAND")}
	}
	if len(args) == 1 {
		return usageError{fmt.Errorf("the command is missing; usage: minictr netns exec NAME COMMAND")}
	}
	runtime.LockOSThread() // execve(2) ends all other threads, and this one is where it should be
	if err := a.netns().Enter(args[0], a.warn); err != nil {
		return statusError{netnsStatus(err), netnsBadWord}
	}
	path, err := exec.LookPath(args[1])
	if err != nil {
		return err
	}
	return step.Fail("execute", args[1], unix.Exec(path, args[1:], os.Environ()))
}

// netnsExecAll runs the command in each namespace, one after the other, and goes on
// after one that fails, as ip does.
func (a *app) netnsExecAll(args []string) error {
	if len(args) == 0 {
		return usageError{fmt.Errorf("the command is missing; usage: minictr netns -all exec COMMAND")}
	}
	names, err := a.netns().Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		fmt.Fprintf(a.out, "\nnetns: %s\n", terminal.Visible(name))
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // for good: there is no way back
			done <- a.runIn(a.netns(), name, args)
		}()
		if err := <-done; err != nil {
			a.fail(err)
		}
	}
	return nil
}

// runIn takes the thread into a namespace and runs a command from there. That it fails
// is for it to tell.
func (a *app) runIn(d netnsdir.Dir, name string, args []string) error {
	if err := d.Enter(name, a.warn); err != nil {
		return err
	}
	command := exec.Command(args[0], args[1:]...)
	command.Stdin, command.Stdout, command.Stderr = a.in, a.out, a.err
	err := command.Run()
	if is[*exec.ExitError](err) {
		return nil
	}
	return err
}
