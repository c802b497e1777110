package network

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
