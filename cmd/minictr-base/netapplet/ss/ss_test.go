package ss

import (
	"testing"
)

// A line of /proc/net/tcp6 as a little-endian machine writes it.
func TestProcLine(t *testing.T) {
	line := "   0: 00000000000000000000000001000000:1F90 000000000000FD0000000000:0000 0A 00000001:00000002 00:00000000 00000000     0        0 12345 1"
	if _, ok := parseProcLine(line, "tcp", true); ok {
		t.Error("a short address is taken")
	}
	line = "   0: 0100007F:1F90 00000000:0000 0A 00000001:00000002 00:00000000 00000000     0        0 12345 1"
	s, ok := parseProcLine(line, "tcp", false)
	if !ok || s.local.addr.String() != "127.0.0.1" || s.local.port != 8080 || s.state != listening || s.sendQ != 1 || s.recvQ != 2 || s.inode != 12345 {
		t.Errorf("%+v, %v", s, ok)
	}
	if _, ok := parseProcLine("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", "tcp", false); ok {
		t.Error("the head is taken for a socket")
	}
}

// Both ways to learn of sockets tell the same, on the machine's own list.
func TestProcAgreesWithDiag(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		fromDiag, err := diag("tcp", 6, v6, 1<<listening)
		if err != nil {
			t.Fatal(err)
		}
		list, err := fromProc("tcp", "tcp", v6, 1<<listening)
		if err != nil {
			t.Fatal(err)
		}
		known := map[uint64]endpoint{}
		for _, s := range list {
			known[s.inode] = s.local
		}
		for _, s := range fromDiag {
			if got, ok := known[s.inode]; ok && got.port != s.local.port {
				t.Errorf("socket %d: %v and %v", s.inode, got, s.local)
			}
		}
	}
}

func FuzzProcLine(f *testing.F) {
	f.Add("   0: 0100007F:1F90 00000000:0000 0A 00000001:00000002 00:00000000 00000000     0        0 12345 1")
	f.Fuzz(func(t *testing.T, line string) {
		if s, ok := parseProcLine(line, "tcp", false); ok && (s.state < 0 || s.state >= len(stateNames)) {
			t.Errorf("%q: state %d", line, s.state)
		}
	})
}

func FuzzDiag(f *testing.F) {
	f.Add(make([]byte, messageBytes+8))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parseDiag(b, "tcp"); ok && s.state >= len(stateNames) {
			t.Errorf("state %d", s.state)
		}
	})
}
