package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/minictr/minictr/rootfs"
	"github.com/spf13/cobra"
)

// pruneCommand removes the images that have no name, or all that no container
// uses, and what is left of pulls that failed.
func pruneCommand(a *app) *cobra.Command {
	var all bool
	var filter []string
	c := &cobra.Command{
		Use: "prune [FLAGS]", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.pruneImages(all, filter) },
	}
	s := c.Flags()
	s.BoolVarP(&all, "all", "a", false, "those with a name too, when no container uses them")
	s.StringArrayVar(&filter, "filter", nil, "only those for which KEY=VALUE holds: label, label!, until")
	s.BoolP("force", "f", false, "accepted for docker's sake: nothing is asked")
	return c
}

// pruneImages removes images and says what went and what that freed.
func (a *app) pruneImages(all bool, filter []string) error {
	choose, err := imageFilter(filter, time.Now())
	if err != nil {
		return err
	}
	inUse, err := a.usedImages()
	if err != nil {
		return err
	}
	pruned, err := rootfs.OpenStore(a.root).PruneImages(rootfs.PruneOptions{InUse: inUse, Named: all, Choose: choose})
	if len(pruned.Removed) > 0 {
		fmt.Fprintln(a.out, "Deleted Images:")
		for _, r := range pruned.Removed {
			a.sayRemoved(r)
		}
		fmt.Fprintln(a.out)
	}
	fmt.Fprintln(a.out, "Total reclaimed space: "+humanSize(pruned.Freed))
	return err
}

// imageFilter reads the filters of image prune: until is a moment before which
// the image was made, "label!" wants a label not to be there.
func imageFilter(list []string, now time.Time) (func(*rootfs.Image) bool, error) {
	want, err := parseFilters(list, "label", "label!", "until")
	if err != nil {
		return nil, err
	}
	var until time.Time
	if len(want["until"]) > 1 {
		return nil, usageError{errors.New("--filter until: more than one")}
	}
	if text := strings.Join(want["until"], ""); len(want["until"]) > 0 {
		if until, err = parseMoment(text, now); err == nil && until.IsZero() {
			err = errors.New("is empty")
		}
		if err != nil {
			return nil, usageError{fmt.Errorf("--filter until=%s: %w", text, err)}
		}
	}
	return func(i *rootfs.Image) bool {
		for _, label := range want["label!"] {
			if (filters{"label": {label}}).labels(i.Config.Labels) {
				return false
			}
		}
		return want.labels(i.Config.Labels) && (until.IsZero() || i.Created.Before(until))
	}, nil
}
