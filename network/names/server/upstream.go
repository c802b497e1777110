package server

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	resolvConf = "/etc/resolv.conf"
	maxServers = 3 // MAXNS of resolv.conf(5)
)

// An upstream is the host's list of servers. The server of names runs in the host's
// network, so it can ask those on the host's loopback, which no container can.
type upstream struct {
	path string

	mu      sync.Mutex
	version version
	servers []netip.Addr
}

// A version tells two states of a file apart.
type version struct {
	dev, ino uint64
	size     int64
	changed  unix.Timespec
}

// current reads the file again when it has changed.
func (u *upstream) current() []netip.Addr {
	u.mu.Lock()
	defer u.mu.Unlock()
	var st unix.Stat_t
	now := version{}
	if unix.Stat(u.path, &st) == nil {
		now = version{st.Dev, st.Ino, st.Size, st.Ctim}
	}
	if u.servers == nil || now != u.version {
		text, _ := os.ReadFile(u.path) // what is missing is empty, resolv.conf(5)
		u.version, u.servers = now, parseServers(string(text))
	}
	return slices.Clone(u.servers)
}

// parseServers reads a resolv.conf(5). Without a server the local one is meant.
func parseServers(text string) []netip.Addr {
	var list []netip.Addr
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" || len(list) == maxServers {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			list = append(list, a.Unmap())
		}
	}
	if len(list) == 0 {
		list = append(list, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	return list
}
