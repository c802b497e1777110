package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
)

// A completion says what the arguments of a command may be.
type completion struct {
	command string // as after minictr: "network rm"
	first   words  // the first argument
	rest    words  // the others; nil leaves them to the shell, which offers files
}

// words lists what may stand in a place of the command line.
type words func(*app) []string

// completions is the table of what arguments may be. Commands that take none, or
// files, have no row.
func completions() []completion {
	return []completion{
		{"run", (*app).imageNames, nil},
		{"exec", (*app).runningNames, nil},
		{"start", (*app).endedNames, (*app).endedNames},
		{"stop", (*app).runningNames, (*app).runningNames},
		{"kill", (*app).runningNames, (*app).runningNames},
		{"wait", (*app).containerNames, (*app).containerNames},
		{"rm", (*app).containerNames, (*app).containerNames},
		{"rename", (*app).containerNames, nothing},
		{"inspect", (*app).allNames, (*app).allNames},
		{"logs", (*app).containerNames, nothing},
		{"top", (*app).runningNames, (*app).columnNames},
		{"commit", (*app).containerNames, (*app).imageNames},
		{"cp", (*app).placeNames, (*app).placeNames},
		{"diff", (*app).containerNames, nothing},
		{"export", (*app).containerNames, nothing},
		{"images", (*app).imageNames, nothing},
		{"pull", (*app).imageNames, nothing},
		{"save", (*app).imageNames, (*app).imageNames},
		{"tag", (*app).imageNames, (*app).imageNames},
		{"history", (*app).imageNames, nothing},
		{"push", (*app).imageNames, nothing},
		{"rmi", (*app).imageNames, (*app).imageNames},
		{"image rm", (*app).imageNames, (*app).imageNames},
		{"image ls", (*app).imageNames, nothing},
		{"image pull", (*app).imageNames, nothing},
		{"image save", (*app).imageNames, (*app).imageNames},
		{"image tag", (*app).imageNames, (*app).imageNames},
		{"image history", (*app).imageNames, nothing},
		{"image push", (*app).imageNames, nothing},
		{"image inspect", (*app).imageNames, (*app).imageNames},
		{"volume inspect", (*app).volumeNames, (*app).volumeNames},
		{"volume rm", (*app).volumeNames, (*app).volumeNames},
		{"network inspect", (*app).networkNames, (*app).networkNames},
		{"network rm", (*app).networkNames, (*app).networkNames},
		{"network adopt", (*app).netnsNames, nothing},
		{"network release", (*app).adoptedNames, nothing},
	}
}

