package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// A network namespace that somebody else made is adopted when it is plugged into
// networks of ours. What is known of it is one file, which is written before
// anything is done, so that a kill at any moment can be healed:
//
//	adopted/       its flock(2) is held by whoever adopts, releases or heals
//	    ID.json    one namespace (Adopted)
//
//	lock ─ write, Taking ─ a lease ─ write, Want ─ steps ─ write, or remove
//
// Who finds Taking or Want, while nobody holds the lock, keeps what is in both
// networks, the old and the wanted one, as with a container's (connect.go).

// Adopt puts a network namespace on a network. Target is the name of one that
// ip-netns(8) has made, a path, or pid:PID.
func (r *Runtime) Adopt(target string, u network.Use, w Watch) error {
	return (&adopting{Runtime: r, watch: w}).adopt(target, u)
}

// Release takes a network namespace off a network, or, without one, off all, and
// gives it back as it was.
func (r *Runtime) Release(target, networkName string, w Watch) error {
	return (&adopting{Runtime: r, watch: w}).release(target, networkName)
}

// AdoptScript returns, as a shell script, what Adopt would do.
func (r *Runtime) AdoptScript(target string, u network.Use) (string, error) {
	l := &adopting{Runtime: r}
	a, err := l.find(target)
	if err != nil {
		return "", step.Fail("adopt network namespace", step.Quote(target), err)
	}
	request := l.request(a, u)
	request.DryRun = true
	want, err := request.ResolveGuest(u, a.Network)
	if err != nil {
		return "", step.Fail("adopt network namespace", step.Quote(a.Name)+" into network "+u.Network, err)
	}
	return a.script(want), nil
}

// ReleaseScript returns, as a shell script, what Release would do.
func (r *Runtime) ReleaseScript(target, networkName string) (string, error) {
	a, err := r.adoptedBy(target)
	if err != nil {
		return "", step.Fail("release network namespace", step.Quote(target), err)
	}
	want, err := a.without(networkName)
	if err != nil {
		return "", step.Fail("release network namespace", step.Quote(a.Name), err)
	}
	return a.script(want), nil
}

func (a *Adopted) script(want *network.Config) string {
	steps := network.Change(a.Network, want)
	if naming := a.Network.Naming(); naming != nil {
		steps = append([]step.Step{naming}, steps...)
	}
	return step.Script(steps)
}

// An adopting is a change to an adopted namespace that is going on.
type adopting struct {
	*Runtime
	watch Watch
	hooks hooks // of a test
}

func (l *adopting) adopt(target string, u network.Use) error {
	n, err := l.Networks().Lookup(u.Network)
	if err != nil {
		return err
	}
	u.Network = n.Name
	err = l.locked(unix.LOCK_EX, func() error {
		a, err := l.find(target)
		if err != nil {
			return err
		}
		if a.Network.Endpoint(n.Name) != nil {
			return network.ErrAdopted
		}
		a.Taking = n.Name
		if err := l.write(a); err != nil {
			return err
		}
		want, err := l.request(a, u).ResolveGuest(u, a.Network)
		if err != nil {
			return errors.Join(err, l.keep(a, a.Network))
		}
		if err := l.turn(a, want); err != nil {
			return err
		}
		l.tellRoutes(a, n.Name)
		return nil
	})
	return step.Fail("adopt network namespace", step.Quote(target)+" into network "+n.Name, err)
}

// tellRoutes says so when the namespace has a default route of its own.
func (l *adopting) tellRoutes(a *Adopted, networkName string) {
	i, g := a.Network.Endpoint(networkName).Interface, a.Network.Guest
	if l.watch.Warn != nil && (g.Route && i.Address.IsValid() || g.Route6 && i.Address6.IsValid()) {
		l.watch.Warn("the network namespace " + a.Name + " has a default route of its own and keeps it: it gets none by network " + networkName)
	}
}

