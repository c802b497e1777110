package ss

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// fromProc reads /proc/net/tcp and its like, proc_pid_net(5): addresses are words
// in the machine's byte order.
func fromProc(netid, file string, v6 bool, states uint32) ([]socket, error) {
	if v6 {
		file += "6"
	}
	text, err := os.ReadFile("/proc/net/" + file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a kernel without this protocol
	}
	var list []socket
	for line := range strings.Lines(string(text)) {
		if s, ok := parseProcLine(line, netid, v6); ok && states&(1<<s.state) != 0 {
			list = append(list, s)
		}
	}
	return list, err
}

func parseProcLine(line, netid string, v6 bool) (socket, bool) {
	f := strings.Fields(line)
	if len(f) < 10 || !strings.HasSuffix(f[0], ":") {
		return socket{}, false
	}
	s := socket{netid: netid, v6: v6}
	state, err1 := strconv.ParseUint(f[3], 16, 8)
	send, receive, _ := strings.Cut(f[4], ":")
	sendQ, err2 := strconv.ParseUint(send, 16, 32)
	recvQ, err3 := strconv.ParseUint(receive, 16, 32)
	inode, err4 := strconv.ParseUint(f[9], 10, 64)
	var ok1, ok2 bool
	s.local, ok1 = procEndpoint(f[1])
	s.peer, ok2 = procEndpoint(f[2])
	s.state, s.sendQ, s.recvQ, s.inode = int(state), uint32(sendQ), uint32(recvQ), inode
	return s, errors.Join(err1, err2, err3, err4) == nil && ok1 && ok2 && s.state < len(stateNames)
}

// procEndpoint reads "0100007F:0050".
func procEndpoint(word string) (endpoint, bool) {
	hex, port, _ := strings.Cut(word, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil || len(hex)%8 != 0 {
		return endpoint{}, false
	}
	var b []byte
	for ; len(hex) > 0; hex = hex[8:] {
		w, err := strconv.ParseUint(hex[:8], 16, 32)
		if err != nil {
			return endpoint{}, false
		}
		b = append(b, byte(w), byte(w>>8), byte(w>>16), byte(w>>24))
	}
	a, ok := netip.AddrFromSlice(b)
	return endpoint{addr: a, port: uint16(n)}, ok
}

// unixSockets reads /proc/net/unix: Num, RefCount, Protocol, Flags, Type, St, Inode, Path.
func unixSockets(states uint32) ([]socket, error) {
	text, err := os.ReadFile("/proc/net/unix")
	var list []socket
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 7 || f[0] == "Num" {
			continue
		}
		s := socket{netid: map[string]string{"0001": "u_str", "0002": "u_dgr", "0005": "u_seq"}[f[4]], state: closed, local: endpoint{path: "*"}, peer: endpoint{path: "*"}}
		const acceptsConnections = "00010000" // __SO_ACCEPTCON
		switch {
		case f[3] == acceptsConnections:
			s.state = listening
		case f[5] == "03":
			s.state = established
		}
		s.inode, _ = strconv.ParseUint(f[6], 10, 64) // the kernel writes a number
		if len(f) > 7 {
			s.local.path = f[7]
		}
		if states&(1<<s.state) != 0 {
			list = append(list, s)
		}
	}
	return list, err
}

// A user is a process with a socket open.
type user struct {
	name    string
	pid, fd int
}

// owners finds who has which socket open, by inode. Of processes of others it
// learns nothing unless it may.
func owners() map[uint64][]user {
	found := map[uint64][]user{}
	processes, _ := os.ReadDir("/proc") // an error: nobody is found
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		files, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)) // an error: gone, or not ours
		for _, f := range files {
			target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, f.Name()))
			if err != nil {
				continue
			}
			number, ok := strings.CutPrefix(target, "socket:[")
			inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
			fd, _ := strconv.Atoi(f.Name())
			if ok && err == nil {
				found[inode] = append(found[inode], user{processName(pid), pid, fd})
			}
		}
	}
	return found
}

func processName(pid int) string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // an error: gone
	return strings.TrimSpace(string(name))
}

// A selection says which sockets are wanted.
type selection struct {
	netids []string // tcp, udp, raw, unix
	v4, v6 bool
	states uint32
}

// find lists the sockets of a selection.
func (s selection) find() ([]socket, error) {
	var all []socket
	for _, netid := range s.netids {
		if netid == "unix" {
			list, err := unixSockets(s.states)
			if err != nil {
				return nil, err
			}
			all = append(all, list...)
			continue
		}
		for _, v6 := range []bool{false, true} {
			if v6 && !s.v6 || !v6 && !s.v4 {
				continue
			}
			list, err := internet(netid, v6, s.states)
			if err != nil {
				return nil, err
			}
			all = append(all, list...)
		}
	}
	return all, nil
}

// socketCounts reads /proc/net/sockstat and sockstat6: "TCP: inuse 1 orphan 0 …".
func socketCounts() (map[string]map[string]int, error) {
	counts := map[string]map[string]int{}
	for _, file := range []string{"/proc/net/sockstat", "/proc/net/sockstat6"} {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			name, rest, _ := strings.Cut(line, ":")
			counts[name] = map[string]int{}
			for pair := range slices.Chunk(strings.Fields(rest), 2) {
				counts[name][pair[0]], _ = strconv.Atoi(pair[len(pair)-1]) // the kernel writes numbers
			}
		}
	}
	return counts, nil
}

// tcpStates counts TCP sockets by state.
func tcpStates() (map[int]int, error) {
	counts := map[int]int{}
	list, err := selection{[]string{"tcp"}, true, true, allStates}.find()
	for _, s := range list {
		counts[s.state]++
	}
	return counts, err
}
