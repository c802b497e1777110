// Package watch tells when a network changes, as the kernel says it, so that nobody
// has to look again and again.
//
//	links, addresses, routes, neighbours, forwarding   NETLINK_ROUTE, multicast groups
//	tables, chains, rules, elements of sets            NETLINK_NETFILTER, NFNLGRP_NFTABLES
//	names of namespaces, containers                    inotify(7) on directories
//
// One pair of sockets hears all namespaces that are neighbours of the caller's: with
// NETLINK_LISTEN_ALL_NSID (Linux 4.2) a socket gets the messages of each namespace
// that has a number in its own, which is each that a cable leads to. A socket in every
// namespace would hear those farther away, too, but a socket keeps its namespace
// alive: a container that ends would keep its links as long as somebody watches.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A Watch is a set of sockets that hear of changes.
type Watch struct {
	files   []*os.File
	inotify int // its descriptor: File.Fd would make it blocking
	events  chan struct{}
	broken  chan error
}

// routeGroups are the groups of NETLINK_ROUTE that say something of a network,
// linux/rtnetlink.h.
var routeGroups = []int{
	unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_NSID, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
	unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF,
}

// Open begins to listen in the network namespace of the calling thread.
func Open() (*Watch, error) {
	w := &Watch{events: make(chan struct{}, 1), broken: make(chan error, 3)}
	for _, s := range []struct {
		protocol int
		groups   []int
	}{{unix.NETLINK_ROUTE, routeGroups}, {unix.NETLINK_NETFILTER, []int{unix.NFNLGRP_NFTABLES}}} {
		file, err := listen(s.protocol, s.groups)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen for changes: %w", err), w.Close())
		}
		w.files = append(w.files, file)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("inotify_init1", err), w.Close())
	}
	w.inotify = fd
	w.files = append(w.files, os.NewFile(uintptr(fd), "inotify"))
	for _, file := range w.files {
		go w.read(file)
	}
	return w, nil
}

// Close ends it.
func (w *Watch) Close() error {
	var errs []error
	for _, file := range w.files {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}

// listen opens a netlink socket in the groups. To hear other namespaces it needs
// CAP_NET_BROADCAST.
func listen(protocol int, groups []int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket(AF_NETLINK)", err)
	}
	file := os.NewFile(uintptr(fd), "netlink")
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), file.Close())
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1); err != nil {
		return nil, errors.Join(os.NewSyscallError("setsockopt(NETLINK_LISTEN_ALL_NSID)", err), file.Close())
	}
	for _, group := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return nil, errors.Join(fmt.Errorf("join netlink group %d: %w", group, err), file.Close())
		}
	}
	return file, nil
}

// read turns whatever arrives into an event. What it was does not matter, for
// everything is read anew; nor does it that some of it was lost (ENOBUFS).
func (w *Watch) read(file *os.File) {
	buffer := make([]byte, 64<<10)
	for {
		if _, err := file.Read(buffer); err != nil && !errors.Is(err, unix.ENOBUFS) {
			if !errors.Is(err, os.ErrClosed) {
				w.broken <- fmt.Errorf("listen for changes: %w", err)
			}
			return
		}
		w.Nudge()
	}
}

// Nudge makes Wait return as if something had changed.
func (w *Watch) Nudge() {
	select {
	case w.events <- struct{}{}:
	default: // there is one already
	}
}

// Directories watches what comes into the directories and leaves them. One that is not
// there yet is heard of by the one that it will be made in. It may be called again,
// with the same and with others.
func (w *Watch) Directories(paths ...string) error {
	for _, path := range paths {
		if err := w.directory(path); err != nil {
			return err
		}
	}
	return nil
}

func (w *Watch) directory(path string) error {
	for {
		_, err := unix.InotifyAddWatch(w.inotify, path, unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVE|unix.IN_ONLYDIR|unix.IN_DELETE_SELF)
		parent := filepath.Dir(path)
		if !errors.Is(err, fs.ErrNotExist) || parent == path {
			return os.NewSyscallError("inotify_add_watch "+path, err)
		}
		path = parent
	}
}

// Times of Wait: a change seldom comes alone. A container that starts makes dozens.
const (
	quiet   = 100 * time.Millisecond // after which it is taken to be over
	longest = 500 * time.Millisecond // from the first one on
)

// Wait returns when something has changed, a moment after the last of the changes.
func (w *Watch) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-w.broken:
		return err
	case <-w.events:
	}
	for end := time.After(longest); ; {
		select {
		case <-w.events:
		case <-time.After(quiet):
			return nil
		case <-end:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
