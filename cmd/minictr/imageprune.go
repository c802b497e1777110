package main

import (
	"fmt"
	"time"

	"github.com/minictr/minictr/rootfs"
	"github.com/spf13/cobra"
)

// pruneCommand removes the images that have no name, or all that no container
// uses, and what is left of pulls that failed.
func pruneCommand(a *app) *cobra.Command {
	var p pruning
	c := &cobra.Command{
		Use: "prune [FLAGS]", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			what := "all images without a name"
			if p.all {
				what = "all images without a container"
			}
			if !a.confirm(p, what) {
				return nil
			}
			freed, err := a.pruneImages(p)
			return a.sayReclaimed(freed, err)
		},
	}
	p.flags(c, "those with a name too, when no container uses them")
	return c
}

// pruneImages removes images, says which, and returns the bytes of disk that this
// freed.
func (a *app) pruneImages(p pruning) (freed int64, err error) {
	choose, err := p.condition(time.Now())
	if err != nil {
		return 0, err
	}
	inUse, err := a.usedImages()
	if err != nil {
		return 0, err
	}
	pruned, err := rootfs.OpenStore(a.root).PruneImages(rootfs.PruneOptions{
		InUse: inUse, Named: p.all,
		Choose: func(i *rootfs.Image) bool { return choose(i.Created, i.Config.Labels) },
	})
	if len(pruned.Removed) > 0 {
		fmt.Fprintln(a.out, "Deleted Images:")
		for _, r := range pruned.Removed {
			a.sayRemoved(r)
		}
		fmt.Fprintln(a.out)
	}
	return pruned.Freed, err
}
