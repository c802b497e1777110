package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// A pruning is what the commands prune of images, containers and everything have
// in common.
type pruning struct {
	all, force bool
	filter     []string
}

// flags declares them; all says what --all adds, if there is that flag.
func (p *pruning) flags(c *cobra.Command, all string) {
	s := c.Flags()
	if all != "" {
		s.BoolVarP(&p.all, "all", "a", false, all)
	}
	s.StringArrayVar(&p.filter, "filter", nil, "only those for which KEY=VALUE holds: label, label!, until")
	s.BoolVarP(&p.force, "force", "f", false, "do not ask, as when standard input is no terminal")
}

// confirm asks, on a terminal, whether that is meant.
func (a *app) confirm(p pruning, what string) bool {
	if p.force || !term.IsTerminal(int(a.in.Fd())) {
		return true
	}
	fmt.Fprintf(a.err, "This removes %s.\nAre you sure you want to continue? [y/N] ", what)
	answer, _ := bufio.NewReader(a.in).ReadString('\n') // the end of the input is no yes
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// condition reads the filters: until is a moment before which a thing was made,
// "label!" wants a label not to be there.
func (p pruning) condition(now time.Time) (func(created time.Time, labels map[string]string) bool, error) {
	want, err := parseFilters(p.filter, "label", "label!", "until")
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
	return func(created time.Time, labels map[string]string) bool {
		for _, label := range want["label!"] {
			if (filters{"label": {label}}).labels(labels) {
				return false
			}
		}
		return want.labels(labels) && (until.IsZero() || created.Before(until))
	}, nil
}

func containerPruneCommand(a *app) *cobra.Command {
	var p pruning
	c := &cobra.Command{
		Use: "prune [FLAGS]", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !a.confirm(p, "all containers that have ended, with their files and logs") {
				return nil
			}
			freed, err := a.pruneContainers(p)
			return a.sayReclaimed(freed, err)
		},
	}
	p.flags(c, "")
	return c
}

// systemPruneCommand removes containers first, since they keep their images.
func systemPruneCommand(a *app) *cobra.Command {
	var p pruning
	var volumes bool
	c := &cobra.Command{
		Use: "prune [FLAGS]", Args: cobra.NoArgs,
		Long: "Prune removes the containers that have ended, the images without a name, and what is left\nof pulls that failed. Volumes stay, without --volumes.",
		RunE: func(*cobra.Command, []string) error {
			images := "images without a name"
			if p.all {
				images = "images without a container"
			}
			if volumes {
				images += ", and all volumes without a name and a container"
			}
			if !a.confirm(p, "all containers that have ended, with their files and logs, and all "+images) {
				return nil
			}
			containers, err := a.pruneContainers(p)
			if is[usageError](err) {
				return err
			}
			freed, err2 := a.pruneImages(p)
			freed += containers
			if volumes {
				n, err3 := a.pruneVolumes(pruning{filter: p.filter}) // never those with a name, as docker
				freed, err2 = freed+n, errors.Join(err2, err3)
			}
			return a.sayReclaimed(freed, errors.Join(err, err2))
		},
	}
	p.flags(c, "images with a name too, when no container uses them")
	c.Flags().BoolVar(&volumes, "volumes", false, "volumes without a name too, when no container uses them")
	return c
}

func (a *app) sayReclaimed(bytes int64, err error) error {
	if is[usageError](err) {
		return err // nothing was done
	}
	fmt.Fprintln(a.out, "Total reclaimed space: "+humanSize(bytes))
	return err
}

// pruneContainers removes those that have ended, says which, and returns the bytes
// of disk that they took.
func (a *app) pruneContainers(p pruning) (freed int64, err error) {
	choose, err := p.condition(time.Now())
	if err != nil {
		return 0, err
	}
	r := a.runtime()
	a.heal(r)
	list, err := r.List()
	errs := []error{err}
	var removed []string
	for _, c := range list {
		if c.Status != runtime.Exited || !choose(c.Config.Created, c.Config.Labels) {
			continue
		}
		n, err := r.DiskUsage(c.Config.ID)
		if err == nil {
			err = r.Remove(c.Config.ID, runtime.RemoveOptions{})
		}
		if is[*runtime.RunningError](err) || is[*runtime.NotFoundError](err) {
			continue // started, or removed, since
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		removed, freed = append(removed, c.Config.ID), freed+n
	}
	if len(removed) > 0 {
		fmt.Fprintf(a.out, "Deleted Containers:\n%s\n\n", strings.Join(removed, "\n"))
	}
	return freed, errors.Join(errs...)
}
