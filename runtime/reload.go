package runtime

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
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
	return errors.Join(append(errs, r.reloadContainers(w))...)
}

func (r *Runtime) reloadContainers(w Watch) error {
	list, err := r.List()
	errs := []error{err}
	for _, c := range list {
		if c.Status == Running && c.State.Network != nil {
			errs = append(errs, step.Run(network.Reload(c.State.Network), w.Step))
		}
	}
	return errors.Join(errs...)
}

// healNetworks puts the nftables table back that nft flush ruleset, or the reload
// of a firewall that thinks itself alone, has removed from under containers.
func (r *Runtime) healNetworks() error {
	leases, err := os.ReadDir(filepath.Join(r.Runroot, "leases"))
	if err != nil {
		return ignoreMissing(err)
	}
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
			return r.reloadContainers(Watch{})
		}
	}
	return nil
}
