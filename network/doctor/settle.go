package doctor

import (
	"slices"
	"time"
)

// beginning is how long the launch of a container may take, after it is written down
// that the container runs: its loopback is not up yet, its ports are not published.
const beginning = time.Second

// moment is between two looks. What is wrong only while a container begins or ends is
// over by then, but on a machine with much to do; looks is how often that is tried.
const (
	moment = 250 * time.Millisecond
	looks  = 8
)

// Settled calls look until nothing that is wrong in the reports can be so for a moment
// only, because the container or another one just begins or ends. One that does so in
// every look is left out.
func Settled(look func() ([]*Report, error)) ([]*Report, error) {
	list, err := look()
	for range looks {
		if err != nil || !slices.ContainsFunc(list, (*Report).passing) {
			return list, err
		}
		time.Sleep(moment)
		before := list
		if list, err = look(); err != nil {
			return nil, err
		}
		for _, r := range list {
			r.confirm(before)
		}
	}
	list = slices.DeleteFunc(list, func(r *Report) bool { return r.Container != "" && r.turning() })
	for _, r := range list {
		r.Checks = slices.DeleteFunc(r.Checks, r.unconfirmed)
	}
	return list, nil
}

// passing reports whether something that is wrong may be so for a moment only.
func (r *Report) passing() bool { return r.turning() || slices.ContainsFunc(r.Checks, r.unconfirmed) }

// turning reports whether what is wrong may be that the container begins or ends.
func (r *Report) turning() bool {
	return !r.Healthy && (r.young || r.ends() && !r.confirmed["ends"])
}

// ends reports whether there is no process, or none with a namespace any more: that is
// so of every container between its end and the moment in which it is written down.
func (r *Report) ends() bool {
	return r.Cause != nil && (r.Cause.Check == "container" || r.Cause.Check == "namespace")
}

// unconfirmed reports whether the finding is a cable without a container that has been
// seen once: while a container begins or ends it has no other.
func (r *Report) unconfirmed(f Finding) bool {
	return f.Check == "leaked-link" && f.Status != OK && !r.confirmed[f.Object]
}

// confirm takes for certain what an earlier look has seen as well.
func (r *Report) confirm(before []*Report) {
	r.confirmed = map[string]bool{}
	for _, old := range before {
		if old.Container == r.Container && old.pid == r.pid && old.ends() {
			r.confirmed["ends"] = true
		}
		for _, f := range old.Checks {
			if f.Check == "leaked-link" && f.Status != OK {
				r.confirmed[f.Object] = true
			}
		}
	}
}
