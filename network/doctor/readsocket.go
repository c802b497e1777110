package doctor

import (
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// readSockets lists what waits for packets, from the tables of proc_pid_net(5) in the
// directory: TCP sockets that listen, and UDP sockets that are connected to nobody.
func readSockets(dir string) (list []Socket) {
	const unconnected, listening = "07", "0A"
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		text, err := os.ReadFile(dir + table)
		if err != nil { // it has just ended, or the kernel has no IPv6
			continue
		}
		protocol, wanted := strings.TrimSuffix(table, "6"), listening
		if protocol == "udp" {
			wanted = unconnected
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			if len(words) < 10 || words[3] != wanted {
				continue
			}
			if s, ok := parseSocket(protocol, words[1]); ok {
				list = append(list, s)
			}
		}
	}
	return list
}

// parseSocket reads an address and port as they stand there: words of 32 bits in the
// order of the machine, which is little-endian on all that minictr runs on.
func parseSocket(protocol, text string) (Socket, bool) {
	address, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(address)
	n, portErr := strconv.ParseUint(port, 16, 16)
	if err != nil || portErr != nil || len(b)%4 != 0 {
		return Socket{}, false
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	a, ok := netip.AddrFromSlice(b)
	return Socket{Protocol: protocol, Address: a.Unmap(), Port: uint16(n)}, ok
}
