package main

import (
	"errors"
	"fmt"
	"sync"

	"github.com/minictr/minictr/rootfs"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// What pull, load and import do is minictr-image's; the flags are declared here
// for the help and for completion, and handed on.

func pullCommand(a *app) *cobra.Command {
	c := &cobra.Command{Use: "pull [FLAGS] IMAGE", Args: cobra.ExactArgs(1), RunE: a.handOn("pull")}
	s := c.Flags()
	s.String("platform", "", "platform to pull, os/arch[/variant]")
	s.BoolP("quiet", "q", false, "show no progress")
	s.String("progress", "auto", "how to show progress: auto, plain or none")
	registriesFlag(c)
	return c
}

func loadCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "load [FLAGS]", Args: cobra.NoArgs, RunE: a.handOn("load"),
		Long: "Load reads images from a docker-archive, an OCI archive or an OCI layout directory,\nand prints their names.",
	}
	s := c.Flags()
	s.StringP("input", "i", "-", "archive or directory; - is standard input")
	s.String("name", "", "name for an image that has none in the archive")
	s.String("platform", "", "platform to take from an index, os/arch[/variant]")
	s.BoolP("quiet", "q", false, "show no progress")
	return c
}

func importCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "import [FLAGS] FILE|- [IMAGE]", Args: cobra.RangeArgs(1, 2), RunE: a.handOn("import"),
		Long: "Import makes an image from a tar archive of a root file system, and prints its id.",
	}
	s := c.Flags()
	s.StringArrayP("change", "c", nil, "instruction for the image's configuration, as in a Dockerfile: CMD, ENV, …")
	s.StringP("message", "m", "", "text for the image's history")
	s.String("platform", "", "platform of the root file system, os/arch[/variant]")
	return c
}

func verifyCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "verify [-q] [IMAGE…]", RunE: a.handOn("verify"),
		Long: "Verify computes every digest of the images (all, when none is named) anew, and compares\nevery unpacked layer with its diff id, file by file. It changes nothing.",
	}
	c.Flags().BoolP("quiet", "q", false, "print only what is wrong")
	return c
}

func saveCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "save [FLAGS] IMAGE…", Args: cobra.MinimumNArgs(1), RunE: a.handOn("save"),
		Long: "Save writes images into one archive, which minictr load, docker load, podman load and\n" +
			"skopeo read. Layers and digests are those that the images came with; the same images\ngive the same bytes.",
		Example: "  minictr save alpine | gzip > alpine.tar.gz\n  minictr save --format oci-archive -o images.tar alpine busybox\n  minictr save --format oci-dir -o layout alpine",
	}
	s := c.Flags()
	s.StringP("output", "o", "-", "file to write, or the directory for oci-dir; - is standard output")
	s.String("format", "docker-archive", "docker-archive, oci-archive or oci-dir")
	s.String("platform", "", "fail unless the image is for this platform, os/arch[/variant]")
	return c
}

func tagCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "tag IMAGE NAME[:TAG]", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			target, err := rootfs.ParseReference(args[1])
			if err != nil {
				return err
			}
			_, err = rootfs.OpenStore(a.root).Tag(args[0], target)
			return err
		},
	}
}

// handOn runs the command of minictr-image with the flags and arguments of this
// one.
func (a *app) handOn(name string) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		handed := []string{name}
		c.Flags().Visit(func(f *pflag.Flag) {
			if c.InheritedFlags().Lookup(f.Name) != nil {
				return // minictr's own
			}
			values := []string{f.Value.String()}
			if list, ok := f.Value.(pflag.SliceValue); ok {
				values = list.GetSlice()
			}
			for _, v := range values {
				handed = append(handed, "--"+f.Name+"="+v)
			}
		})
		return a.imageProgram(append(append(handed, "--"), args...)...)
	}
}

func rmiCommand(a *app) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "rmi [-f] IMAGE…", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, names []string) error {
			var errs []error
			for _, name := range names {
				errs = append(errs, a.removeImage(name, force))
			}
			return errors.Join(errs...)
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "take the name from an image that a container uses; an image that does not exist is no error")
	return c
}

// removeImage takes an image away and prints what went.
func (a *app) removeImage(name string, force bool) error {
	inUse, err := a.usedImages()
	if err != nil {
		return err
	}
	removed, err := rootfs.OpenStore(a.root).Remove(name, rootfs.RemoveOptions{InUse: inUse, Force: force})
	if force && is[*rootfs.NotFoundError](err) {
		return nil
	}
	a.sayRemoved(removed)
	return err
}

func (a *app) sayRemoved(removed rootfs.Removed) {
	for _, reference := range removed.Untagged {
		if ref, err := rootfs.ParseReference(reference); err == nil {
			reference = ref.Familiar()
		}
		fmt.Fprintln(a.out, "Untagged: "+reference)
	}
	if removed.Deleted != "" {
		fmt.Fprintln(a.out, "Deleted: "+removed.Deleted)
	}
}

// usedImages returns whether a container, running or not, uses an image. It is
// asked while no run can begin to use one, so the containers are read then, once.
func (a *app) usedImages() (func(id string) bool, error) {
	r := a.runtime()
	if err := r.Heal(); err != nil {
		return nil, err
	}
	if _, err := r.List(); err != nil {
		return nil, err
	}
	ids := sync.OnceValue(func() map[string]bool { // nil if they cannot be read
		list, err := r.List()
		if err != nil {
			return nil
		}
		used := map[string]bool{}
		for _, c := range list {
			used[c.Config.Image.ID] = true
		}
		return used
	})
	return func(id string) bool {
		used := ids()
		return used == nil || used[id] // not known to be free
	}, nil
}
