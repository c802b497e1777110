package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
)

func systemCommand(a *app) *cobra.Command {
	return a.group("system", []command{
		{"df", "", "print what images, containers and volumes take on the disk", dfCommand},
		{"prune", "", "remove containers that have ended, and images without a name", systemPruneCommand},
	})
}

// dfFlags choose how the disk usage is printed.
type dfFlags struct {
	verbose bool
	format  string
}

func dfCommand(a *app) *cobra.Command {
	var f dfFlags
	c := &cobra.Command{
		Use: "df [FLAGS]", Args: cobra.NoArgs,
		Long: "Df measures what lies on the disk: the images' blobs and unpacked layers, those that several\n" +
			"images share once; the containers' own layers and logs; volumes.",
		RunE: func(*cobra.Command, []string) error {
			u, err := a.measure()
			if err != nil {
				return err
			}
			return a.printUsage(u, f)
		},
	}
	s := c.Flags()
	s.BoolVarP(&f.verbose, "verbose", "v", false, "every image, container and volume")
	s.StringVar(&f.format, "format", "", formatHelp)
	return c
}

// diskUsage is everything that was measured, in bytes.
type diskUsage struct {
	images     []*rootfs.Image // one for each name
	store      rootfs.Usage
	containers []usedContainer
	volumes    []usedVolume
}

type usedContainer struct {
	*runtime.Container
	bytes int64
}

type usedVolume struct {
	name  string
	bytes int64
	links int // containers that use it
}

func (a *app) measure() (u diskUsage, err error) {
	r := a.runtime()
	a.heal(r)
	list, err := r.List()
	if err != nil {
		return u, err
	}
	for _, c := range list {
		n, err := r.DiskUsage(c.Config.ID)
		if err != nil {
			return u, err
		}
		u.containers = append(u.containers, usedContainer{c, n})
	}
	store := rootfs.OpenStore(a.root)
	if u.images, err = store.List(); err != nil {
		return u, err
	}
	if u.store, err = store.Usage(); err != nil {
		return u, err
	}
	u.volumes, err = a.measureVolumes(list)
	return u, err
}

