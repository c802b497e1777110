package trace

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Packets as tcpdump -x shows them.
var packets = []struct{ hex, want string }{
	{"4500003c1c4640004006b1e6ac110002c0000214a0f0005012345678000000009002faf0fe300000", "6 172.17.0.2:41200 -> 192.0.2.20:80 flags 0x2 seq 305419896 ack 0"},
	{"450000281c464000400600000a0000010a00000200500050000000011234567950140000", "6 10.0.0.1:80 -> 10.0.0.2:80 flags 0x14 seq 1 ack 305419897"},
	{"45000020000040004011000001020304050607080035003500100000aabbccdd00112233", "17 1.2.3.4:53 -> 5.6.7.8:53 flags 0x0 seq 0 ack 0"},
	{"450000240000400001010000010203040506070808000000123400010011223344556677", "1 1.2.3.4:4660 -> 5.6.7.8:4660 flags 0x0 seq 0 ack 0"},
	{"4500003800000000400100000a0000010a00000203030000000000004500002000004000401100000a0000020a00000312340035000c0000", "1 10.0.0.1:0 -> 10.0.0.2:0 flags 0x0 seq 0 ack 0 about 10.0.0.2:4660 -> 10.0.0.3:53"},
	{"60000000001406402001 0db8000000000000000000000001 20010db8000000000000000000000002 00501f90000000010000000250120000000000 00", "6 [2001:db8::1]:80 -> [2001:db8::2]:8080 flags 0x12 seq 1 ack 2"},
	{"4500003c1c4620b94006b1e6ac110002c0000214a0f0005012345678", "none"}, // a later fragment
	{"45", "none"},
	{"", "none"},
}

func TestParseIP(t *testing.T) {
	for _, c := range packets {
		b, err := hex.DecodeString(string(withoutSpaces(c.hex)))
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(parseIP(b)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.hex, got, c.want)
		}
	}
}

func withoutSpaces(text string) (b []byte) {
	for _, c := range []byte(text) {
		if c != ' ' {
			b = append(b, c)
		}
	}
	return b
}

func describe(p *packet) string {
	if p == nil {
		return "none"
	}
	text := fmt.Sprintf("%d %s -> %s flags %#x seq %d ack %d", p.protocol, p.flow.Source, p.flow.Destination, p.flags, p.seq, p.ack)
	if p.inner != nil {
		text += fmt.Sprintf(" about %s -> %s", p.inner.flow.Source, p.inner.flow.Destination)
	}
	return text
}

func TestParseARP(t *testing.T) {
	question, _ := hex.DecodeString("000108000604000102420a000001c0000202000000000000c0000214")
	answer, _ := hex.DecodeString("000108000604000202420a000001c000021402420a000002c0000202")
	for i, b := range [][]byte{question, answer} {
		a := parseARP(b)
		if a == nil || a.question != (i == 0) || a.about != netip.MustParseAddr("192.0.2.20") {
			t.Errorf("%x: %+v", b, a)
		}
	}
	if parseARP(question[:27]) != nil {
		t.Error("half a question is read")
	}
}

// Whatever a link brings is read or left, and what is read has addresses.
func FuzzParseIP(f *testing.F) {
	for _, c := range packets {
		if b, err := hex.DecodeString(string(withoutSpaces(c.hex))); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p := parseIP(b); p != nil && (!p.flow.Source.IsValid() || p.flow.Source.Addr().Is4() != p.flow.Destination.Addr().Is4()) {
			t.Errorf("%x: %+v", b, p)
		}
		parseARP(b)
	})
}

// Messages of the kernel are read to their end, whatever is in them.
func FuzzTraceMessage(f *testing.F) {
	var a attributes
	a.addBig(unix.NFTA_TRACE_ID, 1)
	a.addText(unix.NFTA_TRACE_TABLE, "filter")
	a.addText(unix.NFTA_TRACE_CHAIN, "forward")
	a.addBig(unix.NFTA_TRACE_TYPE, unix.NFT_TRACETYPE_POLICY)
	a.addBig(unix.NFTA_TRACE_POLICY, nfDrop)
	header, _ := hex.DecodeString(packets[0].hex)
	a.add(unix.NFTA_TRACE_NETWORK_HEADER, header[:20]...)
	a.add(unix.NFTA_TRACE_TRANSPORT_HEADER, header[20:]...)
	f.Add(append([]byte{unix.NFPROTO_IPV4, 0, 0, 0}, a...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var ps passes
		ps.add(syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: nft(unix.NFT_MSG_TRACE)}, Data: b})
		if len(ps.list) > 1 {
			t.Errorf("%x: %d passes", b, len(ps.list))
		}
	})
}

// The checksum of RFC 1071, and so of an echo, makes the sum of all words zero.
func TestEchoPacket(t *testing.T) {
	p := probe{protocol: icmp, cookie: []byte("abcdefghi"), flow: Flow{netip.MustParseAddrPort("10.0.0.1:4660"), netip.MustParseAddrPort("10.0.0.2:4660")}}
	b := p.echoPacket()
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum += uint32(b[len(b)-1]) << 8
	if sum = sum>>16 + sum&0xffff; sum != 0xffff {
		t.Errorf("%x: %#x", b, sum)
	}
}

// A policy rule is found and written as ip(8) does.
func TestPolicyText(t *testing.T) {
	p := policy{priority: 100, from: netip.MustParsePrefix("172.17.0.0/16"), mark: 1, mask: 0xff, in: "eth0", table: "7", action: 1, ports: [2][2]uint16{1: {80, 90}}, portGiven: [2]bool{1: true}}
	if got, want := p.String(), "100: from 172.17.0.0/16 fwmark 0x1/0xff iif eth0 dport 80-90 lookup 7"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