// flagCompletions is the table of what the values of flags may be.
func flagCompletions() map[string]map[string][]string {
	signals := []string{"HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "WINCH"}
	prunes := []string{"label=", "label!=", "until="}
	formats := []string{"docker-archive", "oci-archive", "oci-dir"}
	return map[string]map[string][]string{
		"run":     {"network": {"bridge", "none", "host", "container:", "ns:"}, "pull": {"always", "missing", "never"}, "stop-signal": signals},
		"kill":    {"signal": signals},
		"inspect": {"type": {"container", "image", "volume"}},
		"pull":    {"progress": {"auto", "plain", "none"}},
		"save":    {"format": formats}, "image save": {"format": formats},
		"image prune":     {"filter": prunes},
		"container prune": {"filter": prunes}, "system prune": {"filter": prunes}, "volume prune": {"filter": prunes},
		"ps":        {"filter": {"ancestor=", "exited=", "id=", "label=", "name=", "network=", "status=created", "status=running", "status=exited", "volume="}},
		"volume ls": {"filter": {"dangling=true", "dangling=false", "driver=local", "label=", "name="}},
		"push":      {"progress": {"auto", "plain", "none"}},
	}
}

// complete gives a command, and those below it, what completion needs.
func (a *app) complete(c *cobra.Command) error {
	path := strings.TrimPrefix(c.CommandPath(), "minictr ")
	table := completions()
	name := strings.TrimPrefix(path, "container ")
	if i := slices.IndexFunc(table, func(row completion) bool { return row.command == name }); i >= 0 {
		c.ValidArgsFunction = a.validArgs(table[i])
	}
	var errs []error
	flags := flagCompletions()
	if flags[path] == nil {
		path = name
	}
	for flag, values := range flags[path] {
		if c.Flags().Lookup(flag) != nil {
			errs = append(errs, c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
		}
	}
	if path == "network adopt" || path == "network release" {
		errs = append(errs, c.RegisterFlagCompletionFunc("network", a.ofFlag((*app).networkNames)))
	}
	for flag, list := range map[string]words{"volume": (*app).volumePrefixes, "volumes-from": (*app).containerNames} {
		if name == "run" && c.Flags().Lookup(flag) != nil {
			errs = append(errs, c.RegisterFlagCompletionFunc(flag, a.beginnings(list)))
		}
	}
	for _, below := range c.Commands() {
		errs = append(errs, a.complete(below))
	}
	return errors.Join(errs...)
}

func (a *app) validArgs(row completion) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, beginning string) ([]string, cobra.ShellCompDirective) {
		list := row.first
		if len(args) > 0 {
			list = row.rest
		}
		if list == nil {
			return nil, cobra.ShellCompDirectiveDefault
		}
		words := slices.DeleteFunc(list(a), func(w string) bool {
			return !strings.HasPrefix(w, beginning) || slices.Contains(args, w)
		})
		if row.command == "cp" { // or a file, when it is none of these
			return words, cobra.ShellCompDirectiveNoSpace
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

// beginnings completes the beginning of a flag's value: more follows, or a path.
func (a *app) beginnings(list words) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, beginning string) ([]string, cobra.ShellCompDirective) {
		found := slices.DeleteFunc(list(a), func(w string) bool { return !strings.HasPrefix(w, beginning) })
		return found, cobra.ShellCompDirectiveNoSpace
	}
}

// ofFlag completes the value of a flag.
func (a *app) ofFlag(list words) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, beginning string) ([]string, cobra.ShellCompDirective) {
		found := slices.DeleteFunc(list(a), func(w string) bool { return !strings.HasPrefix(w, beginning) })
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// The lists below are empty where they cannot be read: completion is silent.

func nothing(*app) []string { return nil }

func (a *app) containerNames() []string {
	return a.names(func(*runtime.Container) bool { return true })
}

// placeNames are those of cp, before a path.
func (a *app) placeNames() []string {
	var places []string
	for _, name := range a.containerNames() {
		places = append(places, name+":")
	}
	return places
}

func (a *app) runningNames() []string {
	return a.names(func(c *runtime.Container) bool { return c.Status == runtime.Running })
}

func (a *app) endedNames() []string {
	return a.names(func(c *runtime.Container) bool { return c.Status != runtime.Running })
}

func (a *app) names(want func(*runtime.Container) bool) []string {
	var names []string
	list, _ := a.runtime().List()
	for _, c := range list {
		if want(c) {
			names = append(names, c.Config.Name)
		}
	}
	return names
}

func (a *app) imageNames() []string {
	var names []string
	list, _ := rootfs.OpenStore(a.root).List()
	for _, i := range list {
		if n := newShortName(i); n.repository != "" {
			names = append(names, n.String())
		}
	}
	return names
}

// volumePrefixes are what stands before the container's path in -v.
func (a *app) volumePrefixes() []string {
	names := a.volumeNames()
	for i := range names {
		names[i] += ":"
	}
	return names
}

func (a *app) allNames() []string {
	return slices.Concat(a.containerNames(), a.imageNames(), a.volumeNames())
}

func (a *app) columnNames() []string {
	var names []string
	for _, c := range topColumns() {
		names = append(names, c.name)
	}
	return names
}
