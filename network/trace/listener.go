package trace

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// listens tells whether a socket of the place waits at the address.
func (g *ground) listens(p *probe, at netip.AddrPort) (found bool, err error) {
	files := []string{p.protocol, p.protocol + "6"} // one of IPv6 takes IPv4, too
	if p.v6() {
		files = files[1:]
	}
	err = g.do(func() error {
		for _, name := range files {
			f, err := os.Open("/proc/thread-self/net/" + name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }() // it was only read
			for s := bufio.NewScanner(f); s.Scan(); {
				found = found || socketWaits(strings.Fields(s.Text()), at)
			}
		}
		return nil
	})
	return found, err
}

// socketWaits reads a line of proc_pid_net(5): number, local address, remote
// address, state; 0A listens, 07 is a socket of UDP that waits for anybody.
func socketWaits(fields []string, at netip.AddrPort) bool {
	if len(fields) < 4 || fields[3] != "0A" && fields[3] != "07" {
		return false
	}
	local, port, ok := strings.Cut(fields[1], ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || uint16(n) != at.Port() {
		return false
	}
	raw, err := hex.DecodeString(local)
	if err != nil || len(raw)%4 != 0 {
		return false
	}
	for i := 0; i < len(raw); i += 4 { // words in the host's order
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	a, _ := netip.AddrFromSlice(raw)
	return a.IsUnspecified() || a.Unmap() == at.Addr()
}

// legacyTables are the tables of iptables-legacy that the place has, whose rules
// nothing here can read; a table may be empty.
func (g *ground) legacyTables(v6 bool) (names []string) {
	file := "/proc/thread-self/net/ip_tables_names"
	if v6 {
		file = "/proc/thread-self/net/ip6_tables_names"
	}
	err := g.do(func() error {
		b, err := os.ReadFile(file)
		names = strings.Fields(string(b))
		return err
	})
	if err != nil { // the kernel has no iptables-legacy
		return nil
	}
	return names
}
