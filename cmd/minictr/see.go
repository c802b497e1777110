package main

import (
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime"
	"github.com/minictr/minictr/runtime/step"
)

// seeCommand is a command that minictr-see has: the program is executed in the place
// of this one, with all that follows the name.
func seeCommand(name string) func(*app) *cobra.Command {
	return func(a *app) *cobra.Command {
		return &cobra.Command{
			Use:                name,
			DisableFlagParsing: true, // the flags are the other program's, --help too
			Annotations:        map[string]string{seen: name},
			PersistentPreRunE:  func(*cobra.Command, []string) error { return nil },
			RunE:               func(_ *cobra.Command, args []string) error { return see(name, args) },
			ValidArgsFunction: func(_ *cobra.Command, args []string, beginning string) ([]string, cobra.ShellCompDirective) {
				return seeWords(append(append([]string{name}, args...), beginning))
			},
		}
	}
}

// seen marks the commands of which the help is minictr-see's.
const seen = "minictr-see"

// see becomes minictr-see. It comes back only with an error.
func see(name string, args []string) error {
	path, err := runtime.Beside("minictr-see")
	if err != nil {
		return err
	}
	return step.Fail("execute", path, unix.Exec(path, append([]string{"minictr", name}, args...), os.Environ()))
}

// seeWords asks minictr-see what may stand in the last place of its arguments.
func seeWords(args []string) ([]string, cobra.ShellCompDirective) {
	path, err := runtime.Beside("minictr-see")
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	answer, err := exec.Command(path, append([]string{cobra.ShellCompRequestCmd}, args...)...).Output()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	lines := strings.Split(strings.TrimSpace(string(answer)), "\n")
	if last := len(lines) - 1; strings.HasPrefix(lines[last], ":") {
		lines = lines[:last]
	}
	return lines, cobra.ShellCompDirectiveNoFileComp
}
