package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/rootfs/volume"
	"github.com/spf13/cobra"
)

func volumeCommand(a *app) *cobra.Command {
	return a.group("volume", []command{
		{"create", "", "make a volume", volumeCreateCommand},
		{"ls", "", "list volumes", volumeLsCommand},
		{"inspect", "", "print everything about volumes", volumeInspectCommand},
		{"rm", "", "remove volumes that no container uses", volumeRmCommand},
		{"prune", "", "remove all volumes without a name that no container uses", volumePruneCommand},
	})
}

func volumeCreateCommand(a *app) *cobra.Command {
	var labels, options []string
	var v volume.Volume
	c := &cobra.Command{
		Use: "create [FLAGS] [NAME]", Args: cobra.MaximumNArgs(1),
		Long: "Create makes a volume and prints its name. One that is there already is left as it is.",
		Example: "  minictr volume create data\n  minictr volume create -o type=tmpfs -o o=size=64m scratch\n" +
			"  minictr volume create -o type=none -o o=bind -o device=/srv/data data",
		RunE: func(_ *cobra.Command, args []string) (err error) {
			if v.Labels, err = pairs("label", labels, false); err != nil {
				return err
			}
			if v.Options, err = pairs("opt", options, true); err != nil {
				return err
			}
			if len(args) > 0 {
				v.Name = args[0]
				if err := volume.ValidateName(v.Name); err != nil {
					return usageError{err}
				}
			}
			made, err := a.runtime().CreateVolume(v)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, made)
			return nil
		},
	}
	s := c.Flags()
	s.StringVarP(&v.Driver, "driver", "d", volume.Local, "where it lies; there is only local")
	s.StringArrayVar(&labels, "label", nil, "label, NAME=VALUE")
	s.StringArrayVarP(&options, "opt", "o", nil, "what it lies on: type=tmpfs, or type=none with o=bind and device=DIRECTORY")
	return c
}

func volumeLsCommand(a *app) *cobra.Command {
	var l listing
	var quiet bool
	var filter []string
	c := &cobra.Command{
		Use: "ls [FLAGS]", Aliases: []string{"list"}, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			list, used, err := a.volumesThat(filter, "dangling", "driver", "label", "name")
			if list == nil && err != nil {
				return err
			}
			var rows []any
			for _, v := range list {
				rows = append(rows, newVolumeRow(v, a.runtime().Volumes(), used[v.Name]))
			}
			if l.columns = []string{"Driver", "Name"}; quiet {
				l.quiet = "Name"
			}
			return errors.Join(a.list(l, rows, volumeRow{}), err)
		},
	}
	s := c.Flags()
	s.BoolVarP(&quiet, "quiet", "q", false, "names only")
	s.StringArrayVarP(&filter, "filter", "f", nil, "only those for which KEY=VALUE holds: dangling, driver, label, name")
	s.StringVar(&l.format, "format", "", formatHelp)
	return c
}

// volumesThat lists the volumes that the filters choose, and the names of the
// containers that use each. With an error about some come the others.
func (a *app) volumesThat(filter []string, known ...string) ([]*volume.Volume, map[string][]string, error) {
	want, err := parseFilters(filter, known...)
	if err != nil {
		return nil, nil, err
	}
	for _, text := range want["dangling"] {
		if _, err := strconv.ParseBool(text); err != nil {
			return nil, nil, usageError{fmt.Errorf("--filter dangling=%s: neither true nor false", text)}
		}
	}
	r := a.runtime()
	a.heal(r)
	used, err := r.VolumesInUse()
	if err != nil {
		return nil, nil, err
	}
	list, err := r.Volumes().List()
	return slices.DeleteFunc(list, func(v *volume.Volume) bool {
		return !(want.any("name", func(n string) bool { return strings.Contains(v.Name, n) }) &&
			want.any("driver", func(d string) bool { return d == v.Driver }) &&
			want.any("dangling", func(text string) bool {
				dangling, _ := strconv.ParseBool(text) // checked above
				return dangling == (len(used[v.Name]) == 0)
			}) &&
			want.labels(v.Labels))
	}), used, err
}

// volumeRow is a line of volume ls; the fields are Docker's.
type volumeRow struct {
	Driver     string
	Name       string `head:"VOLUME NAME"`
	Scope      string
	Mountpoint string
	Labels     string
	Links      string // how many containers use it

	labels map[string]string
}

