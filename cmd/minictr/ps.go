package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
)

// psFlags choose which containers are listed, and how.
type psFlags struct {
	all, quiet, noTrunc, latest bool
	last                        int
	filter                      []string
	format                      string
}

func psCommand(a *app) *cobra.Command {
	var f psFlags
	c := &cobra.Command{
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.ps(f) },
	}
	s := c.Flags()
	s.BoolVarP(&f.all, "all", "a", false, "those that have ended too")
	s.BoolVarP(&f.quiet, "quiet", "q", false, "ids only")
	s.BoolVar(&f.noTrunc, "no-trunc", false, "cut nothing off")
	s.BoolVarP(&f.latest, "latest", "l", false, "the one made last, in any state")
	s.IntVarP(&f.last, "last", "n", -1, "the `N` made last, in any state")
	s.StringArrayVarP(&f.filter, "filter", "f", nil, "only those for which KEY=VALUE holds: "+strings.Join(psFilters(), ", "))
	s.StringVar(&f.format, "format", "", formatHelp)
	return c
}

func psColumns() []string {
	return []string{"ID", "Image", "Command", "RunningFor", "Status", "Ports", "IP", "Names"}
}

func psFilters() []string {
	return []string{"ancestor", "exited", "id", "label", "name", "network", "status", "volume"}
}

// ps prints the containers: those that can be read, when others cannot.
func (a *app) ps(f psFlags) error {
	want, err := f.match(rootfs.OpenStore(a.root))
	if err != nil {
		return err
	}
	r := a.runtime()
	healed := r.Heal()
	list, listed := r.List()
	list = slices.DeleteFunc(list, func(c *runtime.Container) bool { return !want(c) })
	if f.latest {
		f.last = 1
	}
	if f.last >= 0 {
		list = list[:min(len(list), f.last)]
	}
	var rows []any
	now := time.Now()
	for _, c := range list {
		rows = append(rows, newPsRow(c, now, f.noTrunc))
	}
	l := listing{format: f.format, columns: psColumns()}
	if f.quiet {
		l.quiet = "ID"
	}
	return errors.Join(a.list(l, rows, psRow{}), healed, listed)
}

// match turns the flags into a condition. Without a filter for the state, and
// without -a, -n and -l, it is that the container runs.
func (f psFlags) match(store *rootfs.Store) (func(*runtime.Container) bool, error) {
	want, err := parseFilters(f.filter, psFilters()...)
	if err != nil {
		return nil, err
	}
	var names []*regexp.Regexp
	for _, text := range want["name"] {
		expression, err := regexp.Compile(text)
		if err != nil {
			return nil, usageError{fmt.Errorf("--filter name=%s: %w", text, err)}
		}
		names = append(names, expression)
	}
	for _, text := range want["exited"] {
		if _, err := strconv.Atoi(text); err != nil {
			return nil, usageError{fmt.Errorf("--filter exited=%s: not an exit code", text)}
		}
	}
	for _, text := range want["status"] {
		if !slices.Contains([]string{string(runtime.Created), string(runtime.Running), string(runtime.Exited)}, text) {
			return nil, usageError{fmt.Errorf("--filter status=%s: there are created, running and exited", text)}
		}
	}
	ancestors := imageIDs(store, want["ancestor"])
	anyState := f.all || f.latest || f.last >= 0 || len(want["status"])+len(want["exited"]) > 0
	return func(c *runtime.Container) bool {
		return (anyState || c.Status == runtime.Running) &&
			(len(names) == 0 || slices.ContainsFunc(names, func(e *regexp.Regexp) bool {
				return e.MatchString(c.Config.Name) || e.MatchString("/"+c.Config.Name) // Docker's names begin with /
			})) &&
			want.any("id", func(id string) bool { return strings.HasPrefix(c.Config.ID, id) }) &&
			want.any("status", func(s string) bool { return s == string(c.Status) }) &&
			want.any("exited", func(code string) bool {
				return c.Status == runtime.Exited && strconv.Itoa(c.Result.ExitCode) == strings.TrimLeft(code, "+")
			}) &&
			want.any("network", func(n string) bool { return slices.Contains(networkNames(c.Config), n) }) &&
			want.any("volume", func(v string) bool { return hasMount(c.Config, v) }) &&
			want.any("ancestor", func(name string) bool { return isAncestor(c.Config.Image, name, ancestors[name]) }) &&
			want.labels(c.Config.Labels)
	}, nil
}

