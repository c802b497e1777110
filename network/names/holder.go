package names

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// holder says which process has port 53 of the address: its name and its id. It
// finds the socket in /proc/net/udp or tcp, proc_pid_net(5), and whose descriptor
// it is. Whatever cannot be read makes the answer "".
func holder(a netip.Addr, kind int) (comm, pid string) {
	tables := map[int]string{unix.SOCK_DGRAM: "udp", unix.SOCK_STREAM: "tcp"}
	var sockets []string
	for _, family := range []string{"", "6"} {
		text, _ := os.ReadFile("/proc/thread-self/net/" + tables[kind] + family)
		for line := range strings.Lines(string(text)) {
			if inode := inodeOn(line, a); inode != "" {
				sockets = append(sockets, "socket:["+inode+"]")
			}
		}
	}
	if len(sockets) == 0 {
		return "", ""
	}
	descriptors, _ := filepath.Glob("/proc/[1-9]*/fd/*") // the pattern is well-formed
	for _, path := range descriptors {
		if target, err := os.Readlink(path); err != nil || !slices.Contains(sockets, target) {
			continue
		}
		pid := strings.Split(path, "/")[2]
		if comm, err := os.ReadFile("/proc/" + pid + "/comm"); err == nil {
			return strings.TrimSpace(string(comm)), pid
		}
	}
	return "", ""
}

// The states of a socket in /proc/net that keep others from its port.
const (
	unconnected = "07"
	listening   = "0A"
)

// inodeOn returns the inode of the socket in a line of /proc/net, when it is bound to
// port 53 of the address or of all addresses.
func inodeOn(line string, a netip.Addr) string {
	fields := strings.Fields(line)
	if len(fields) < 10 || fields[3] != unconnected && fields[3] != listening {
		return ""
	}
	address, port, _ := strings.Cut(fields[1], ":")
	if port != fmt.Sprintf("%04X", Port) {
		return ""
	}
	local, ok := parseProcAddress(address)
	if !ok || local != a.Unmap() && !local.IsUnspecified() {
		return ""
	}
	return fields[9]
}

// parseProcAddress reads the address of a line: words of 32 bits in the order of the
// machine, which is little-endian on all that minictr runs on.
func parseProcAddress(text string) (netip.Addr, bool) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b)%4 != 0 {
		return netip.Addr{}, false
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	a, ok := netip.AddrFromSlice(b)
	return a.Unmap(), ok
}
