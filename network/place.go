package network

import "golang.org/x/sys/unix"

// A place is a network namespace as the steps of one plan see it: they share
// one socket there. The first step that is applied opens it. The last one
// closes it, or the first that fails, or the undoing, whichever comes; after a
// launch no descriptor is left that would keep a container's namespace alive
// beyond the container.
type place struct {
	netns Netns
	steps int // how many steps of the plan will be applied here
	conn  *conn
}

// use counts one step more that will be applied here, and is the place. Without a
// place (nil) each step stands alone.
func (p *place) use() *place {
	if p != nil {
		p.steps++
	}
	return p
}

// do calls f with the socket; it is how a step applies itself. A step that
// stands alone has no place (nil) and gets a socket for itself.
func (p *place) do(ns Netns, f func(*conn) error) error {
	if p == nil {
		return once(ns, f)
	}
	if p.conn == nil {
		c, err := dialIn(p.netns)
		if err != nil {
			return err
		}
		p.conn = c
	}
	err := f(p.conn)
	if p.steps--; p.steps <= 0 || err != nil {
		p.close()
	}
	return err
}

// visit calls f on a thread in the namespace, for what cannot be done over a
// socket, and uses the way there to open the socket for the steps that follow.
func (p *place) visit(ns Netns, f func() error) error {
	if ns.here() {
		return f()
	}
	if p == nil {
		return ns.Do(f)
	}
	err := p.netns.Do(func() (err error) {
		if p.conn == nil {
			p.conn, err = dial(unix.NETLINK_ROUTE)
		}
		if err == nil {
			err = f()
		}
		return err
	})
	if p.steps--; p.steps <= 0 || err != nil {
		p.close()
	}
	return err
}

func (p *place) close() {
	if p != nil && p.conn != nil {
		p.conn.close()
		p.conn = nil
	}
}

// undo closes the shared socket and calls f with a new one. When the namespace
// is gone, so is everything in it, and there is nothing to do. A namespace that
// was given by a path but turns out to be the caller's own is not a
// container's; undoing there would take down the host's lo.
func (p *place) undo(ns Netns, f func(*conn) error) error {
	p.close()
	if !ns.here() {
		own, err := ns.isOwn()
		if own || isGone(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	err := once(ns, f)
	if isGone(err) {
		return nil
	}
	return err
}

// once calls f with a socket in the namespace that is closed afterwards.
func once(ns Netns, f func(*conn) error) error {
	c, err := dialIn(ns)
	if err != nil {
		return err
	}
	defer c.close()
	return f(c)
}
