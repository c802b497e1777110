package main

import (
	"errors"
	"fmt"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
)

// inspectFlags choose what is inspected, and how it is printed.
type inspectFlags struct {
	format, kind string
	live         bool
}

func inspectCommand(a *app) *cobra.Command {
	var f inspectFlags
	c := &cobra.Command{
		Use: "inspect [FLAGS] NAME…", Args: cobra.MinimumNArgs(1),
		Long: "Inspect prints everything about containers, images, networks and volumes as JSON. What a container has in\n" +
			"the kernel (namespaces, veth, rules, cgroups, processes) is read at this moment. With --live it tells of each part\n" +
			"of a container's network where it was read, and marks what is not as it was asked for.",
		Example: "  minictr inspect -f '{{.State.Pid}}' web\n  minictr inspect -f '{{.NetworkSettings.IPAddress}}' web",
		RunE:    func(_ *cobra.Command, names []string) error { return a.inspect(names, f) },
	}
	c.Flags().StringVarP(&f.format, "format", "f", "", "print it as \"json\" on one line, or as a Go template")
	c.Flags().StringVar(&f.kind, "type", "", "container, image, network or volume; by default what the name fits first")
	c.Flags().BoolVar(&f.live, "live", false, "a container's network as it is now: each value, where it was read, and what somebody has changed")
	return c
}

// inspect prints what there is, and then fails for names that are nothing.
func (a *app) inspect(names []string, f inspectFlags) error {
	find, ok := map[string]func(string) (any, error){
		"": a.inspectAny, "container": a.inspectContainer, "image": a.inspectImage,
		"network": a.inspectNetwork, "volume": a.inspectVolume,
	}[f.kind]
	if !ok {
		return usageError{fmt.Errorf("--type %q: there are container, image, network and volume", f.kind)}
	}
	a.heal(a.runtime())
	if f.live {
		return a.inspectLive(names, f)
	}
	return a.printInspected(names, f.format, find)
}

// printInspected prints what find returns for each name.
func (a *app) printInspected(names []string, format string, find func(string) (any, error)) error {
	views, errs := []any{}, []error(nil)
	for _, name := range names {
		v, err := find(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		views = append(views, v)
	}
	return errors.Join(append([]error{a.printViews(views, format)}, errs...)...)
}

func (a *app) printViews(views []any, format string) error {
	switch format {
	case "":
		return terminal.JSON(a.out, views)
	case "json":
		return terminal.JSONLines(a.out, []any{views})
	}
	return a.template(format, views, nil)
}

// notFoundError is a name of nothing.
type notFoundError struct{ name string }

func (e *notFoundError) Error() string {
	return "inspect " + e.name + ": no such container, image, network or volume"
}

// inspectAny takes the name for that of a container, then of an image, of a network,
// and then of a volume, as docker inspect does.
func (a *app) inspectAny(name string) (any, error) {
	v, err := a.inspectContainer(name)
	if !is[*runtime.NotFoundError](err) {
		return v, err
	}
	for _, find := range []func(string) (any, error){a.inspectImage, a.inspectNetwork, a.inspectVolume} {
		if v, err := find(name); err == nil {
			return v, nil
		}
	}
	return nil, &notFoundError{name}
}
