package runtime

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
)

// Adopted is a network namespace that is somebody else's and that is on networks of
// ours.
type Adopted struct {
	ID      string          `json:"id"`   // the owner of its leases; as a container's
	Name    string          `json:"name"` // what it was called: web, pid:4711, /a/path
	Since   time.Time       `json:"since"`
	BootID  string          `json:"bootId"`
	Network *network.Config `json:"network"`

	// While it is changed: what its network is to become, and the network of which
	// an address is being leased.
	Want   *network.Config `json:"want,omitempty"`
	Taking string          `json:"taking,omitempty"`
}

// alive reports whether the namespace is there.
func (a *Adopted) alive() bool {
	boot := bootID()
	return (boot == "" || boot == a.BootID) && a.everything().Alive()
}

// everything is its network with all that it may have while it is changed.
func (a *Adopted) everything() *network.Config {
	all := *a.Network
	if a.Want != nil {
		all.Endpoints = slices.Concat(all.Endpoints, a.Want.Endpoints)
	}
	return &all
}

// NotAdoptedError is a network namespace that is on no network of ours, or not on
// the one that was named.
type NotAdoptedError struct{ Network string }

func (e *NotAdoptedError) Error() string {
	if e.Network != "" {
		return "it is not on network " + e.Network
	}
	return "it is not adopted"
}

func (r *Runtime) adoptedDir() string { return filepath.Join(r.Runroot, "adopted") }

func (r *Runtime) adoptedFile(id string) string { return filepath.Join(r.adoptedDir(), id+".json") }

// Adoptions returns the network namespaces that are adopted, by their names.
func (r *Runtime) Adoptions() ([]*Adopted, error) {
	entries, err := os.ReadDir(r.adoptedDir())
	if err != nil {
		return nil, ignoreMissing(err)
	}
	var list []*Adopted
	var errs []error
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		a, err := r.adopted(id)
		if a != nil {
			list = append(list, a)
		}
		errs = append(errs, err)
	}
	slices.SortFunc(list, func(a, b *Adopted) int { return strings.Compare(a.Name, b.Name) })
	return list, errors.Join(errs...)
}

// adopted reads one; nil when there is none of the id.
func (r *Runtime) adopted(id string) (*Adopted, error) {
	b, err := os.ReadFile(r.adoptedFile(id))
	if err != nil {
		return nil, ignoreMissing(err)
	}
	a := &Adopted{}
	if err := json.Unmarshal(b, a); err != nil || a.Network == nil || a.Network.Guest == nil {
		return nil, step.Fail("read", r.adoptedFile(id), errors.Join(err, errors.New("not what minictr has written there")))
	}
	return a, nil
}

// adoptedBy finds one by what it was called, or by what it is.
func (r *Runtime) adoptedBy(target string) (*Adopted, error) {
	list, err := r.Adoptions()
	cfg, name, missing := network.FindGuest(target)
	if missing == nil {
		for _, a := range list {
			if a.is(cfg) {
				return a, nil
			}
		}
	}
	for _, a := range list { // its name may be gone
		if a.Name == name {
			return a, nil
		}
	}
	return nil, errors.Join(err, &NotAdoptedError{})
}

// nameUsers gives the containers and adopted namespaces in a *network.InUseError or
// a *network.AddressInUseError, which has their ids, the names that people call them.
func (r *Runtime) nameUsers(err error) error {
	if taken, ok := errors.AsType[*network.AddressInUseError](err); ok {
		taken.Owner = r.nameOf(taken.Owner)
	}
	inUse, ok := errors.AsType[*network.InUseError](err)
	if !ok {
		return err
	}
	inUse.Containers = slices.DeleteFunc(inUse.Containers, func(id string) bool {
		a, err := r.adopted(id)
		if err == nil && a != nil {
			inUse.Adopted = append(inUse.Adopted, a.Name)
		}
		return err == nil && a != nil
	})
	for i, id := range inUse.Containers {
		inUse.Containers[i] = r.nameOf(id)
	}
	slices.Sort(inUse.Containers)
	return err
}

// nameOf is the name of the container; of one below another --root its id.
func (r *Runtime) nameOf(id string) string {
	if c, err := r.config(id); err == nil && c != nil {
		return c.Name
	}
	return id
}