func (r volumeRow) labelMap() map[string]string { return r.labels }

func newVolumeRow(v *volume.Volume, store *volume.Store, users []string) volumeRow {
	return volumeRow{
		Driver: v.Driver, Name: v.Name, Scope: volume.Local, Mountpoint: terminal.Visible(store.Mountpoint(v)),
		Labels: labelList(v.Labels), Links: strconv.Itoa(len(users)), labels: v.Labels,
	}
}

// volumeView is what volume inspect prints; the names are Docker's, and
// Containers are those that use it, running or not.
type volumeView struct {
	CreatedAt  string
	Driver     string
	Labels     map[string]string
	Mountpoint string
	Name       string
	Options    map[string]string
	Scope      string

	Containers []string
}

func volumeInspectCommand(a *app) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "inspect [FLAGS] VOLUME…", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, names []string) error {
			a.heal(a.runtime())
			return a.printInspected(names, format, a.inspectVolume)
		},
	}
	c.Flags().StringVarP(&format, "format", "f", "", "print it as \"json\" on one line, or as a Go template")
	return c
}

func (a *app) inspectVolume(name string) (any, error) {
	r := a.runtime()
	v, err := r.Volumes().Lookup(name)
	if err != nil {
		return nil, err
	}
	users, err := r.VolumeUsers(name)
	if err != nil {
		return nil, err
	}
	return &volumeView{
		CreatedAt: v.Created.UTC().Format(time.RFC3339), Driver: v.Driver, Labels: mapOf(v.Labels), Mountpoint: r.Volumes().Mountpoint(v),
		Name: v.Name, Options: mapOf(v.Options), Scope: volume.Local, Containers: listOf(users),
	}, nil
}

func volumeRmCommand(a *app) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "rm [-f] VOLUME…", Aliases: []string{"remove"}, Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, names []string) error {
			r := a.runtime()
			a.heal(r)
			return a.each(names, func(name string) error {
				err := r.RemoveVolume(name)
				if force && is[*volume.NotFoundError](err) {
					return nil
				}
				return err
			})
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "a volume that does not exist is no error; one in use stays all the same")
	return c
}

func volumePruneCommand(a *app) *cobra.Command {
	var p pruning
	c := &cobra.Command{
		Use: "prune [FLAGS]", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			which := "volumes without a name"
			if p.all {
				which = "volumes"
			}
			if !a.confirm(p, "all "+which+" that no container uses, with what is in them") {
				return nil
			}
			freed, err := a.pruneVolumes(p)
			return a.sayReclaimed(freed, err)
		},
	}
	p.flags(c, "those with a name too")
	return c
}

// pruneVolumes removes the volumes that no container uses, says which, and returns
// the bytes of disk that they took.
func (a *app) pruneVolumes(p pruning) (freed int64, err error) {
	choose, err := p.condition(time.Now())
	if err != nil {
		return 0, err
	}
	list, used, err := a.volumesThat(nil)
	errs := []error{err}
	var removed []string
	for _, v := range list {
		if len(used[v.Name]) > 0 || !p.all && !v.Anonymous() || !choose(v.Created, v.Labels) {
			continue
		}
		bytes, err := a.pruneVolume(v)
		if is[*volume.InUseError](err) || is[*volume.NotFoundError](err) {
			continue // used, or removed, since
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		removed, freed = append(removed, v.Name), freed+bytes
	}
	if len(removed) > 0 {
		fmt.Fprintf(a.out, "Deleted Volumes:\n%s\n\n", strings.Join(removed, "\n"))
	}
	return freed, errors.Join(errs...)
}

func (a *app) pruneVolume(v *volume.Volume) (bytes int64, err error) {
	r := a.runtime()
	if bytes, err = r.Volumes().Size(v); err != nil {
		a.warn(err) // what cannot be measured, for its depth say, can be removed
	}
	return bytes, r.RemoveVolume(v.Name)
}

// volumeNames are those that there are.
func (a *app) volumeNames() []string {
	var names []string
	list, _ := a.runtime().Volumes().List() // for completion: no names is an answer
	for _, v := range list {
		names = append(names, v.Name)
	}
	return names
}
