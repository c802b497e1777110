package main

import (
	"fmt"
	"runtime"
	"text/tabwriter"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/cmd/terminal"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// versionView is what version prints, under Docker's names where it has them.
type versionView struct {
	Client clientView
	Host   hostView
}

type clientView struct {
	Version   string
	GoVersion string
	Os        string
	Arch      string
}

type hostView struct {
	KernelVersion string
	Cgroups       string // none, v1, hybrid or v2
}

func versionCommand(a *app) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "version [FLAGS]", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v, err := newVersionView()
			if err != nil {
				return err
			}
			switch format {
			case "":
				return v.print(a)
			case "json":
				return terminal.JSONLines(a.out, []any{v})
			}
			return a.template(format, []any{v}, nil)
		},
	}
	c.Flags().StringVarP(&format, "format", "f", "", "print it as \"json\" on one line, or as a Go template")
	return c
}

func newVersionView() (versionView, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return versionView{}, fmt.Errorf("uname: %w", err)
	}
	host, err := cgroups.Detect()
	if err != nil {
		return versionView{}, err
	}
	return versionView{
		Client: clientView{version, runtime.Version(), runtime.GOOS, runtime.GOARCH},
		Host:   hostView{unix.ByteSliceToString(name.Release[:]), host.Mode.String()},
	}, nil
}

func (v versionView) print(a *app) error {
	w := tabwriter.NewWriter(a.out, 0, 1, 3, ' ', 0)
	fmt.Fprintln(w, "Client:")
	for _, row := range [][2]string{{"Version", v.Client.Version}, {"Go version", v.Client.GoVersion}, {"OS/Arch", v.Client.Os + "/" + v.Client.Arch}} {
		fmt.Fprintf(w, " %s:\t%s\n", row[0], row[1])
	}
	fmt.Fprintln(w, "Host:")
	for _, row := range [][2]string{{"Kernel", v.Host.KernelVersion}, {"Cgroups", v.Host.Cgroups}} {
		fmt.Fprintf(w, " %s:\t%s\n", row[0], row[1])
	}
	return w.Flush()
}
