// Minictr-base is the userland of the image minictr/base: a shell, the usual
// small commands, and those that show a network, in one static program that is
// called by many names.
//
//	minictr-base NAME [ARG…]   or by a link called NAME
//	minictr-base --list        the names
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/files"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet"
	"github.com/minictr/minictr/cmd/minictr-base/shell"
	"github.com/minictr/minictr/cmd/minictr-base/system"
	"github.com/minictr/minictr/cmd/minictr-base/text"
)

// applets are all commands of the image, in the order of their names.
func applets() []applet.Applet {
	all := slices.Concat(shell.Applets(), files.Applets(), text.Applets(), system.Applets(), netapplet.Applets())
	slices.SortFunc(all, func(a, b applet.Applet) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func main() { os.Exit(run(os.Args)) }

func run(args []string) int {
	// A login shell is called "-sh".
	name := strings.TrimPrefix(filepath.Base(args[0]), "-")
	if name == "minictr-base" && len(args) > 1 {
		args = args[1:]
		name = args[0]
	}
	all := applets()
	switch name {
	case "minictr-base", "--list":
		for _, a := range all {
			fmt.Fprintln(os.Stdout, a.Name)
		}
		return 0
	}
	i := slices.IndexFunc(all, func(a applet.Applet) bool { return a.Name == name })
	if i < 0 {
		fmt.Fprintf(os.Stderr, "minictr-base: no applet %q\n", name)
		return 127
	}
	if os.Getpid() == 1 && name != "sh" {
		endBySignal()
	}
	return all[i].Exec(&applet.Call{Name: name, Args: args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr, All: all})
}

// endBySignal makes the first process of a container end by the signals that
// end any other: the kernel does nothing on them for a process 1
// (pid_namespaces(7)), and stopping the container would take its full time.
func endBySignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		if s, ok := (<-signals).(syscall.Signal); ok {
			os.Exit(128 + int(s))
		}
	}()
}