// hasMount reports whether something is mounted in the container from the volume
// or the directory, or at the path.
func hasMount(c *runtime.Config, what string) bool {
	return slices.ContainsFunc(c.Mounts, func(m runtime.Mount) bool {
		return m.Type != "tmpfs" && m.Source == what || m.Destination == what
	})
}

// imageIDs looks the names up in the store; one that it does not have may be
// the name of an image that is gone.
func imageIDs(store *rootfs.Store, names []string) map[string]string {
	ids := map[string]string{}
	for _, name := range names {
		if image, err := store.Lookup(name); err == nil {
			ids[name] = image.ID
		}
	}
	return ids
}

func isAncestor(i runtime.Image, name, id string) bool {
	return i.Reference == name || id != "" && i.ID == id || len(name) >= 4 && strings.HasPrefix(strings.TrimPrefix(i.ID, "sha256:"), strings.TrimPrefix(name, "sha256:"))
}

// psRow is a line of ps; the fields are Docker's, and IP is ours.
type psRow struct {
	ID         string `head:"CONTAINER ID"`
	Image      string
	Command    string
	CreatedAt  string `head:"CREATED AT"`
	RunningFor string `head:"CREATED"`
	Status     string
	State      string
	Ports      string
	IP         string
	Names      string
	Labels     string
	Networks   string
	Mounts     string
	Pid        string

	labels map[string]string
}

func (r psRow) labelMap() map[string]string { return r.labels }

func newPsRow(c *runtime.Container, now time.Time, whole bool) psRow {
	row := psRow{
		ID: c.Config.ID, Image: terminal.Visible(imageName(c.Config.Image)), Command: terminal.Visible(strings.Join(c.Config.Args, " ")),
		CreatedAt:  c.Config.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"),
		RunningFor: ago(now, c.Config.Created),
		Status:     status(c, now), State: string(c.Status), Names: c.Config.Name,
		Labels: labelList(c.Config.Labels), Networks: strings.Join(networkNames(c.Config), ","), labels: c.Config.Labels,
		Pid: strconv.Itoa(c.Pid()),
	}
	row.IP = ipOf(c)
	var ports []string
	for _, p := range boundPorts(c) {
		ports = append(ports, p.Mapping())
	}
	row.Ports = strings.Join(ports, ", ")
	var mounts []string
	for _, m := range c.Config.Mounts {
		name := terminal.Visible(firstOf(m.Source, m.Destination))
		if !whole {
			name = terminal.Ellipsis(name, 15) // as docker ps
		}
		mounts = append(mounts, name)
	}
	row.Mounts = strings.Join(mounts, ",")
	if !whole {
		row.ID, row.Command = shortID(row.ID), terminal.Ellipsis(row.Command, 20)
	}
	row.Command = `"` + row.Command + `"`
	return row
}

// imageName is what the user called the image, or the directory of --rootfs.
func imageName(i runtime.Image) string { return firstOf(i.Reference, shortID(i.ID), i.Rootfs) }

// ipOf is the first address of a running container; empty when it has none.
func ipOf(c *runtime.Container) string {
	if c.Status != runtime.Running || c.State.Network == nil {
		return ""
	}
	for _, e := range c.State.Network.Endpoints {
		for _, a := range e.Interface.Addresses() {
			return a.Addr().String()
		}
	}
	return ""
}

// networkNames are how the --network flags would be spelt.
func networkNames(c *runtime.Config) []string {
	n := c.Network
	if n.Join != "" {
		return []string{n.Mode + ":" + n.Join}
	}
	var names []string
	for _, u := range n.Uses {
		names = append(names, u.Network)
	}
	if len(names) == 0 {
		names = []string{n.Mode}
	}
	return names
}

func labelList(labels map[string]string) string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		list = append(list, key+"="+labels[key])
	}
	return terminal.Visible(strings.Join(list, ","))
}

// status says in Docker's words what the container is doing.
func status(c *runtime.Container, now time.Time) string {
	switch c.Status {
	case runtime.Running:
		return "Up " + humanDuration(now.Sub(c.State.Started))
	case runtime.Exited:
		return strings.TrimSpace(fmt.Sprintf("Exited (%d) %s", c.Result.ExitCode, ago(now, c.Result.Finished)))
	}
	return "Created"
}
