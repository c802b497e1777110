package capture

import (
	"bytes"
	"hash/maphash"
	"slices"
	"time"
)

// A Sighting is one packet, and the places that saw it, in their order.
type Sighting struct {
	Direction Direction
	Copies    []Copy // in the order in which the packet passes: its direction says so
	Missed    int    // the place at the other end of the cable, which did not see it; -1: none
}

// At is when it was seen where it passes first.
func (s *Sighting) At() time.Time { return s.Copies[0].At }

// patience is how long a copy waits for its other half. Between two ends of a cable
// lie microseconds; between two sockets that are read, a scheduler.
const patience = 100 * time.Millisecond

// A Merger joins the copies of a packet that were taken at both ends of a cable. It is
// pure: time comes with the copies, and with Take.
type Merger struct {
	places  []Place
	seed    maphash.Seed
	waiting map[uint64][]*Sighting // by what is in them; those with one copy
	list    []*Sighting            // all that was not taken yet
}

// NewMerger makes a merger for copies of the places.
func NewMerger(places []Place) *Merger {
	return &Merger{places: places, seed: maphash.MakeSeed(), waiting: map[uint64][]*Sighting{}}
}

// Add takes a copy.
func (m *Merger) Add(c Copy) {
	other := m.places[c.Place].Other
	if other < 0 {
		m.list = append(m.list, &Sighting{Direction: c.Direction, Copies: []Copy{c}, Missed: -1})
		return
	}
	key := m.key(c)
	for i, s := range m.waiting[key] {
		if s.Copies[0].Place != other || s.Copies[0].Length != c.Length || s.Direction != c.Direction || !bytes.Equal(s.Copies[0].Bytes, c.Bytes) || c.At.Sub(s.At()).Abs() > patience {
			continue
		}
		s.Copies, s.Missed = append(s.Copies, c), -1
		if m.first(c) {
			slices.Reverse(s.Copies)
		}
		m.forget(key, i)
		return
	}
	s := &Sighting{Direction: c.Direction, Copies: []Copy{c}, Missed: other}
	m.waiting[key] = append(m.waiting[key], s)
	m.list = append(m.list, s)
}

// first reports whether the place is where packets of that direction are first.
func (m *Merger) first(c Copy) bool {
	return (m.places[c.Place].Role == Inside) == (c.Direction == Out)
}

func (m *Merger) key(c Copy) uint64 { return maphash.Bytes(m.seed, c.Bytes) ^ uint64(c.Length) }

func (m *Merger) forget(key uint64, i int) {
	if m.waiting[key] = slices.Delete(m.waiting[key], i, i+1); len(m.waiting[key]) == 0 {
		delete(m.waiting, key)
	}
}

// Take returns, in the order of time, what has been complete or has waited long enough
// by then, and nothing that could still come before it.
func (m *Merger) Take(now time.Time) []*Sighting { return m.before(now.Add(-patience)) }

// Rest returns all that is left.
func (m *Merger) Rest() []*Sighting { return m.before(time.Time{}) }

// before returns what was seen before a moment, or all.
func (m *Merger) before(limit time.Time) []*Sighting {
	slices.SortStableFunc(m.list, func(a, b *Sighting) int { return a.At().Compare(b.At()) })
	n := len(m.list)
	if !limit.IsZero() {
		n, _ = slices.BinarySearchFunc(m.list, limit, func(s *Sighting, t time.Time) int { return s.At().Compare(t) })
	}
	taken := slices.Clone(m.list[:n])
	m.list = slices.Delete(m.list, 0, n)
	for _, s := range taken {
		if s.Missed >= 0 {
			key := m.key(s.Copies[0])
			if i := slices.Index(m.waiting[key], s); i >= 0 {
				m.forget(key, i)
			}
		}
	}
	return taken
}
