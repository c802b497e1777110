package main

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/minictr/minictr/rootfs"
	"github.com/spf13/cobra"
)

// imagesFlags choose which images are listed, and how.
type imagesFlags struct {
	quiet, noTrunc, digests bool
	filter                  []string
	format                  string
}

func imagesCommand(a *app) *cobra.Command {
	var f imagesFlags
	c := &cobra.Command{
		Use: "images [FLAGS] [REPOSITORY[:TAG]]", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.images(f, args) },
	}
	s := c.Flags()
	s.BoolP("all", "a", false, "accepted for docker's sake: there are no intermediate images")
	s.BoolVarP(&f.quiet, "quiet", "q", false, "ids only")
	s.BoolVar(&f.noTrunc, "no-trunc", false, "cut nothing off")
	s.BoolVar(&f.digests, "digests", false, "show digests")
	s.StringArrayVarP(&f.filter, "filter", "f", nil, "only those for which KEY=VALUE holds: reference, label, dangling")
	s.StringVar(&f.format, "format", "", formatHelp)
	return c
}

// images prints the images of the store.
func (a *app) images(f imagesFlags, args []string) error {
	want, err := parseFilters(f.filter, "dangling", "label", "reference")
	if err != nil {
		return err
	}
	list, err := rootfs.OpenStore(a.root).List()
	if err != nil {
		return err
	}
	slices.SortStableFunc(list, func(a, b *rootfs.Image) int { return b.Created.Compare(a.Created) })
	var rows []any
	now := time.Now()
	for _, i := range list {
		n := newShortName(i)
		if !want.labels(i.Config.Labels) ||
			!want.any("reference", n.matches) ||
			!want.any("dangling", func(v string) bool { return (v == "true" || v == "1") == (i.Reference == "") }) ||
			len(args) > 0 && !n.matches(args[0]) {
			continue
		}
		row := newImageRow(i, n, now, f.noTrunc)
		if f.quiet && slices.ContainsFunc(rows, func(r any) bool { return r.(imageRow).ID == row.ID }) {
			continue // an image of several names
		}
		rows = append(rows, row)
	}
	l := listing{format: f.format, columns: []string{"Repository", "Tag", "ID", "CreatedSince", "Size"}}
	if f.digests {
		l.columns = slices.Insert(l.columns, 2, "Digest")
	}
	if f.quiet {
		l.quiet = "ID"
	}
	return a.list(l, rows, imageRow{})
}

// shortName is a reference in the short form that Docker prints.
type shortName struct{ repository, tag, digest string }

func newShortName(i *rootfs.Image) shortName {
	n := shortName{digest: i.Digest}
	ref, err := rootfs.ParseReference(i.Reference)
	if err != nil {
		return n // it has no name
	}
	tag := ref.Tag
	ref.Tag, ref.Digest = "", ""
	n.repository, n.tag = strings.TrimSuffix(ref.Familiar(), ":latest"), tag
	return n
}

// String is how a user would type it.
func (n shortName) String() string {
	if n.tag == "" {
		return n.repository + "@" + n.digest
	}
	return n.repository + ":" + n.tag
}

// matches reports whether the name fits a pattern of path.Match for the
// repository or for repository and tag, as docker's filter reference does.
func (n shortName) matches(pattern string) bool {
	for _, name := range []string{n.repository, n.repository + ":" + n.tag, path.Base(n.repository), path.Base(n.repository) + ":" + n.tag} {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return false
}

// imageRow is a line of images; the fields are Docker's.
type imageRow struct {
	Repository   string
	Tag          string
	Digest       string
	ID           string `head:"IMAGE ID"`
	CreatedSince string `head:"CREATED"`
	CreatedAt    string `head:"CREATED AT"`
	Size         string
}

func newImageRow(i *rootfs.Image, n shortName, now time.Time, whole bool) imageRow {
	row := imageRow{
		Repository: cmp.Or(n.repository, "<none>"), Tag: cmp.Or(n.tag, "<none>"), Digest: cmp.Or(n.digest, "<none>"),
		ID: i.ID, CreatedSince: cmp.Or(ago(now, i.Created), "N/A"), CreatedAt: i.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"),
		Size: humanSize(i.Size()),
	}
	if !whole {
		row.ID = shortID(i.ID)
	}
	return row
}

func joinPaths(paths []string) string { return strings.Join(paths, ":") }
