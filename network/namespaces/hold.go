package namespaces

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Holds is what keeps one namespace alive.
type Holds struct {
	Members []Member // who is in it
	Files   []Held   // descriptors of it, and of what was made in it
	Mounts  []Mounted
}

// A Member is a process of which one thread at least is in the namespace.
type Member struct {
	Process
	// Threads are those that are in it, when others are not: each thread has
	// namespaces of its own, and "ip netns exec" is the usual, not the only way in.
	Threads []int
}

// Held is an open file that keeps a namespace alive.
type Held struct {
	Process Process
	FD      int
	What    What
}

// What is an open file, seen from a namespace.
type What string

// What keeps a namespace alive.
const (
	Itself What = "the namespace" // open("/proc/PID/ns/net")
	Socket What = "a socket"      // made in it; its owner may have left
	Tunnel What = "a tunnel"      // /dev/net/tun
)

// Mounted is a bind mount of a namespace on a file.
type Mounted struct {
	Path string
	// Namespace is the mount namespace it is in, and Process one that sees it: nobody,
	// Pid 0, where that has no process. Of a mount in the caller's own both are zero.
	Namespace uint64
	Process   Process
}

// Empty reports whether nothing was found.
func (h *Holds) Empty() bool { return len(h.Members)+len(h.Files)+len(h.Mounts) == 0 }

// HoldsOf looks for all that keeps a namespace alive: unlike Read, which has to be
// quick, it looks at each thread and at each socket. What it cannot see are
// descriptors that are on their way in a message (unix(7), SCM_RIGHTS), connections
// that are still closing, tcp(7), and what the kernel itself does, as for a file system
// of a server that was mounted in a network namespace.
func HoldsOf(kind Kind, inode uint64) (*Holds, error) {
	f := &finder{wanted: key{kind.index(), inode}, holds: &Holds{}, tables: map[uint64]bool{0: true}}
	self, err := Self()
	if err != nil {
		return nil, err
	}
	f.tables[self[Mount]] = true
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/mnt", &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: "/proc/thread-self/ns/mnt", Err: err}
	}
	f.device = st.Dev
	f.mounts("/proc/thread-self/mountinfo", 0, 0)
	for pid := range everyProcess() {
		f.process(pid)
	}
	f.emptyMountNamespaces()
	return f.holds, nil
}

// everyProcess yields the numbers of all processes, in their order.
func everyProcess() func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for _, pid := range numbersIn("/proc") {
			if !yield(pid) {
				return
			}
		}
	}
}

// numbersIn are the names in a directory that are numbers; none where it is gone.
func numbersIn(directory string) (list []int) {
	f, err := os.Open(directory)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1) // of a process that ends meanwhile: what there was
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list
}

// A finder looks for what holds one namespace.
type finder struct {
	wanted key
	device uint64 // of all namespaces: nsfs
	holds  *Holds
	tables map[uint64]bool // mount namespaces whose table was read
}

func (f *finder) process(pid int) {
	directory := "/proc/" + strconv.Itoa(pid)
	inside, threads := f.threads(directory)
	if len(inside) > 0 {
		m := Member{Process: described(pid)}
		if len(inside) < threads {
			m.Threads = inside
		}
		f.holds.Members = append(f.holds.Members, m)
	}
	f.files(pid, len(inside) == threads && threads > 0)
	if inode := linked(directory + "/ns/mnt").inode; !f.tables[inode] {
		f.tables[inode] = f.mounts(directory+"/mountinfo", inode, pid)
	}
}

// described reads a process; of one that has just ended only the number is known.
func described(pid int) Process {
	p, err := Describe(pid)
	if err != nil {
		return Process{Pid: pid}
	}
	return p
}

// linked reads a link to a namespace; the zero key: there is none.
func linked(path string) key {
	target, err := os.Readlink(path)
	if err != nil {
		return key{}
	}
	k, _ := parseLink(target)
	return k
}

// threads returns the threads of a process that are in the namespace, and how many are
// in any. One that has ended and not been waited for is in none.
func (f *finder) threads(directory string) (inside []int, all int) {
	name := "/ns/" + string(Kinds()[f.wanted.kind])
	for _, tid := range numbersIn(directory + "/task") {
		switch linked(directory + "/task/" + strconv.Itoa(tid) + name) {
		case key{}:
			continue
		case f.wanted:
			inside = append(inside, tid)
		}
		all++
	}
	return inside, all
}

// files looks at the descriptors of a process. The sockets of one that is in the
// namespace tell nothing new.
func (f *finder) files(pid int, inside bool) {
	directory := "/proc/" + strconv.Itoa(pid) + "/fd/"
	pidfd := -1
	for _, fd := range numbersIn(directory) {
		path := directory + strconv.Itoa(fd)
		target, err := os.Readlink(path)
		if err != nil {
			continue
		}
		what := whatIs(target)
		if what == Itself && !f.is(path) {
			continue
		}
		if what != Itself {
			if inside || f.wanted.kind != Network.index() {
				continue
			}
			if pidfd < 0 {
				if pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
					return // it has ended
				}
				defer unix.Close(pidfd)
			}
			if madeIn(pidfd, fd) != f.wanted.inode {
				continue
			}
		}
		f.holds.Files = append(f.holds.Files, Held{Process: described(pid), FD: fd, What: what})
	}
}

// whatIs says by the link of a descriptor what it may be.
func whatIs(target string) What {
	switch {
	case strings.HasPrefix(target, "socket:["):
		return Socket
	case target == "/dev/net/tun":
		return Tunnel
	}
	return Itself
}

// is tells whether a descriptor is the namespace. Its link does not: of one that was
// opened by a bind mount it is that path, or what was left of it.
func (f *finder) is(path string) bool {
	var st unix.Statx_t
	// A file of a server that does not answer must not make it wait.
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st)
	return err == nil && st.Ino == f.wanted.inode && unix.Mkdev(st.Dev_major, st.Dev_minor) == f.device
}

// madeIn is the network namespace of another process's socket or tunnel; 0 when it
// cannot be told.
func madeIn(pidfd, fd int) uint64 {
	const siocgskns = 0x894c                     // linux/sockios.h, Linux 4.10
	copied, err := unix.PidfdGetfd(pidfd, fd, 0) // Linux 5.6
	if err != nil {
		return 0
	}
	defer unix.Close(copied)
	namespace, err := unix.IoctlRetInt(copied, siocgskns)
	if err != nil {
		return 0
	}
	defer unix.Close(namespace)
	inode, _ := inodeOf(namespace) // 0, then
	return inode
}

// mounts enters the mounts of one table and tells whether it could be read.
func (f *finder) mounts(file string, namespace uint64, pid int) bool {
	table, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	f.enter(string(table), namespace, pid)
	return true
}

func (f *finder) enter(table string, namespace uint64, pid int) {
	for _, b := range bindMounts(table) {
		if b.key != f.wanted {
			continue
		}
		m := Mounted{Path: b.path, Namespace: namespace}
		if pid != 0 {
			m.Process = described(pid)
		}
		f.holds.Mounts = append(f.holds.Mounts, m)
	}
}

// emptyMountNamespaces looks into the mount namespaces that no process is in, but that
// live by a descriptor or a mount.
func (f *finder) emptyMountNamespaces() {
	all, err := Read(Mount)
	if err != nil {
		return // then there is none to be seen
	}
	for _, n := range all {
		if f.tables[n.Inode] || len(n.Processes) > 0 {
			continue
		}
		if table, err := n.mountTable(); err == nil {
			f.enter(table, n.Inode, 0)
		}
	}
}
