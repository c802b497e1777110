package network

import (
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A table may be found whose lines are not where they are to be: one that an
// earlier minictr has left, which wrote each lease into the first free line, or
// one of a subnet that the network had before somebody gave its bridge another.
// The first lease makes a new table of it; until then the lines are searched.
//
// Should an earlier minictr lease from a new table, it takes the first line that
// is no lease, and that is line 1: so the table is seen to be out of order again.

// arrange sees to it that every address has its line, counted from these. A dry
// run works on a copy in memory.
func (t *leaseTable) arrange(from [2]netip.Addr, dry bool) error {
	if t.arranged(from) {
		return nil
	}
	found := map[netip.Addr]string{}
	for a, owner := range t.all() {
		found[a] = owner // an earlier minictr took the last of two
	}
	switch {
	case t.err != nil:
		return t.err
	case len(found) == 0:
		t.from = from
		if dry {
			return nil
		}
		return t.writeFrom()
	case dry:
		fd, err := unix.MemfdCreate(filepath.Base(t.file), unix.MFD_CLOEXEC)
		if err != nil {
			return os.NewSyscallError("memfd_create", err)
		}
		return t.moveTo(fd, from, found)
	}
	return t.replace(from, found)
}

func (t *leaseTable) writeFrom() error {
	text := ""
	for _, a := range t.from {
		if a.IsValid() {
			text += a.String() + " "
		}
	}
	return t.writeLine(1, fromWord, text)
}

// replace puts a new file in the old one's place, whole or not at all.
func (t *leaseTable) replace(from [2]netip.Addr, leases map[netip.Addr]string) error {
	// tables passes over a name with a point in front.
	file := filepath.Join(filepath.Dir(t.file), "."+filepath.Base(t.file))
	fd, err := unix.Open(file, unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "open", Path: file, Err: err}
	}
	if err := t.moveTo(fd, from, leases); err != nil {
		return err
	}
	return os.Rename(file, t.file)
}

// moveTo writes the leases into the empty file, which becomes the table's.
func (t *leaseTable) moveTo(fd int, from [2]netip.Addr, leases map[netip.Addr]string) error {
	t.close()
	t.fd, t.from = fd, from
	if err := t.writeFrom(); err != nil {
		return err
	}
	for a, owner := range leases {
		s, err := t.find(a)
		if err == nil {
			err = t.put(s, owner)
		}
		if err != nil {
			return err
		}
	}
	n, err := t.owners()
	if err != nil {
		return err
	}
	last := t.last
	t.last = netip.Addr{}
	return t.count(last, n)
}

// findOld looks an address up in a table that is not arranged.
func (t *leaseTable) findOld(a netip.Addr) (spot, error) {
	s := spot{address: a}
	for line, l := range t.lines() {
		if l.address == a {
			s.line, s.owner = line, l.owner
		}
	}
	return s, t.err
}
