package server

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/names"
)

// A directory is what the records of all networks say. It is as new as the question
// that is answered from it: inotify(7) queues an event before rename(2) returns, and
// every lookup takes in what is queued first.
type directory struct {
	root    string
	own     string        // the server's network
	changed chan struct{} // something has, perhaps

	mu       sync.Mutex
	inotify  int      // does not block; -1: nothing changes any more
	file     *os.File // the same, for the poller
	networks map[string]*network
	turn     int // of those who share a name
}

// A network is one directory of records.
type network struct {
	name      string
	watch     int32
	records   map[string]*names.Record // by file; nil for one that cannot be read
	byName    map[string][]*names.Record
	byAddress map[netip.Addr]*names.Record
	gateways  []netip.Prefix
	internal  bool
}

const (
	rootEvents    = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_ONLYDIR
	networkEvents = unix.IN_CLOSE_WRITE | unix.IN_DELETE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_ONLYDIR
)

func newDirectory(root, own string) *directory {
	return &directory{root: root, own: own, changed: make(chan struct{}, 1), inotify: -1, networks: map[string]*network{}}
}

// openDirectory reads all networks and begins to watch them.
func openDirectory(root, own string) (*directory, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	d := newDirectory(root, own)
	d.inotify, d.file = fd, os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, root, rootEvents); err != nil {
		return nil, errors.Join(&os.PathError{Op: "watch", Path: root, Err: err}, d.file.Close())
	}
	if err := d.readAll(); err != nil {
		return nil, errors.Join(err, d.file.Close())
	}
	return d, nil
}

// readAll reads every network anew: at the beginning, and after a queue of events has
// overflowed.
func (d *directory) readAll() error {
	entries, err := os.ReadDir(d.root)
	if err != nil {
		return err
	}
	clear(d.networks)
	for _, entry := range entries {
		if entry.IsDir() {
			d.read(entry.Name(), true)
		}
	}
	return nil
}

// read reads a network whose directory has come or gone. When the kernel gives the
// same number for its watch as before, it is the one that is known.
func (d *directory) read(name string, anew bool) {
	path := filepath.Join(d.root, name)
	watch, err := unix.InotifyAddWatch(d.inotify, path, networkEvents)
	if err != nil {
		delete(d.networks, name)
		return
	}
	if n := d.networks[name]; n != nil && n.watch == int32(watch) && !anew {
		return
	}
	n := newNetwork(name)
	n.watch = int32(watch)
	d.networks[name] = n
	files, _ := os.ReadDir(path) // gone: that is an event, too
	for _, file := range files {
		n.read(path, file.Name())
	}
}

func newNetwork(name string) *network {
	return &network{name: name, records: map[string]*names.Record{}, byName: map[string][]*names.Record{}, byAddress: map[netip.Addr]*names.Record{}}
}

// read reads one record. A file that is none holds the directory, as it keeps it
// from being removed, and says nothing.
func (n *network) read(dir, file string) {
	n.forget(file)
	r, err := names.Read(filepath.Join(dir, file))
	switch {
	case err == nil && r.Container == file:
		n.learn(&r)
	case !errors.Is(err, unix.ENOENT):
		n.records[file] = nil
	}
}

func (n *network) learn(r *names.Record) {
	n.records[r.Container] = r
	for _, name := range r.Names() {
		n.byName[name] = append(n.byName[name], r)
	}
	for _, a := range addresses(r) {
		n.byAddress[a] = r
	}
	n.internal = r.Internal
	n.gateways = slices.DeleteFunc([]netip.Prefix{r.Gateway, r.Gateway6}, func(p netip.Prefix) bool { return !p.IsValid() })
}

func (n *network) forget(file string) {
	r := n.records[file]
	delete(n.records, file)
	if r == nil {
		return
	}
	for _, name := range r.Names() {
		left := slices.DeleteFunc(n.byName[name], func(other *names.Record) bool { return other == r })
		if n.byName[name] = left; len(left) == 0 {
			delete(n.byName, name)
		}
	}
	for _, a := range addresses(r) {
		if n.byAddress[a] == r {
			delete(n.byAddress, a)
		}
	}
}

func addresses(r *names.Record) []netip.Addr {
	return slices.DeleteFunc([]netip.Addr{r.Address.Unmap(), r.Address6}, func(a netip.Addr) bool { return !a.IsValid() })
}

// occupied reports whether the server's network has a record.
func (d *directory) occupied() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.update()
	n := d.networks[d.own]
	return n != nil && len(n.records) > 0
}

// watch takes in what changes, also while nobody asks.
func (d *directory) watch() {
	raw, err := d.file.SyscallConn()
	if err != nil {
		return // closed
	}
	_ = raw.Read(func(uintptr) (done bool) { // until it is closed
		d.mu.Lock()
		defer d.mu.Unlock()
		d.update()
		return false // wait for more
	})
}

func (d *directory) close() {
	d.mu.Lock()
	d.inotify = -1
	d.mu.Unlock()
	_ = d.file.Close() // it waits for watch, which may want the lock
}

// eventBytes has room for some events; one has at most 272 bytes.
const eventBytes = 4096

// update takes in the events that are queued. The caller holds the lock.
func (d *directory) update() {
	if d.inotify < 0 {
		return
	}
	var buffer [eventBytes]byte
	for {
		n, err := unix.Read(d.inotify, buffer[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return // EAGAIN: that was all
		}
		for event := range events(buffer[:n]) {
			d.take(event)
		}
		select {
		case d.changed <- struct{}{}:
		default: // it is known already
		}
	}
}

// An event is struct inotify_event, inotify(7).
type event struct {
	watch int32
	mask  uint32
	name  string
}

func events(b []byte) func(yield func(event) bool) {
	return func(yield func(event) bool) {
		for len(b) >= unix.SizeofInotifyEvent {
			e := event{watch: int32(binary.NativeEndian.Uint32(b)), mask: binary.NativeEndian.Uint32(b[4:])}
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			if end > len(b) {
				return
			}
			e.name = strings.TrimRight(string(b[unix.SizeofInotifyEvent:end]), "\x00")
			b = b[end:]
			if !yield(e) {
				return
			}
		}
	}
}

func (d *directory) take(e event) {
	if e.mask&unix.IN_Q_OVERFLOW != 0 {
		_ = d.readAll() // the root is gone: so are the networks, which orphaned sees
		return
	}
	for _, n := range d.networks {
		if n.watch == e.watch {
			if e.name != "" {
				n.read(filepath.Join(d.root, n.name), e.name)
			}
			return
		}
	}
	if e.mask&unix.IN_ISDIR != 0 {
		d.read(e.name, false)
	}
}
