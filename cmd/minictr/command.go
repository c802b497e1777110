package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
)

// app is one call of minictr: where it reads and writes, and which containers it
// is about.
type app struct {
	in, out, err *os.File
	root         string // --root
	runroot      string // --runroot
	code         int    // the exit code, when a command sets one without failing
}

// command is a line of the table of commands: declaring all of them costs 0.8
// ms, the one that was asked for 0.2.
type command struct {
	name  string
	group string
	short string
	build func(*app) *cobra.Command // flags and RunE; Use, at least the arguments behind the name
}

// commands is the table, in the order of the help.
func commands() []command {
	return []command{
		{"run", "containers", "make a container from an image and start it", runCommand},
		{"exec", "containers", "run a command in a running container", execCommand},
		{"start", "containers", "start containers that have ended", startCommand},
		{"stop", "containers", "ask containers to end, and kill them when they do not", stopCommand},
		{"kill", "containers", "send a signal to containers", killCommand},
		{"wait", "containers", "wait until containers have ended, print their exit codes", waitCommand},
		{"rm", "containers", "remove containers", rmCommand},
		{"rename", "containers", "give a container another name", renameCommand},
		{"cp", "containers", "copy files between the host and a container", cpCommand},
		{"commit", "containers", "make an image of a container", commitCommand},
		{"export", "containers", "write the root file system of a container as a tar archive", exportCommand},
		{"ps", groupLook, "list containers", psCommand},
		{"inspect", groupLook, "print everything about containers, images, networks and volumes", inspectCommand},
		{"logs", groupLook, "print the output of a detached container", logsCommand},
		{"port", groupLook, "print, add and remove published ports of a container", portCommand},
		{"top", groupLook, "list the processes of a container", topCommand},
		{"diff", groupLook, "list what is different in a container from its image", diffCommand},
		{"system", groupLook, "print what all takes on the disk, and free it", systemCommand},
		{"version", groupLook, "print the versions of minictr and of the host", versionCommand},
		{"images", groupImages, "list images", imagesCommand},
		{"pull", groupImages, "pull an image from a registry", pullCommand},
		{"push", groupImages, "push an image to a registry", pushCommand},
		{"login", groupImages, "log in to a registry", loginCommand},
		{"logout", groupImages, "forget the credentials for a registry", logoutCommand},
		{"load", groupImages, "load images from an archive", loadCommand},
		{"save", groupImages, "write images into an archive", saveCommand},
		{"import", groupImages, "make an image from a root file system", importCommand},
		{"tag", groupImages, "give an image another name", tagCommand},
		{"history", groupImages, "print the steps in which an image was made", historyCommand},
		{"rmi", groupImages, "remove images", rmiCommand},
		{"image", groupImages, "the commands about images, as docker image has them", imageCommand},
		{"container", groupContainers, "the commands about containers, as docker container has them", containerCommand},
		{"ns", groupSee, "list namespaces of all kinds, and whose they are", seeCommand("ns")},
		{"enter", groupSee, "run a command in the namespaces of a container or process", seeCommand("enter")},
		{"netns", groupSee, "make, list and enter named network namespaces, as ip netns does", seeCommand("netns")},
		{"bridge", groupSee, "show bridges, and what is plugged into each port", seeCommand("bridge")},
		{"map", groupSee, "draw the network of the whole host, or a container's way out", seeCommand("map")},
		{"trace", groupSee, "send a packet, and tell where it went and what each rule did", seeCommand("trace")},
		{"sniff", groupSee, "show the packets of a container, at both ends of its cable", seeCommand("sniff")},
		{"doctor", groupSee, "find out why a container's network does not work", seeCommand("doctor")},
		{"fault", groupSee, "break one thing of a container's network, to practise", seeCommand("fault")},
		{"lab", groupSee, "exercises in a host of their own", seeCommand("lab")},
		{"volume", groupVolumes, "make, list, inspect and remove volumes", volumeCommand},
		{"network", groupNetworks, "make, list, inspect, connect and remove networks", networkCommand},
		{"finish", "", "clean up after a container, for its monitor", finishCommand},
	}
}

