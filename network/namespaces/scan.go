package namespaces

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A snapshot is what /proc says of each process's namespaces.
type snapshot struct {
	processes []scanned // by pid
	self      uint64    // the caller's mount namespace
}

// scanned is one process.
type scanned struct {
	pid    int
	inodes [8]uint64 // in the order of Kinds; 0: unreadable, or not asked for
	held   []descriptor
}

// A descriptor is an open file that is a namespace.
type descriptor struct {
	key
	fd int
}

// scan reads the links of all processes, on all processors: with some thousand
// processes nearly all of the time is the kernel's.
func scan(wanted [8]bool) (*snapshot, error) {
	wanted[Mount.index()] = true // whose mount tables to read
	proc, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/proc", Err: err}
	}
	defer unix.Close(proc)
	pids, err := pids(proc)
	if err != nil {
		return nil, &os.PathError{Op: "read", Path: "/proc", Err: err}
	}
	s := &snapshot{processes: make([]scanned, len(pids))}
	self, err := Self()
	if err != nil {
		return nil, err
	}
	s.self = self[Mount]
	const chunk = 64
	var next sync.Mutex
	at := 0
	take := func() (from, to int) {
		next.Lock()
		defer next.Unlock()
		from = at
		at = min(at+chunk, len(pids))
		return from, at
	}
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			r := &reader{proc: proc, wanted: wanted}
			for from, to := take(); from < to; from, to = take() {
				for i := from; i < to; i++ {
					s.processes[i] = r.process(pids[i])
				}
			}
		})
	}
	all.Wait()
	return s, nil
}

// pids are the processes of the directory /proc, in order.
func pids(proc int) (list []int, err error) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(proc, buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			slices.Sort(list)
			return list, err
		}
		_, _, names := unix.ParseDirent(buffer[:n], -1, nil)
		for _, name := range names {
			if pid, err := strconv.Atoi(name); err == nil {
				list = append(list, pid)
			}
		}
	}
}

// A reader reads processes one after the other, with buffers of its own.
type reader struct {
	proc    int // the directory /proc
	wanted  [8]bool
	target  [64]byte
	entries [4096]byte
	names   []string
}

// process reads one process. What cannot be read, since it has ended or is another
// user's, is left empty.
func (r *reader) process(pid int) scanned {
	p := scanned{pid: pid}
	// Each path from there is one look-up shorter: of 5,000 processes that is a third
	// of the time.
	directory, err := unix.Openat(r.proc, strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return p
	}
	defer unix.Close(directory)
	if r.links(directory, &p.inodes) {
		p.held = r.descriptors(directory)
	}
	return p
}

// links reads the namespaces of a process and tells whether it has files that may be
// looked at.
func (r *reader) links(directory int, inodes *[8]uint64) bool {
	for i, link := range linkNames {
		if !r.wanted[i] {
			continue
		}
		inode, err := r.link(directory, link)
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.ESRCH) {
			return false
		}
		inodes[i] = inode // none: it is a zombie, or the kernel does not have the kind
	}
	return true
}

// linkNames are the links of /proc/PID, in the order of Kinds.
var linkNames = [8]string{"ns/mnt", "ns/net", "ns/pid", "ns/uts", "ns/ipc", "ns/user", "ns/cgroup", "ns/time"}

// link reads a link like net:[4026531840].
func (r *reader) link(directory int, name string) (uint64, error) {
	for {
		n, err := unix.Readlinkat(directory, name, r.target[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		k, _ := parseLink(string(r.target[:n]))
		return k.inode, nil
	}
}

// parseLink reads what a link to a namespace says.
func parseLink(text string) (key, bool) {
	name, number, ok := strings.Cut(text, ":[")
	number, ends := strings.CutSuffix(number, "]")
	if !ok || !ends {
		return key{}, false
	}
	inode, err := strconv.ParseUint(number, 10, 64)
	kind := Kind(name).index()
	return key{kind, inode}, err == nil && kind >= 0
}

// descriptors looks for open namespaces among the files of a process.
func (r *reader) descriptors(process int) (held []descriptor) {
	fd, err := unix.Openat(process, "fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	for {
		n, err := unix.ReadDirent(fd, r.entries[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return held
		}
		_, _, r.names = unix.ParseDirent(r.entries[:n], -1, r.names[:0])
		for _, file := range r.names {
			if d, ok := r.descriptor(fd, file); ok {
				held = append(held, d)
			}
		}
	}
}

func (r *reader) descriptor(directory int, file string) (descriptor, bool) {
	n, err := unix.Readlinkat(directory, file, r.target[:])
	if err != nil || n == 0 || r.target[n-1] != ']' && r.target[n-1] != '/' {
		return descriptor{}, false
	}
	k, ok := parseLink(string(r.target[:n]))
	if string(r.target[:n]) == "/" {
		k, ok = detached(directory, file)
	}
	if !ok {
		return descriptor{}, false
	}
	number, err := strconv.Atoi(file)
	return descriptor{k, number}, err == nil
}

// detached reads a descriptor whose link is "/": the root directory or, of a namespace
// that was opened by a bind mount which has been taken away since, the root of that
// mount. As long as the mount is there, the link is its path, and the table of mounts
// has the namespace.
func detached(directory int, file string) (key, bool) {
	var st unix.Statx_t
	// What the descriptor leads to must not be waited for.
	if unix.Statx(directory, file, unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return key{}, false
	}
	fd, err := unix.Openat(directory, file, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return key{}, false
	}
	f := os.NewFile(uintptr(fd), file)
	defer f.Close()
	kind, err := KindOf(f)
	if err != nil {
		return key{}, false
	}
	inode, err := Inode(f)
	return key{kind.index(), inode}, err == nil
}
