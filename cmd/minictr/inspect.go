package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
)

// inspectFlags choose what is inspected, and how it is printed.
type inspectFlags struct{ format, kind string }

func inspectCommand(a *app) *cobra.Command {
	var f inspectFlags
	c := &cobra.Command{
		Use: "inspect [FLAGS] NAME…", Args: cobra.MinimumNArgs(1),
		Long: "Inspect prints everything about containers and images as JSON. What a container has in\n" +
			"the kernel (namespaces, veth, rules, cgroups, processes) is read at this moment.",
		Example: "  minictr inspect -f '{{.State.Pid}}' web\n  minictr inspect -f '{{.NetworkSettings.IPAddress}}' web",
		RunE:    func(_ *cobra.Command, names []string) error { return a.inspect(names, f) },
	}
	c.Flags().StringVarP(&f.format, "format", "f", "", "print it as \"json\" on one line, or as a Go template")
	c.Flags().StringVar(&f.kind, "type", "", "container or image; by default what the name fits first")
	return c
}

// inspect prints what there is, and then fails for names that are nothing.
func (a *app) inspect(names []string, f inspectFlags) error {
	find, ok := map[string]func(string) (any, error){
		"": a.inspectAny, "container": a.inspectContainer, "image": a.inspectImage,
	}[f.kind]
	if !ok {
		return usageError{fmt.Errorf("--type %q: there are container and image", f.kind)}
	}
	a.heal(a.runtime())
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
		return printJSON(a.out, views)
	case "json":
		return printLines(a.out, []any{views})
	}
	return a.template(format, views, nil)
}

// notFoundError is a name of nothing.
type notFoundError struct{ name string }

func (e *notFoundError) Error() string { return "inspect " + e.name + ": no such container or image" }

// inspectAny takes the name for that of a container, and then of an image.
func (a *app) inspectAny(name string) (any, error) {
	v, err := a.inspectContainer(name)
	if !is[*runtime.NotFoundError](err) {
		return v, err
	}
	image, err := a.inspectImage(name)
	if err != nil {
		return nil, &notFoundError{name}
	}
	return image, nil
}

// imageView is what inspect prints of an image, as docker image inspect does.
type imageView struct {
	ID           string `json:"Id"`
	RepoTags     []string
	RepoDigests  []string
	Created      time.Time
	Config       imageConfigView
	Architecture string
	Variant      string `json:",omitempty"`
	Os           string
	Size         int64 // bytes
	GraphDriver  graphDriverView
	RootFS       struct {
		Type   string
		Layers []string
	}
	Metadata struct{ LastTagTime time.Time }

	Manifest string // digest of the manifest for this platform
}

type imageConfigView struct {
	User         string
	ExposedPorts map[string]struct{}
	Env          []string
	Cmd          []string
	Entrypoint   []string
	Volumes      map[string]struct{}
	WorkingDir   string
	Labels       map[string]string
	StopSignal   string
}

func (a *app) inspectImage(name string) (any, error) {
	store := rootfs.OpenStore(a.root)
	image, err := store.Lookup(name)
	if err != nil {
		return nil, err
	}
	all, err := store.List()
	if err != nil {
		return nil, err
	}
	return newImageView(image, all), nil
}

// newImageView describes the image, with all names that it has.
func newImageView(i *rootfs.Image, all []*rootfs.Image) *imageView {
	c := i.Config
	v := &imageView{
		ID: i.ID, RepoTags: []string{}, RepoDigests: []string{}, Created: i.Created.UTC(), Manifest: i.Manifest,
		Config:       imageConfigView{c.User, c.ExposedPorts, c.Env, c.Cmd, c.Entrypoint, c.Volumes, c.WorkingDir, c.Labels, c.StopSignal},
		Architecture: c.Architecture, Variant: c.Variant, Os: c.OS, Size: i.Size(),
	}
	v.RootFS.Type = "layers"
	v.Metadata.LastTagTime = i.Added.UTC()
	for _, l := range i.Layers {
		v.RootFS.Layers = append(v.RootFS.Layers, l.DiffID)
	}
	v.GraphDriver = graphDriverView{"overlay", map[string]string{"LowerDir": joinPaths(i.Lower())}}
	for _, other := range all {
		if other.ID != i.ID || other.Reference == "" {
			continue
		}
		n := newShortName(other)
		if n.tag != "" {
			v.RepoTags = append(v.RepoTags, n.repository+":"+n.tag)
		}
		if other.Digest != "" {
			v.RepoDigests = append(v.RepoDigests, n.repository+"@"+other.Digest)
		}
	}
	return v
}
