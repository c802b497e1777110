package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

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
// none, and is taken over when no address is left that nobody has.
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
	if e.Leased == 1 {
		return "its one address is in use"
	}
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
	file     string
	gateway  netip.Prefix // of IPv4, and the length of the subnet; the zero Prefix: no IPv4
	gateway6 netip.Prefix // the same of IPv6
	within   netip.Prefix // what is given in turn lies in here; the zero Prefix: in the subnet
	within6  netip.Prefix
	reserved []netip.Addr // never given

	alive func(owner string) bool
	// there fails when the network has been removed; nil for one that always is
	// there. Who removes one holds the lock.
	there func() error
	// ports lists the names of the bridge's ports; nil when there is no bridge,
	// and so no limit.
	ports func() ([]string, error)
	dry   bool // look, but take nothing
}

// lease gives the owner the next free IPv4 address.
func (p pool) lease(owner string) (netip.Addr, error) {
	given, err := p.leaseBoth(owner, [2]netip.Addr{})
	return given[0], err
}

// leaseThis gives the owner the address that was asked for.
func (p pool) leaseThis(owner string, a netip.Addr) error {
	_, err := p.leaseBoth(owner, [2]netip.Addr{a})
	return err
}

// leaseBoth gives the owner an address of each family that the network has: the
// one that was asked for, or else the next free one. That is the next after the
// one that was given last, not the lowest, so that an address rests before it is
// used again and whoever remembers its last owner has time to forget. It is one
// whose owner is dead only when no other is left.
//
// An IPv6 address in turn is the one at the place of the IPv4 address, where that
// is free: fd4d:12::5 belongs to 172.18.0.5.
func (p pool) leaseBoth(owner string, want [2]netip.Addr) (given [2]netip.Addr, err error) {
	stretches := p.stretches()
	err = p.locked(func(t *leaseTable) error {
		if err := t.arrange([2]netip.Addr{stretches[0].base, stretches[1].base}, p.dry); err != nil {
			return step.Fail("arrange the leases in", p.file, err)
		}
		if err := p.room(t, owner); err != nil {
			return step.Fail("lease an address of", p.subnets(), err)
		}
		var spots []spot
		last := t.last
		for f, s := range stretches {
			if !s.gateway.IsValid() {
				continue
			}
			got, inTurn, err := p.choose(t, s, owner, want[f], p.sister(given[0]))
			if err != nil {
				return err
			}
			if inTurn && len(spots) == 0 {
				last = got.address
			}
			given[f] = got.address
			spots = append(spots, got)
		}
		if p.dry {
			return nil
		}
		return step.Fail("lease an address of", p.subnets(), write(t, spots, owner, last))
	})
	return given, err
}

// choose finds the address that the owner shall have of one family.
func (p pool) choose(t *leaseTable, s stretch, owner string, want, sister netip.Addr) (got spot, inTurn bool, err error) {
	if want.IsValid() {
		got, err = p.claim(t, want, owner)
		return got, false, step.Fail("lease address", want.String(), err)
	}
	if s.gateway.Addr().Is6() && s.within.Contains(sister) && s.gives(sister) {
		got, err = p.claim(t, sister, owner)
		if !errors.Is(err, unix.EADDRINUSE) {
			return got, true, step.Fail("lease address", sister.String(), err)
		}
	}
	after := t.last
	if s.gateway.Addr().Is6() && sister.IsValid() {
		after = sister
	}
	got, err = p.next(t, s, owner, after)
	return got, true, step.Fail("lease an address of", s.within.String(), err)
}

// next finds the next free address of the stretch.
func (p pool) next(t *leaseTable, s stretch, owner string, after netip.Addr) (spot, error) {
	start, ok := distance(s.from, after)
	if start++; !ok || start >= s.size {
		start = 0
	}
	free, err := t.nextFree(s, start)
	if err != nil || free.address.IsValid() {
		return free, err
	}
	taken := 0
	for i := range s.size {
		a := plus(s.from, (start+i)%s.size)
		if !s.gives(a) {
			continue
		}
		got, err := p.claim(t, a, owner)
		if !errors.Is(err, unix.EADDRINUSE) {
			return got, err
		}
		taken++
	}
	return spot{}, &SubnetFullError{Subnet: s.within, Leased: taken}
}

