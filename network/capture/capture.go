package capture

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A Capture is sockets at several places.
type Capture struct {
	places  []Place
	sockets []*socket
	judge   func(Copy) bool // of what an uplink saw; nil: all of it

	// Down, when not nil, is told of a place whose link goes down or away.
	Down func(Place)
}

// Open begins to capture at the places what the filter wants; nil wants everything.
// The filter is for the addresses that the container knows. An uplink has others, so
// what is seen there is given to judge instead, which may be nil. No more than most bytes
// of a packet are copied.
func Open(places []Place, filter []bpf.Instruction, most int, judge func(Copy) bool) (*Capture, error) {
	c := &Capture{places: places, judge: judge}
	for i, p := range places {
		own := filter
		if p.Role == Uplink {
			own = nil
		}
		s, err := open(p, i, own, most)
		if err != nil {
			c.Close()
			return nil, err
		}
		c.sockets = append(c.sockets, s)
	}
	time.Sleep(stampDelay)
	return c, nil
}

// stampDelay is how long the kernel takes to begin with time stamps once somebody wants
// them: it patches its code in a work queue (net_enable_timestamp). A packet before that
// has the time at which it is read from the socket.
const stampDelay = 10 * time.Millisecond

// Close ends the capture. A container's namespace lives as long as a socket is in it.
func (c *Capture) Close() {
	for _, s := range c.sockets {
		_ = s.file.Close() // it was only read
	}
}

// pace is how often what has been seen is shown.
const pace = 20 * time.Millisecond

// Run gives each packet to show, in the order of time, until the context ends or show
// returns false. What was seen by then is shown before it returns. It closes nothing.
func (c *Capture) Run(ctx context.Context, show func(*Sighting) (more bool, err error)) error {
	copies, failed := make(chan Copy, 1024), make(chan error, len(c.sockets))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for _, s := range c.sockets {
		readers.Go(func() { failed <- s.pump(copies, stop, c.Down, c.places[s.place]) })
	}
	err := c.collect(ctx, copies, failed, show)
	close(stop)
	for _, s := range c.sockets {
		_ = s.file.SetReadDeadline(time.Unix(1, 0)) // wakes its reader
	}
	readers.Wait()
	return err
}

// pump reads until it is told to stop, or the socket fails.
func (s *socket) pump(to chan<- Copy, stop <-chan struct{}, down func(Place), place Place) error {
	for {
		c, err := s.read()
		if errors.Is(err, errEnough) {
			return nil
		}
		if errors.Is(err, unix.ENETDOWN) { // it may come back; then it is heard again
			if down != nil {
				down(place)
			}
			continue
		}
		if err != nil {
			return err
		}
		select {
		case to <- c:
			s.until.Store(c.At.UnixNano())
		case <-stop:
			return nil
		}
	}
}

func (c *Capture) collect(ctx context.Context, copies <-chan Copy, failed <-chan error, show func(*Sighting) (bool, error)) error {
	m := NewMerger(c.places)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	give := func(list []*Sighting) (more bool, err error) {
		for _, s := range list {
			if c.places[s.Copies[0].Place].Role == Uplink && c.judge != nil && !c.judge(s.Copies[0]) {
				continue
			}
			if more, err := show(s); err != nil || !more {
				return more, err
			}
		}
		return true, nil
	}
	for {
		select {
		case one := <-copies:
			m.Add(one)
		case err := <-failed:
			if err != nil {
				return err
			}
		case now := <-tick.C:
			until := c.until(now)
			drain(m, copies)
			if more, err := give(m.Take(until)); err != nil || !more {
				return err
			}
		case <-ctx.Done():
			time.Sleep(pace) // what is on its way
			drain(m, copies)
			_, err := give(m.Rest())
			return err
		}
	}
}

// until is the time before which all sockets have been read: under load one may lag
// behind the other, and what it has not told yet is not lost.
func (c *Capture) until(now time.Time) time.Time {
	for _, s := range c.sockets {
		if t := s.until.Load(); t != idle {
			now = time.Unix(0, min(t, now.UnixNano()))
		}
	}
	return now
}

// drain adds what the readers have read already.
func drain(m *Merger, copies <-chan Copy) {
	for {
		select {
		case one := <-copies:
			m.Add(one)
		default:
			return
		}
	}
}

// Dropped counts, for each place, the packets that the kernel had no room for.
func (c *Capture) Dropped() ([]int, error) {
	list := make([]int, len(c.sockets))
	var errs []error
	for i, s := range c.sockets {
		n, err := s.dropped()
		list[i], errs = int(n), append(errs, err)
	}
	return list, errors.Join(errs...)
}