func (l *adopting) release(target, networkName string) error {
	if n, err := l.Networks().Lookup(networkName); err == nil {
		networkName = n.Name // it may have been given by its id
	}
	return step.Fail("release network namespace", step.Quote(target), l.locked(unix.LOCK_EX, func() error {
		a, err := l.adoptedBy(target)
		if err != nil {
			return err
		}
		want, err := a.without(networkName)
		if err != nil {
			return err
		}
		a.Network.Reach()
		want.Netns = a.Network.Netns
		return l.turn(a, want)
	}))
}

// without is its network without one of its networks, or without all.
func (a *Adopted) without(networkName string) (*network.Config, error) {
	if networkName != "" {
		if a.Network.Endpoint(networkName) == nil {
			return nil, &NotAdoptedError{networkName}
		}
		return a.Network.Without(networkName), nil
	}
	none := *a.Network
	none.Endpoints = nil
	return &none, nil
}

// find is what is known of the namespace, or would be when it is adopted.
func (l *adopting) find(target string) (*Adopted, error) {
	cfg, name, err := network.FindGuest(target)
	if errors.Is(err, fs.ErrNotExist) {
		if c, err := l.Container(target); err == nil {
			return nil, isContainer(c)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := l.refuseContainers(cfg); err != nil {
		return nil, err
	}
	list, err := l.Adoptions()
	for _, a := range list {
		if a.is(cfg) {
			return a, nil
		}
	}
	return &Adopted{ID: newID(), Name: name, Since: time.Now(), BootID: bootID(), Network: cfg}, err
}

// is reports whether it is the namespace.
func (a *Adopted) is(cfg *network.Config) bool {
	return a.Network.Netns.Inode == cfg.Netns.Inode && a.Network.Guest.Cookie == cfg.Guest.Cookie && a.BootID == bootID()
}

// refuseContainers refuses the namespace of a container of ours.
func (l *adopting) refuseContainers(cfg *network.Config) error {
	list, err := l.List()
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.Status != Running || !c.Config.ownNetwork() {
			continue
		}
		if inode, err := network.Inode(fmt.Sprintf("/proc/%d/ns/net", c.State.Pid)); err == nil && inode == cfg.Netns.Inode {
			return isContainer(c)
		}
	}
	return nil
}

func isContainer(c *Container) error {
	return &network.Cause{
		Text: "it is that of container " + c.Config.Name,
		Hint: "minictr network connect NETWORK " + c.Config.Name, Err: unix.EINVAL,
	}
}

func (l *adopting) request(a *Adopted, u network.Use) network.Request {
	return network.Request{
		Mode: network.Bridge, Uses: []network.Use{u}, Owner: a.ID, Name: a.Network.Netns.Name,
		Store: l.Networks(), Alive: l.holds,
	}
}

// turn makes its network what is wanted.
func (l *adopting) turn(a *Adopted, want *network.Config) error {
	old := a.Network
	a.Want = want
	err := l.write(a)
	if err == nil {
		steps := network.Change(old, want)
		if l.hooks.steps != nil {
			steps = l.hooks.steps(steps)
		}
		err = step.Run(steps, l.watch.Step)
		l.watch.tellForwarding(steps)
	}
	if err != nil {
		return errors.Join(err, releaseOthers(want, old), l.keep(a, old))
	}
	return errors.Join(releaseOthers(old, want), l.keep(a, want))
}

// keep writes down what its network is now; one that is on none is none of ours any
// more. Every change ends here, a healed one too.
func (l *adopting) keep(a *Adopted, now *network.Config) error {
	a.Network, a.Want, a.Taking = now, nil, ""
	if len(now.Endpoints) > 0 {
		return l.write(a)
	}
	return ignoreMissing(os.Remove(l.adoptedFile(a.ID)))
}

func (l *adopting) write(a *Adopted) error { return replace(l.adoptedFile(a.ID), a) }