// claim finds the line of the address, or fails with AddressInUseError. The owner
// may claim what it has.
func (p pool) claim(t *leaseTable, a netip.Addr, owner string) (spot, error) {
	s, err := t.find(a)
	switch {
	case err != nil || s.owner == owner:
		return s, err
	case s.owner != "" && (p.alive == nil || p.alive(s.owner)):
		return s, &AddressInUseError{Address: a, Owner: s.owner}
	case p.gatewaysTwin(a):
		return s, fmt.Errorf("it would have the hardware address of the gateway: %w", unix.EADDRINUSE)
	case s.twin.IsValid():
		return s, fmt.Errorf("it would have the hardware address of %s, which is leased: %w", s.twin, unix.EADDRINUSE)
	}
	return s, nil
}

// gatewaysTwin reports whether the IPv6 address has the hash of the gateway's.
func (p pool) gatewaysTwin(a netip.Addr) bool {
	return a.Is6() && hashed(p.gateway6) && hashed(netip.PrefixFrom(a, p.gateway6.Bits())) && farHash(a) == farHash(p.gateway6.Addr())
}

// write makes the leases.
func write(t *leaseTable, spots []spot, owner string, last netip.Addr) error {
	mine := func(s spot) bool { return s.owner == owner }
	if !slices.ContainsFunc(spots, func(s spot) bool { return !mine(s) }) {
		return nil
	}
	leased := t.leased
	// Who takes over all that a dead one had is no more than that one was.
	if leased >= 0 && (spots[0].owner == "" || slices.ContainsFunc(spots, func(s spot) bool { return s.owner != spots[0].owner })) {
		leased++
	}
	if leased < 0 {
		n, err := t.owners()
		if err != nil {
			return err
		}
		leased = n + 1
	}
	if err := t.count(last, leased); err != nil {
		return err
	}
	for _, s := range spots {
		if mine(s) {
			continue
		}
		if err := t.put(s, owner); err != nil {
			return err
		}
	}
	return nil
}

// locked calls f with the table of leases, and with the lock on all of them.
// A dry run takes nothing: it needs no lock and makes no file.
func (p pool) locked(f func(*leaseTable) error) error {
	if p.dry {
		return readTable(p.file, f)
	}
	return withLock(filepath.Dir(p.file), func() error {
		if p.there != nil {
			if err := p.there(); err != nil {
				return err
			}
		}
		return withTable(p.file, f)
	})
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
func (e Endpoint) Release() error { return e.Lease.release(e.Interface.Addresses()...) }

// release gives back the addresses, as far as they are the owner's.
func (l Lease) release(addresses ...netip.Prefix) error {
	if l.File == "" || len(addresses) == 0 {
		return nil
	}
	err := withLock(filepath.Dir(l.File), func() error {
		return changeTable(l.File, func(t *leaseTable) error {
			var lines []int
			for _, a := range addresses {
				s, err := t.find(a.Addr())
				if err != nil {
					return err
				}
				if s.owner == l.Owner {
					lines = append(lines, s.line)
				}
			}
			return t.free(lines)
		})
	})
	return step.Fail("release address", addresses[0].Addr().String(), err)
}

// free frees the lines of one container.
func (t *leaseTable) free(lines []int) error {
	var errs []error
	for _, line := range lines {
		errs = append(errs, t.clear(line))
	}
	if len(lines) > 0 && t.leased > 0 {
		errs = append(errs, t.count(t.last, t.leased-1))
	}
	return errors.Join(errs...)
}

// ReleaseOwner gives back every lease of a container but those to keep, which are
// of its Config if one is left, as after a crash between the lease and the first
// write of the state. It reads the tables of all networks below the directory for
// what dies with the machine.
func ReleaseOwner(runroot, owner string, keep ...netip.Prefix) error {
	root := filepath.Join(runroot, leasesDir)
	files := tables(root)
	if len(files) == 0 {
		return nil
	}
	err := withLock(root, func() error {
		var errs []error
		for _, file := range files {
			errs = append(errs, changeTable(file, func(t *leaseTable) error {
				var lines []int
				for line, l := range t.lines() {
					if l.owner == owner && !slices.ContainsFunc(keep, func(p netip.Prefix) bool { return p.Addr() == l.address }) {
						lines = append(lines, line)
					}
				}
				return t.free(lines)
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
		files := []string{l.File}
		if anyNetwork {
			files = tables(root)
		}
		others := false
		for _, file := range files {
			err := readTable(file, func(t *leaseTable) error {
				for _, owner := range t.all() {
					if others = others || owner != l.Owner; others {
						break
					}
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
