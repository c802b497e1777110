package runtime

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/names"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// ReloadNetworks puts back what somebody has taken away underneath: what
// network.Reload says, for every network that was made and every container that
// runs.
func (r *Runtime) ReloadNetworks(w Watch) error {
	list, err := r.Networks().All()
	errs := []error{err}
	for _, n := range list {
		if n.ID != "" {
			errs = append(errs, step.Run(r.Networks().ReloadNetwork(n), w.Step))
		}
	}
	return errors.Join(append(errs, r.reloadContainers(w, ""))...)
}

// reloadContainers does so for all containers but one, which is about to be started:
// it may be written down already, and not be plugged in.
func (r *Runtime) reloadContainers(w Watch, but string) error {
	list, err := r.List()
	errs := []error{err}
	for _, c := range list {
		if c.Status == Running && c.State.Network != nil && c.Config.ID != but {
			errs = append(errs, r.reloadContainer(c.Config.ID, w))
		}
	}
	adopted, err := r.Adoptions()
	errs = append(errs, err)
	for _, a := range adopted {
		errs = append(errs, step.Run(network.Reload(a.Network), w.Step))
	}
	return errors.Join(errs...)
}

// reloadContainer holds the lock of who changes a container's network, so that the
// container does not end meanwhile: what is put back after that, a published port or
// a name, would never go.
func (r *Runtime) reloadContainer(id string, w Watch) error {
	lock, err := (&rewiring{Runtime: r, id: id}).lockRewired(unix.LOCK_EX)
	if err != nil {
		return ignoreMissing(err) // it has ended
	}
	defer lock.Close()
	s, err := r.readState(id)
	if err != nil || !s.alive() || s.Network == nil {
		return err
	}
	return step.Run(network.Reload(s.Network), w.Step)
}

// healNetworks puts the nftables table back that nft flush ruleset, or the reload
// of a firewall that thinks itself alone, has removed from under containers.
func (r *Runtime) healNetworks() error {
	leases, err := os.ReadDir(filepath.Join(r.Runroot, "leases"))
	if err != nil {
		return ignoreMissing(err)
	}
	var errs []error
	for _, e := range leases {
		n, err := r.Networks().Lookup(e.Name())
		if err != nil {
			continue // the network is gone
		}
		ok, err := n.Protected()
		if err != nil {
			return err
		}
		if !ok {
			return r.reloadContainers(Watch{}, "")
		}
		errs = append(errs, r.healNames(n))
	}
	return errors.Join(errs...)
}

// HealNames starts the name servers that were killed. It is the part of Heal that a
// command in a container may need, and costs some microseconds a network.
func (r *Runtime) HealNames() error {
	entries, err := os.ReadDir(names.Root(r.Runroot))
	if err != nil {
		return ignoreMissing(err)
	}
	var errs []error
	for _, e := range entries {
		if n, err := r.Networks().Lookup(e.Name()); err == nil && e.IsDir() {
			errs = append(errs, r.healNames(n))
		}
	}
	return errors.Join(errs...)
}

// healNames starts a name server that was killed.
func (r *Runtime) healNames(n *network.Network) error {
	alive, err := names.Alive(r.Runroot, n.Name)
	if alive || err != nil {
		return err
	}
	list, err := names.List(r.Runroot, n.Name)
	if len(list) == 0 {
		return err
	}
	n.Gateway, n.Gateway6 = list[0].Gateway, list[0].Gateway6
	s := network.StartNames{Runroot: r.Runroot, Network: *n}
	return errors.Join(err, s.Apply()) // that the port is in use was told when the containers were started
}
