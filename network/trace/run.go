package trace

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Request is what is to be traced.
type Request struct {
	From     Place
	Source   netip.Addr // none: the kernel's choice
	To       netip.Addr
	ToName   string // what it was called
	Protocol string // "tcp", "udp" or "icmp"
	Port     uint16 // of an ICMP echo: none
	Host     Place
	Target   Place   // where To is meant to be; none if it is only an address
	Others   []Place // namespaces that the way may lead through
	Timeout  time.Duration
}

// grace is how long answers' last traces may take: the kernel makes them before
// it goes on with the packet, but not in one instant.
const grace = 20 * time.Millisecond

// Run sends one packet and tells where it went. It must be called outside of
// other namespaces than the host's; the caller needs CAP_NET_ADMIN, CAP_NET_RAW
// and CAP_SYS_ADMIN in all of them.
func Run(r Request) (j *Journey, err error) {
	began := time.Now()
	watch := sync.OnceValues(watchDrops)
	go func() { _, _ = watch() }() // the kernel's types take 30 ms to read; who asks later waits
	defer func() {
		drops, _ := watch()
		err = errors.Join(err, drops.close())
	}()
	endStamps, err := stampPackets()
	if err != nil {
		return nil, err
	}
	defer endStamps()
	w, err := newWorld(r)
	if err != nil {
		return nil, err
	}
	defer w.close()
	w.explorePlan()
	s := &story{world: w}
	defer func() { err = errors.Join(err, s.tidy()) }()
	if err := s.prepare(); err != nil {
		return nil, err
	}
	if s.drops, err = watch(); err != nil {
		s.note("the kernel's reason for a drop is not to be had: " + err.Error())
	}
	s.send(r.Timeout)
	j = s.tell()
	j.Took = time.Since(began)
	return j, nil
}

// prepare puts ears into every place of the way, and then marks into those that
// have rules.
func (s *story) prepare() error {
	if err := s.from.do(func() error { return s.probe.open(s.request.Source) }); err != nil {
		return fmt.Errorf("trace from %s: %w", s.from.Name, err)
	}
	ports := append(s.probe.destinationPorts(), s.probe.flow.Source.Port())
	for _, g := range s.grounds {
		if err := g.do(func() error { return g.listen(s.probe, ports) }); err != nil {
			return fmt.Errorf("trace in %s: %w", g.Name, err)
		}
	}
	return nil
}

func (g *ground) listen(p *probe, ports []uint16) (err error) {
	if err := heal(); err != nil {
		return err
	}
	if g.tap, err = newTap(ports); err != nil {
		return err
	}
	chains := markChains(g.rules, p.v6())
	if len(chains) == 0 {
		return nil
	}
	if g.events, err = dial(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTRACE); err != nil {
		return err
	}
	g.marker, err = mark(p.tableName(), chains, p.markRules())
	return err
}

// tidy takes the marks away, and ends what the probe began.
func (s *story) tidy() (err error) {
	s.probe.close()
	for _, g := range s.grounds {
		if g.marker != nil {
			if e := g.marker.remove(); e != nil {
				err = errors.Join(err, fmt.Errorf("take table %s out of %s: %w", s.probe.tableName(), g.Name, e))
			}
			g.marker = nil
		}
	}
	return err
}

// send sends the probe and listens until its fate is known, or the time is over.
func (s *story) send(timeout time.Duration) {
	s.probe.send()
	deadline := s.probe.sent.Add(timeout)
	var known time.Time
	for pause := 200 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		s.probe.poll()
		s.collect()
		now := time.Now()
		if known.IsZero() && s.fateKnown() {
			known = now
		}
		if !known.IsZero() && now.Sub(known) > grace || now.After(deadline) {
			s.timedOut = known.IsZero()
			return
		}
		time.Sleep(pause)
	}
}

// collect empties all sockets.
func (s *story) collect() {
	for _, g := range s.grounds {
		err := g.tap.pending(func(x sighting) { g.seen = append(g.seen, x) })
		if g.events != nil {
			err = errors.Join(err, g.events.pending(g.passes.add))
		}
		if err != nil {
			s.note(fmt.Sprintf("some of what happened in %s was lost: %v", g.Name, err))
		}
	}
}

func (s *story) note(text string) {
	if !slices.Contains(s.notes, text) {
		s.notes = append(s.notes, text)
	}
}

// fateKnown is true when nothing more can be expected that would change the
// verdict.
func (s *story) fateKnown() bool {
	s.classify()
	if s.probe.over || s.back.arrived {
		return true
	}
	return s.there.dropped() || s.back.dropped() || len(s.kernelDrops(true)) > 0
}