const groupContainers, groupLook, groupImages, groupVolumes, groupNetworks, groupSee = "containers", "look", "images", "volumes", "networks", "see"

// runtime returns the containers below the directories of the command line.
func (a *app) runtime() *runtime.Runtime {
	return &runtime.Runtime{Root: a.root, Runroot: a.runroot}
}

// main runs the command of the arguments and returns the exit code.
func (a *app) main(args []string) int {
	root := a.rootCommand()
	named := a.declare(root, args)
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	name := commandName(args)
	if !named && name != "" && !slices.Contains([]string{"help", "completion", "__complete", "__completeNoDesc"}, name) {
		return a.fail("", unknownCommand(name))
	}
	if command, err := root.ExecuteC(); err != nil {
		return a.fail(command.Name(), err)
	}
	return a.code
}

// rootCommand is minictr itself, with the flags that stand before a command.
func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:               "minictr",
		Short:             "run containers, and see how they are made",
		Version:           version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		PersistentPreRunE: func(*cobra.Command, []string) (err error) {
			if a.root, err = filepath.Abs(a.root); err != nil {
				return err
			}
			a.runroot, err = filepath.Abs(a.runroot)
			return err
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := root.PersistentFlags()
	f.StringVar(&a.root, "root", "/var/lib/minictr", "directory for what lasts: images, containers")
	f.StringVar(&a.runroot, "runroot", "/run/minictr", "directory for what ends with the machine's uptime")
	return root
}

// declare adds the command that the arguments name, or all of them for help and
// completion, and reports whether one was named.
func (a *app) declare(root *cobra.Command, args []string) bool {
	name := commandName(args)
	table := commands()
	i := slices.IndexFunc(table, func(c command) bool { return c.name == name })
	if i >= 0 {
		root.AddCommand(a.build(table[i]))
		return true
	}
	for _, g := range []cobra.Group{{ID: groupContainers, Title: "Containers:"}, {ID: groupLook, Title: "Looking at them:"}, {ID: groupImages, Title: "Images:"}, {ID: groupVolumes, Title: "Volumes:"}, {ID: groupNetworks, Title: "Networks:"}, {ID: groupSee, Title: "Seeing through it all:"}} {
		root.AddGroup(&g)
	}
	cobra.EnableCommandSorting = false // in the order of the table
	for _, c := range table {
		built := a.build(c)
		built.GroupID, built.Hidden = c.group, c.group == ""
		root.AddCommand(built)
	}
	root.SetHelpCommand(helpCommand(root))
	_ = a.complete(root) // cannot fail: a test holds its tables
	return false
}

// helpCommand is cobra's, but for the failure at what is no command.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "print the help of minictr or of a command", DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			c, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(strings.Join(args, " "))
			}
			if name := c.Annotations[seen]; name != "" {
				return see(name, []string{"--help"})
			}
			c.InitDefaultHelpFlag()
			return c.Help()
		},
	}
}

func unknownCommand(name string) error {
	return usageError{fmt.Errorf("unknown command %q; 'minictr help' lists them", name)}
}

func (a *app) build(c command) *cobra.Command {
	built := c.build(a)
	if built.Use == "" {
		built.Use = c.name
	}
	built.Short = c.short
	built.DisableFlagsInUseLine = true
	built.Args = usageArgs(built.Args)
	return built
}

// usageArgs makes the complaint about the arguments a usageError.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(c, args); err != nil {
			return usageError{fmt.Errorf("%w; usage: minictr %s", err, c.Use)}
		}
		return nil
	}
}

// commandName is the first argument that is neither a global flag nor its value.
func commandName(args []string) string {
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "--root" || a == "--runroot":
			i++
		case !strings.HasPrefix(a, "-"):
			return a
		case a != "" && !strings.HasPrefix(a, "--root=") && !strings.HasPrefix(a, "--runroot="):
			return ""
		}
	}
	return ""
}

// each calls f for every name, goes on after an error, and prints the names for
// which it went well.
func (a *app) each(names []string, f func(name string) error) error {
	var errs []error
	for _, name := range names {
		if err := f(name); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintln(a.out, name)
	}
	return errors.Join(errs...)
}
