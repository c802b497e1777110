package server

import (
	"net/netip"
	"sync"
)

// What may be under way at once, in all and for one address: a container that floods
// the server takes no more than its share.
const (
	maxQuestions     = 256
	maxQuestionsEach = 64
	maxConns         = 64
	maxConnsEach     = 16
)

// places counts what is under way.
type places struct {
	max, each int

	mu   sync.Mutex
	all  int
	from map[netip.Addr]int
}

func newPlaces(limit, each int) *places {
	return &places{max: limit, each: each, from: map[netip.Addr]int{}}
}

// take reports whether there is a place for one more.
func (p *places) take(a netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all >= p.max || p.from[a] >= p.each {
		return false
	}
	p.all++
	p.from[a]++
	return true
}

func (p *places) free(a netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.from[a]--; p.from[a] == 0 {
		delete(p.from, a)
	}
}
