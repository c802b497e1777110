package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// The network of a running container is changed so that a kill at any moment can
// be healed. Two files beside state.json tell what is going on:
//
//	rewired    its flock(2) is held by whoever changes the network; once there, it
//	           says that state.json is no longer the one of the launch
//	rewiring   what the network is to become (network.Config), while it is changed;
//	           what it is, until that is known
//
//	lock rewired ─ write rewiring ─ take a lease ─ steps ─ state.json, config.json ─ remove rewiring
//
// Who finds rewiring, but nobody who holds the lock, keeps what is in both, the old
// and the new: what was to come is taken away, and what was to go goes.

// Connect puts a container on one more network. One that does not run is on it
// when it is next started.
func (r *Runtime) Connect(name string, u network.Use, w Watch) error {
	n, err := r.Networks().Lookup(u.Network)
	if err != nil {
		return err
	}
	u.Network = n.Name
	if n.Driver != network.BridgeDriver && n.Driver != network.MacvlanDriver {
		return step.Fail("connect container", name+" to network "+n.Name, errNoCable)
	}
	return r.rewire(name, w, r.connecting(u), "connect container", "to network "+n.Name)
}

// errNoCable says that a network has nothing to plug a container in.
var errNoCable = errors.New("it is chosen by run --network, and a container has no other beside it")

// connecting adds a network.
func (r *Runtime) connecting(u network.Use) changer {
	return func(c *Config, have *network.Config) (*network.Config, error) {
		if err := c.connectable(); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(c.Network.Uses, func(other network.Use) bool { return other.Network == u.Network }) {
			return nil, network.ErrConnected
		}
		c.Network.Uses = append(c.Network.Uses, u)
		if have == nil {
			return nil, nil
		}
		e, err := r.request(c).ResolveUse(u, have)
		if err != nil {
			return nil, r.nameUsers(err)
		}
		return have.With(*e), nil
	}
}

// Disconnect takes a container off a network.
func (r *Runtime) Disconnect(name, networkName string, w Watch) error {
	if n, err := r.Networks().Lookup(networkName); err == nil {
		networkName = n.Name // it may have been given by its id; one removed underneath has only its name
	}
	return r.rewire(name, w, disconnecting(networkName), "disconnect container", "from network "+networkName)
}

// disconnecting takes a network away.
func disconnecting(networkName string) changer {
	return func(c *Config, have *network.Config) (*network.Config, error) {
		if err := c.connectable(); err != nil {
			return nil, err
		}
		uses := slices.DeleteFunc(slices.Clone(c.Network.Uses), func(u network.Use) bool { return u.Network == networkName })
		if len(uses) == len(c.Network.Uses) {
			return nil, ErrNotConnected
		}
		c.Network.Uses = uses
		if len(uses) == 0 { // it keeps its namespace, with nothing but lo
			c.Network.Mode = string(network.None)
		}
		if have == nil {
			return nil, nil
		}
		return have.Without(networkName), nil
	}
}

// ErrNotConnected says that a container is not on a network.
var ErrNotConnected = errors.New("the container is not on it")

// connectable tells why a container cannot be on networks of its own.
func (c *Config) connectable() error {
	if c.ownNetwork() {
		c.Network.Mode = string(network.Bridge)
		return nil
	}
	mode := c.Network.Mode
	if c.Network.Join != "" {
		mode += ":" + c.Network.Join
	}
	return fmt.Errorf("the container has no network of its own, but --network %s", mode)
}

// rewire changes the network of a container to what change makes of it.
func (r *Runtime) rewire(name string, w Watch, change changer, operation, what string) error {
	c, err := r.Container(name)
	if err != nil {
		return err
	}
	l := &rewiring{Runtime: r, id: c.Config.ID, watch: w}
	return step.Fail(operation, strings.TrimSpace(c.Config.Name+" "+what), l.run(c, change))
}

// A changer says what is to become of a container's network. It gets a copy of what
// was asked of the container, to be changed too, and its network, nil when it does
// not run.
type changer func(*Config, *network.Config) (*network.Config, error)

func (l *rewiring) run(c *Container, change changer) error {
	return l.whileStill(c, func(c *Config, s *State) error {
		var have *network.Config
		if s != nil {
			have = s.Network
		}
		if have != nil { // the change may take a lease, of which nothing else tells yet
			if err := replace(l.running(l.id, "rewiring"), have); err != nil {
				return err
			}
		}
		want, err := change(c, have)
		if err != nil {
			return errors.Join(err, ignoreMissing(os.Remove(l.running(l.id, "rewiring"))))
		}
		return l.turn(c, s, want)
	})
}

// A rewiring is a change of a container's network that is going on.
type rewiring struct {
	*Runtime
	id    string
	watch Watch
	hooks hooks // of a test
}

