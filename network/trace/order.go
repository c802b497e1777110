package trace

import "slices"

// Within one namespace the sightings are in the order in which the kernel had
// them, since one socket sees all links. Between namespaces the order is that of
// the cables: what went out at one end of a pair comes in at the other. The
// kernel's times do not tell: it gives none for a moment after the first socket
// has asked for them, and then the time of reading stands there.

// inOrder merges the sightings of the places, beginning at the one of the first
// if it is known.
func (w *world) inOrder(queues map[*ground][]sighting, first *ground) (list []located) {
	at := first
	var last *sighting
	for {
		if last != nil && last.outgoing {
			if peer, other, ok := w.peerOf(at, at.link(last.link)); ok && startsAt(queues[other], peer) {
				at = other
			}
		}
		if at == nil || len(queues[at]) == 0 {
			if at = w.nextPlace(queues); at == nil {
				return list
			}
		}
		next := queues[at][0]
		queues[at] = queues[at][1:]
		list = append(list, located{next, at})
		last = &next
	}
}

// startsAt is true if what comes next in a place is the packet at the link.
func startsAt(queue []sighting, l link) bool {
	return len(queue) > 0 && !queue[0].outgoing && queue[0].link == l.index
}

// nextPlace is where the packet is seen first, when no cable tells: where a
// socket has made it; where it came in from outside; else where it was earliest.
func (w *world) nextPlace(queues map[*ground][]sighting) *ground {
	var candidates []*ground
	for _, g := range w.grounds {
		if len(queues[g]) > 0 {
			candidates = append(candidates, g)
		}
	}
	rank := func(g *ground) int {
		head := queues[g][0]
		if head.outgoing {
			return 0
		}
		if _, other, ok := w.peerOf(g, g.link(head.link)); !ok || len(queues[other]) == 0 {
			return 1
		}
		return 2
	}
	if len(candidates) == 0 {
		return nil
	}
	return slices.MinFunc(candidates, func(a, b *ground) int {
		if order := rank(a) - rank(b); order != 0 {
			return order
		}
		return queues[a][0].at.Compare(queues[b][0].at)
	})
}
