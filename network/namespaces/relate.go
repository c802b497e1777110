package namespaces

import (
	"golang.org/x/sys/unix"
)

// relate asks the kernel for each namespace's parent and owner. Ancestors that nobody
// is in are found this way, and entered: a child keeps its parents alive.
func (r *register) relate() {
	todo := make([]*Namespace, 0, len(r.known))
	for _, n := range r.known {
		todo = append(todo, n)
	}
	makers := map[uint64]uint32{}
	for _, n := range todo {
		f := n.openNear()
		if f == nil {
			continue // it is gone, or not ours to open
		}
		r.relateOpen(n, int(f.Fd()), makers)
		f.Close()
	}
}

// relateOpen reads the relations of a namespace that is open, and of its ancestors.
// Makers remembers who made each user namespace.
func (r *register) relateOpen(n *Namespace, fd int, makers map[uint64]uint32) {
	if owner, err := related(fd, unix.NS_GET_USERNS); err == nil {
		n.UserOwner, n.UID = owner.inode, owner.maker(makers)
		r.ancestor(User, owner, makers)
		owner.close()
	}
	if n.Kind == User {
		n.UID = relation{fd, n.Inode}.maker(makers)
	}
	if n.Kind != User && n.Kind != PID {
		return
	}
	if parent, err := related(fd, unix.NS_GET_PARENT); err == nil {
		n.Parent = parent.inode
		r.ancestor(n.Kind, parent, makers)
		parent.close()
	}
}

// ancestor enters a namespace that was found as a parent or owner, unless it is known.
func (r *register) ancestor(kind Kind, found relation, makers map[uint64]uint32) {
	k := key{kind.index(), found.inode}
	if !r.wanted[k.kind] || r.known[k] != nil {
		return
	}
	r.relateOpen(r.get(k), found.fd, makers)
}

// A relation is an open namespace that another one led to.
type relation struct {
	fd    int
	inode uint64
}

func (r relation) close() { unix.Close(r.fd) }

// related follows ioctl_ns(2), NS_GET_USERNS and NS_GET_PARENT, Linux 4.9. EPERM: it
// lies outside of what the caller may see.
func related(fd int, request uint) (relation, error) {
	found, err := unix.IoctlRetInt(fd, request)
	if err != nil {
		return relation{}, err
	}
	inode, err := inodeOf(found)
	if err != nil {
		unix.Close(found)
		return relation{}, err
	}
	return relation{found, inode}, nil
}

// maker is who made a user namespace.
func (r relation) maker(known map[uint64]uint32) uint32 {
	uid, ok := known[r.inode]
	if !ok {
		// NS_GET_OWNER_UID, Linux 4.11; it cannot fail on a user namespace.
		uid, _ = unix.IoctlGetUint32(r.fd, unix.NS_GET_OWNER_UID)
		known[r.inode] = uid
	}
	return uid
}
