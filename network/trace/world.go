package trace

import (
	"net/netip"
	"slices"
	"sync"
)

// A world is the places of a request, as far as they were looked at.
type world struct {
	request    Request
	from, host *ground
	grounds    []*ground // all of them, from first
	places     []Place   // the others, of which not all are looked at
	probe      *probe
	drops      *dropWatch // nil where the kernel gives no reasons
}

// newWorld looks at the two places that matter in any case.
func newWorld(r Request) (w *world, err error) {
	w = &world{request: r}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.host, err = explore(r.Host); err != nil {
		return nil, err
	}
	w.grounds = append(w.grounds, w.host)
	if w.from, err = explore(r.From); err != nil {
		return nil, err
	}
	if w.from.inode == w.host.inode {
		w.from.close()
		w.from = w.host
	} else {
		w.grounds = append([]*ground{w.from}, w.grounds...)
	}
	w.places = r.Others
	if r.Target.Path != "" {
		w.add(r.Target)
	}
	w.probe = &probe{protocol: r.Protocol}
	w.probe.flow.Destination = netip.AddrPortFrom(r.To, r.Port)
	return w, nil
}

// add looks at another place, unless it has been. A namespace that has vanished
// meanwhile is none.
func (w *world) add(p Place) {
	g, err := explore(p)
	if err != nil {
		return
	}
	if slices.ContainsFunc(w.grounds, func(old *ground) bool { return old.inode == g.inode }) {
		g.close()
		return
	}
	w.grounds = append(w.grounds, g)
}

func (w *world) close() {
	var closing sync.WaitGroup // each waits for the kernel's readers, 10 ms and more
	for _, g := range w.grounds {
		closing.Go(g.close)
	}
	closing.Wait()
}

// explorePlan looks at the places on the way that a static walk foresees, and
// notes the ports that the destination will have. Where the walk sees no end, all
// that cables lead to may be on the way; where no cable leads, no packet comes, and
// nothing of ours is put there.
func (w *world) explorePlan() {
	p := newPlanner(w)
	p.there()
	for _, n := range p.marks {
		w.probe.seen = append(w.probe.seen, n.after.Destination.Port())
	}
	if p.arrived() {
		return
	}
	for i := 0; i < len(w.grounds); i++ { // it grows
		for _, l := range w.grounds[i].links {
			if len(w.grounds) > maxUnforeseen {
				return
			}
			w.findPeer(w.grounds[i], l)
		}
	}
}

// maxUnforeseen is how many places are looked at that the walk does not lead to.
const maxUnforeseen = 16
