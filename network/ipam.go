package network

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A Lease says where the leases of a container's network are kept and whose
// the container's is. Below the directory for what dies with the machine:
//
//	leases/           flock(2) on this directory orders everybody
//	    bridge        one table a network (Lease.File), see leasetable.go
//
// A lease belongs to a live container: one whose owner is dead is as good as
// none, and is taken over when its turn comes.
//
// A lease is also what holds the network itself: a launch takes its lease
// before its steps look whether bridge, table and ip_forward are there, and
// nobody takes those away while somebody else has a lease (unused).
type Lease struct {
	File  string `json:"file"`
	Owner string `json:"owner"` // the container's id
}

const leasesDir = "leases"

// SubnetFullError says that a subnet has no address left.
type SubnetFullError struct {
	Subnet netip.Prefix
	Leased int // addresses that live containers have
}

func (e *SubnetFullError) Error() string {
	return fmt.Sprintf("all %d addresses are in use", e.Leased)
}

// Unwrap returns EADDRNOTAVAIL.
func (e *SubnetFullError) Unwrap() error { return unix.EADDRNOTAVAIL }

// AddressInUseError says that a live container has the address.
type AddressInUseError struct {
	Address netip.Addr
	Owner   string
}

func (e *AddressInUseError) Error() string { return "in use by container " + e.Owner }

// Unwrap returns EADDRINUSE.
func (e *AddressInUseError) Unwrap() error { return unix.EADDRINUSE }

// A pool gives out the addresses of one network.
type pool struct {
	file    string
	gateway netip.Prefix
	alive   func(owner string) bool
	dry     bool // look, but take nothing
}

// lease gives the owner the next free address: next after the one that was
// given last, not the lowest, so that an address rests before it is used again
// and whoever remembers its last owner has time to forget.
func (p pool) lease(owner string) (netip.Addr, error) {
	var given netip.Addr
	err := p.locked(func(t *leaseTable) error {
		taken := 0
		for a := range hosts(p.gateway, t.last) {
			err := p.claim(t, a, owner)
			if inUse := (*AddressInUseError)(nil); errors.As(err, &inUse) {
				taken++
				continue
			}
			if err != nil {
				return err
			}
			given = a
			if p.dry {
				return nil
			}
			return t.remember(a)
		}
		return &SubnetFullError{Subnet: p.gateway.Masked(), Leased: taken}
	})
	return given, step.Fail("lease an address of", p.gateway.Masked().String(), err)
}

// leaseThis gives the owner the address that was asked for.
func (p pool) leaseThis(owner string, a netip.Addr) error {
	err := p.locked(func(t *leaseTable) error { return p.claim(t, a, owner) })
	return step.Fail("lease address", a.String(), err)
}

// claim makes the lease, or fails with AddressInUseError. The owner may claim
// what it has.
func (p pool) claim(t *leaseTable, a netip.Addr, owner string) error {
	holder, held := t.owner(a)
	switch {
	case held && holder == owner:
		return nil
	case held && p.alive != nil && p.alive(holder):
		return &AddressInUseError{Address: a, Owner: holder}
	case p.dry:
		return nil
	}
	return t.put(a, owner)
}

// locked calls f with the table of leases, and with the lock on all of them.
// A dry run takes nothing: it needs no lock and makes no file.
func (p pool) locked(f func(*leaseTable) error) error {
	if p.dry {
		return readTable(p.file, f)
	}
	return withLock(filepath.Dir(p.file), func() error { return withTable(p.file, f) })
}

// hosts yields the addresses of the subnet that a container may have, beginning
// after last: not the network's own, not the broadcast address, not the
// gateway's.
func hosts(gateway netip.Prefix, last netip.Addr) iter.Seq[netip.Addr] {
	subnet := gateway.Masked()
	first, end := subnet.Addr().Next(), broadcast(subnet)
	begin := first
	if subnet.Contains(last) && last != end && last.Next() != end {
		begin = last.Next()
	}
	return func(yield func(netip.Addr) bool) {
		for a, wrapped := begin, false; ; {
			if a != gateway.Addr() && !yield(a) {
				return
			}
			if a = a.Next(); a == end {
				a, wrapped = first, true
			}
			if wrapped && a == begin {
				return
			}
		}
	}
}

// withLock calls f while it holds the lock of the directory, which it makes if
// it is missing. The kernel drops the lock of a process that dies.
func withLock(dir string, f func() error) error {
	d, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		d, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer closeFD(d)
	for {
		err = unix.Flock(d, unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return &os.PathError{Op: "flock", Path: dir, Err: err}
	}
	return f()
}

// Release gives the container's addresses back. It is no error when there is no
// lease, or when it has been taken over by another container.
func Release(cfg *Config) error {
	var errs []error
	for _, e := range cfg.Endpoints {
		errs = append(errs, e.Release())
	}
	return errors.Join(errs...)
}

// Release gives the endpoint's addresses back, as Release does.
func (e Endpoint) Release() error {
	if e.Lease.File == "" {
		return nil
	}
	a := e.Interface.Address.Addr()
	err := withLock(filepath.Dir(e.Lease.File), func() error {
		return withTable(e.Lease.File, func(t *leaseTable) error {
			if owner, held := t.owner(a); !held || owner != e.Lease.Owner {
				return nil
			}
			return t.clear(a)
		})
	})
	return step.Fail("release address", a.String(), err)
}

// ReleaseOwner gives back every lease of a container of which no Config is
// left, as after a crash between the lease and the first write of the state.
// It reads the tables of all networks below the directory for what dies with
// the machine.
func ReleaseOwner(runroot, owner string) error {
	root := filepath.Join(runroot, leasesDir)
	tables, _ := filepath.Glob(filepath.Join(root, "*")) // the pattern is well-formed
	if len(tables) == 0 {
		return nil
	}
	err := withLock(root, func() error {
		var errs []error
		for _, file := range tables {
			errs = append(errs, withTable(file, func(t *leaseTable) error {
				var errs []error
				for a, holder := range t.all() {
					if holder == owner {
						errs = append(errs, t.clear(a))
					}
				}
				return errors.Join(errs...)
			}))
		}
		return errors.Join(errs...)
	})
	return step.Fail("release the addresses of", owner, err)
}

// unused calls f unless another container has a lease of the network, or with
// anyNetwork, of any. It holds the lock, so that nobody can take a lease
// meanwhile. Leases of the dead count: better a bridge too many than a
// container cut off.
func (l Lease) unused(anyNetwork bool, f func() error) error {
	if l.File == "" {
		return f()
	}
	root := filepath.Dir(l.File)
	return withLock(root, func() error {
		tables := []string{l.File}
		if anyNetwork {
			tables, _ = filepath.Glob(filepath.Join(root, "*")) // the pattern is well-formed
		}
		others := false
		for _, file := range tables {
			err := readTable(file, func(t *leaseTable) error {
				for _, owner := range t.all() {
					others = others || owner != l.Owner
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		if others {
			return nil
		}
		return f()
	})
}
