package namespaces

import (
	"cmp"
	"fmt"
	"slices"
)

// A Namespace is one room of the machine.
type Namespace struct {
	Kind  Kind
	Inode uint64 // its number as long as it lives: net:[4026531840]

	// Processes are those in it, the lowest pid, which lsns(8) shows, first. Only of
	// that one more than the number is read; Describe reads it of another.
	Processes []Process
	// Paths are bind mounts of it, such as /run/netns/blue. One in a mount namespace
	// that the caller is not in stands behind the others and begins with
	// /proc/PID/root.
	Paths []string
	// Held are open descriptors of it.
	Held []Holder

	// Parent is the inode of the namespace that it was made in, of the kinds that form
	// a tree: pid and user. It is 0 for the first one, and for one that the caller may
	// not see.
	Parent uint64
	// UserOwner is the inode of the user namespace whose capabilities rule it,
	// user_namespaces(7); of a user namespace it is its parent. It is 0 for the first
	// one, for one that the caller may not see, and of what is only mounted in another
	// mount namespace.
	UserOwner uint64
	// UID is who made a user namespace; of other kinds, who made the one that owns it.
	UID uint32
	// Host is whether the host's own processes are in it; see Host.
	Host bool

	parentCommand string // of the first process's parent: what looks after a container
}

// String is what the link in /proc/PID/ns says: net:[4026531840].
func (n Namespace) String() string { return fmt.Sprintf("%s:[%d]", n.Kind, n.Inode) }

// Leader is the process with the lowest pid; its Pid is 0 when nobody is in the
// namespace.
func (n Namespace) Leader() Process {
	if len(n.Processes) == 0 {
		return Process{}
	}
	return n.Processes[0]
}

// A Holder is a descriptor of a namespace that some process has open.
type Holder struct {
	Pid int
	FD  int
}

// Read returns the namespaces of the given kinds, of all when there are none, in the
// order of their inodes. One that vanishes meanwhile is left out.
func Read(kinds ...Kind) ([]Namespace, error) {
	if len(kinds) == 0 {
		kinds = Kinds()
	}
	s, err := scan(wanted(kinds))
	if err != nil {
		return nil, err
	}
	r := &register{wanted: wanted(kinds), known: map[key]*Namespace{}}
	r.addProcesses(s)
	r.addMounts(s)
	r.addHolders(s)
	r.relate()
	r.describe()
	r.markHost()
	return r.list(), nil
}

// wanted is which kinds are asked for, in the order of Kinds.
func wanted(kinds []Kind) (w [8]bool) {
	for i, k := range Kinds() {
		w[i] = slices.Contains(kinds, k)
	}
	return w
}

// key is what tells a namespace from all others: inodes are numbered across kinds,
// but the kernel does not promise it.
type key struct {
	kind  int
	inode uint64
}

// A register is the namespaces that have been found.
type register struct {
	wanted [8]bool
	known  map[key]*Namespace
}

// get returns the namespace of the key, which may be new.
func (r *register) get(k key) *Namespace {
	n := r.known[k]
	if n == nil {
		n = &Namespace{Kind: Kinds()[k.kind], Inode: k.inode}
		r.known[k] = n
	}
	return n
}

// addProcesses enters the processes, which come in the order of their pids.
func (r *register) addProcesses(s *snapshot) {
	for kind, wanted := range r.wanted {
		if !wanted {
			continue
		}
		last := key{kind: -1}
		var n *Namespace
		for i := range s.processes {
			p := &s.processes[i]
			k := key{kind, p.inodes[kind]}
			if k.inode == 0 {
				continue
			}
			if k != last { // neighbours are often in the same
				n, last = r.get(k), k
			}
			n.Processes = append(n.Processes, Process{Pid: p.pid})
		}
	}
}

// addHolders enters the open descriptors.
func (r *register) addHolders(s *snapshot) {
	for i := range s.processes {
		for _, d := range s.processes[i].held {
			if r.wanted[d.kind] {
				n := r.get(d.key)
				n.Held = append(n.Held, Holder{Pid: s.processes[i].pid, FD: d.fd})
			}
		}
	}
}

// describe reads the details of each namespace's first process, once for all the
// namespaces that it is the first of. One that has ended since keeps its number.
func (r *register) describe() {
	described, parents := map[int]Process{}, map[int]string{}
	for _, n := range r.known {
		if len(n.Processes) == 0 {
			continue
		}
		pid := n.Processes[0].Pid
		p, ok := described[pid]
		if !ok {
			var err error
			if p, err = Describe(pid); err != nil {
				p = Process{Pid: pid}
			}
			described[pid] = p
			parents[pid] = command(p.PPid)
		}
		n.Processes[0], n.parentCommand = p, parents[pid]
	}
}

func (r *register) markHost() {
	host, err := Host()
	if err != nil {
		return // then not even the caller's own can be read
	}
	for _, n := range r.known {
		n.Host = host[n.Kind] == n.Inode
	}
}

func (r *register) list() []Namespace {
	list := make([]Namespace, 0, len(r.known))
	for _, n := range r.known {
		list = append(list, *n)
	}
	slices.SortFunc(list, func(a, b Namespace) int {
		return cmp.Or(cmp.Compare(a.Inode, b.Inode), cmp.Compare(a.Kind, b.Kind))
	})
	return list
}