// measureVolumes looks for volumes/NAME/_data.
func (a *app) measureVolumes(containers []*runtime.Container) (volumes []usedVolume, err error) {
	dirs, err := os.ReadDir(filepath.Join(a.root, "volumes"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, dir := range dirs {
		v := usedVolume{name: dir.Name()}
		data := filepath.Join(a.root, "volumes", v.name, "_data")
		if _, err := os.Lstat(data); err != nil {
			continue // being made, or a directory of the host by another name
		}
		if v.bytes, err = rootfs.DiskUsage(data); err != nil {
			return nil, err
		}
		for _, c := range containers {
			if slices.ContainsFunc(c.Config.Mounts, func(m runtime.Mount) bool { return m.Type == "volume" && m.Source == v.name }) {
				v.links++
			}
		}
		volumes = append(volumes, v)
	}
	return volumes, nil
}

// containersOf is how many containers use an image.
func (u diskUsage) containersOf(id string) (n int) {
	for _, c := range u.containers {
		if c.Config.Image.ID == id {
			n++
		}
	}
	return n
}

// dfRow is a line of system df; the fields are Docker's.
type dfRow struct {
	Type        string
	TotalCount  string `head:"TOTAL"`
	Active      string
	Size        string
	Reclaimable string
}

func newDfRow(kind string, total, active int, size, reclaimable int64) dfRow {
	row := dfRow{kind, strconv.Itoa(total), strconv.Itoa(active), humanSize(size), humanSize(reclaimable)}
	if size > 0 {
		row.Reclaimable += fmt.Sprintf(" (%d%%)", reclaimable*100/size)
	}
	return row
}

func (u diskUsage) rows() []any { return []any{u.imagesRow(), u.containersRow(), u.volumesRow()} }

func (u diskUsage) imagesRow() dfRow {
	active := map[string]bool{}
	for _, i := range u.images {
		active[i.ID] = u.containersOf(i.ID) > 0
	}
	n := 0
	for _, used := range active {
		if used {
			n++
		}
	}
	return newDfRow("Images", len(active), n, u.store.Total(), u.store.Reclaimable(func(id string) bool { return active[id] }))
}

func (u diskUsage) containersRow() dfRow {
	var running int
	var size, reclaimable int64
	for _, c := range u.containers {
		size += c.bytes
		if c.Status == runtime.Running {
			running++
		} else {
			reclaimable += c.bytes
		}
	}
	return newDfRow("Containers", len(u.containers), running, size, reclaimable)
}

func (u diskUsage) volumesRow() dfRow {
	var active int
	var size, reclaimable int64
	for _, v := range u.volumes {
		size += v.bytes
		if v.links > 0 {
			active++
		} else {
			reclaimable += v.bytes
		}
	}
	return newDfRow("Local Volumes", len(u.volumes), active, size, reclaimable)
}

func (a *app) printUsage(u diskUsage, f dfFlags) error {
	if f.verbose {
		return a.printEachUsage(u, f.format)
	}
	return a.list(listing{format: f.format, columns: []string{"Type", "TotalCount", "Active", "Size", "Reclaimable"}}, u.rows(), dfRow{})
}

// dfView is what system df -v prints, as docker has it.
type dfView struct{ Images, Containers, Volumes []any }

func (a *app) printEachUsage(u diskUsage, format string) error {
	v := u.view(time.Now())
	switch format {
	case "", "table":
	case "json":
		return terminal.JSONLines(a.out, []any{v})
	default:
		return a.template(format, []any{v}, nil)
	}
	var errs []error
	for _, t := range []struct {
		head    string
		columns []string
		rows    []any
		row     any
	}{
		{"Images", []string{"Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers"}, v.Images, dfImageRow{}},
		{"Containers", []string{"ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names"}, v.Containers, dfContainerRow{}},
		{"Local Volumes", []string{"Name", "Links", "Size"}, v.Volumes, dfVolumeRow{}},
	} {
		fmt.Fprintf(a.out, "%s space usage:\n\n", t.head)
		errs = append(errs, a.list(listing{columns: t.columns}, t.rows, t.row))
		fmt.Fprintln(a.out)
	}
	if rest := u.store.Reclaimable(func(string) bool { return true }); rest > 0 {
		fmt.Fprintf(a.out, "Beside them %s that no image needs; minictr image prune removes it.\n", humanSize(rest))
	}
	return errors.Join(errs...)
}

type dfImageRow struct {
	imageRow

	SharedSize string `head:"SHARED SIZE"`
	UniqueSize string `head:"UNIQUE SIZE"`
	Containers string
}

type dfContainerRow struct {
	psRow

	LocalVolumes string `head:"LOCAL VOLUMES"`
	Size         string
}

type dfVolumeRow struct {
	Name  string `head:"VOLUME NAME"`
	Links string
	Size  string
}

func (u diskUsage) view(now time.Time) dfView {
	v := dfView{[]any{}, []any{}, []any{}}
	for _, i := range u.images {
		shared, unique := u.store.Of(i.ID)
		row := dfImageRow{newImageRow(i, newShortName(i), now, false), humanSize(shared), humanSize(unique), strconv.Itoa(u.containersOf(i.ID))}
		row.Size = humanSize(shared + unique)
		v.Images = append(v.Images, row)
	}
	for _, c := range u.containers {
		volumes := 0
		for _, m := range c.Config.Mounts {
			if m.Type == "volume" {
				volumes++
			}
		}
		v.Containers = append(v.Containers, dfContainerRow{newPsRow(c.Container, now, false), strconv.Itoa(volumes), humanSize(c.bytes)})
	}
	for _, one := range u.volumes {
		v.Volumes = append(v.Volumes, dfVolumeRow{terminal.Visible(one.name), strconv.Itoa(one.links), humanSize(one.bytes)})
	}
	return v
}
