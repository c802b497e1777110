package netnsdir

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/minictr/minictr/network"
)

// Closing lists the TCP connections of a namespace that no process has any more, but
// that wait until the other side has got all. For up to some minutes they keep the
// namespace alive, and no process shows them.
func Closing(namespace *os.File) (list []string, err error) {
	err = network.Netns{Path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), namespace.Fd())}.Do(func() error {
		for _, file := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
			table, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue // no IPv6
			}
			if err != nil {
				return err
			}
			list = append(list, closing(string(table))...)
		}
		return nil
	})
	return list, err
}

// closingStates are those in which a connection is a full socket without a process,
// include/net/tcp_states.h.
var closingStates = map[string]string{"04": "FIN-WAIT-1", "09": "LAST-ACK", "0B": "CLOSING"}

// closing reads a table of proc_pid_net(5): of each line the addresses, the state and
// the inode, which is 0 when no process has the socket.
//
//	sl local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode
//	0: 0100007F:0050 0200007F:A1B2 04 00000001:00000000 01:00000014 00000003   0       0     0 …
func closing(table string) (list []string) {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || f[9] != "0" {
			continue
		}
		if state, ok := closingStates[f[3]]; ok {
			list = append(list, fmt.Sprintf("%s to %s (%s)", socketAddress(f[1]), socketAddress(f[2]), state))
		}
	}
	return list
}

// socketAddress reads an address of such a table: words in the machine's byte order,
// and a port.
func socketAddress(text string) string {
	address, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(address)
	number, failed := strconv.ParseUint(port, 16, 16)
	if err != nil || failed != nil || len(raw)%4 != 0 {
		return text
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	a, ok := netip.AddrFromSlice(raw)
	if !ok {
		return text
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(number)).String()
}