// whileStill calls f with what was asked of the container and what runs, while
// neither changes: under the lock of rewired when it runs, and else under its own.
func (l *rewiring) whileStill(c *Container, f func(*Config, *State) error) error {
	if c.Status == Running {
		lock, err := l.lockRewired(unix.LOCK_EX)
		if err == nil {
			defer lock.Close()
			return l.withState(f)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	lock, err := l.lockToStart(l.id)
	if err != nil {
		return err
	}
	defer lock.release()
	config, err := l.config(l.id)
	if err != nil {
		return err
	}
	if err := f(config, nil); err != nil {
		return err
	}
	return replace(l.lasting(l.id, "config.json"), config)
}

func (l *rewiring) withState(f func(*Config, *State) error) error {
	s, err := l.readState(l.id)
	if err != nil {
		return err
	}
	if !s.alive() {
		return &NotRunningError{l.id[:12]}
	}
	if err := l.settle(s); err != nil {
		return err
	}
	config, err := l.config(l.id)
	if err != nil {
		return err
	}
	return f(config, s)
}

// lockRewired takes the lock. It fails with fs.ErrNotExist when the container does
// not run, and with EWOULDBLOCK when that is asked for.
func (l *rewiring) lockRewired(how int) (*os.File, error) {
	f, err := os.OpenFile(l.running(l.id, "rewired"), os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flockFile(f, how); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// turn makes the container's network what is wanted.
func (l *rewiring) turn(c *Config, s *State, want *network.Config) error {
	if s == nil {
		return nil
	}
	file := l.running(l.id, "rewiring")
	if err := replace(file, want); err != nil {
		return err
	}
	old := s.Network
	steps := network.Change(old, want)
	if l.hooks.steps != nil {
		steps = l.hooks.steps(steps)
	}
	err := step.Run(steps, l.watch.Step)
	if err == nil {
		// Before state.json: after it nobody would know the addresses any more.
		err = releaseOthers(old, want)
	}
	if err == nil {
		if err := l.refile(c, s, want); err != nil {
			l.watch.warn(err.Error())
		}
		err = l.write(c, s, want)
	}
	if err != nil {
		return errors.Join(err, releaseOthers(want, old), os.Remove(file))
	}
	if l.watch.Warn != nil {
		l.watch.tellFindings(network.Advise(want))
	}
	return os.Remove(file)
}

func (l *rewiring) write(c *Config, s *State, n *network.Config) error {
	changed := *s
	changed.Network = n
	return errors.Join(replace(l.running(l.id, "state.json"), &changed), replace(l.lasting(l.id, "config.json"), c))
}

// releaseOthers gives back the leases of the endpoints that are not in both.
func releaseOthers(of, keep *network.Config) error {
	var errs []error
	for _, e := range of.Endpoints {
		if keep.Endpoint(e.Network.Name) == nil {
			errs = append(errs, e.Release())
		}
	}
	return errors.Join(errs...)
}

// addresses are all that a container has.
func addresses(c *network.Config) (list []netip.Prefix) {
	for _, e := range c.Endpoints {
		list = append(list, e.Interface.Addresses()...)
	}
	return list
}

// settle finishes what a killed process has begun. The caller holds the lock.
func (l *rewiring) settle(s *State) error {
	file := l.running(l.id, "rewiring")
	var want network.Config
	err := read(file, &want)
	if errors.Is(err, fs.ErrNotExist) {
		return ignoreMissing(os.Remove(file + ".new"))
	}
	if err != nil {
		return err
	}
	c, err := l.config(l.id)
	if err != nil {
		return err
	}
	had := s.Network
	for _, e := range had.Endpoints { // state.json is written before config.json, which has the last word
		if !slices.ContainsFunc(c.Network.Uses, func(u network.Use) bool { return u.Network == e.Network.Name }) {
			had = had.Without(e.Network.Name)
		}
	}
	both := network.Intersection(had, &want)
	err = network.Settle(had, &want)
	if err := errors.Join(err, network.ReleaseOwner(l.Runroot, l.id, addresses(both)...)); err != nil {
		return err
	}
	c.Network.Uses = slices.DeleteFunc(c.Network.Uses, func(u network.Use) bool { return both.Endpoint(u.Network) == nil })
	if len(c.Network.Uses) == 0 {
		c.Network.Mode = string(network.None)
	}
	c.Network.Ports = both.Ports
	if err := l.write(c, s, both); err != nil {
		return err
	}
	s.Network = both
	return os.Remove(file)
}

// healRewiring finishes what a killed process has begun on a running container.
func (r *Runtime) healRewiring(id string) error {
	if _, err := os.Lstat(r.running(id, "rewiring")); err != nil {
		return ignoreMissing(err)
	}
	l := &rewiring{Runtime: r, id: id}
	lock, err := l.lockRewired(unix.LOCK_EX | unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, fs.ErrNotExist) {
		return nil // whoever changes it lives, or the container is gone
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	s, err := r.readState(id)
	if err != nil || !s.alive() {
		return err // its end is somebody's business
	}
	return step.Fail("mend the network of", id[:12], l.settle(s))
}
