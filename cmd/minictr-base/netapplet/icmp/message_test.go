package icmp

import (
	"net/netip"
	"testing"
)

func TestEchoIsRead(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		b := echo{id: 7, seq: 9, payload: []byte("abc")}.request(v6)
		if id, seq, ok := parseRequest(b, v6); !ok || id != 7 || seq != 9 {
			t.Errorf("request: %d, %d, %v", id, seq, ok)
		}
		if _, ok := parse(b, v6); ok {
			t.Error("a request is taken for an answer")
		}
		b[0] = map[bool]byte{false: echoReply4, true: echoReply6}[v6]
		if a, ok := parse(b, v6); !ok || !a.reply || a.id != 7 || a.seq != 9 || a.size != 11 {
			t.Errorf("reply: %+v, %v", a, ok)
		}
	}
	if b := (echo{id: 1, seq: 2, payload: []byte{1}}).request(false); checksum(b) != 0 {
		t.Error("the sum over a message with its checksum is not zero")
	}
}

// An error is ours when it quotes an echo of ours.
func TestErrorIsRead(t *testing.T) {
	header4 := make([]byte, ip4HeaderBytes)
	header4[0], header4[9] = 0x45, protocolICMP
	header6 := make([]byte, ip6HeaderBytes)
	header6[6] = protocolICMP6
	for _, c := range []struct {
		v6   bool
		kind byte
		head []byte
		want string
	}{
		{false, exceeded4, header4, "Time to live exceeded"},
		{false, unreachable4, header4, "Destination Net Unreachable"},
		{true, exceeded6, header6, "Time exceeded: Hop limit"},
		{true, unreachable6, header6, "Destination unreachable: No route"},
	} {
		b := append([]byte{c.kind, 0, 0, 0, 0, 0, 0, 0}, c.head...)
		b = append(b, echo{id: 3, seq: 4}.request(c.v6)...)
		a, ok := parse(b, c.v6)
		if !ok || a.reply || a.id != 3 || a.seq != 4 || a.words(c.v6) != c.want {
			t.Errorf("%+v, %v, %q", a, ok, a.words(c.v6))
		}
		if _, ok := parse(b[:len(b)-echoHeaderBytes], c.v6); ok {
			t.Error("one that quotes too little is taken for ours")
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(echo{1, 2, []byte("x")}.request(false))
	f.Add(append([]byte{11, 0, 0, 0, 0, 0, 0, 0, 0x4f}, make([]byte, 40)...))
	f.Fuzz(func(_ *testing.T, b []byte) {
		for _, v6 := range []bool{false, true} {
			a, _ := parse(b, v6)
			_ = a.words(v6)
		}
		_ = offender(b)
	})
}

// A router is named once for the answers that it gave in a row.
func TestHopLine(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	exceeded := func(from netip.Addr) hop { return hop{answer: answer{from: from, kind: exceeded4}, name: "r"} }
	refused := exceeded(a)
	refused.kind, refused.code = unreachable4, 13
	var l hopLine
	got := l.add(exceeded(a), true) + l.add(exceeded(a), true) + l.add(hop{}, true) + l.add(exceeded(b), false) + l.add(refused, true)
	want := " 10.0.0.1  0.000 ms  0.000 ms * r (10.0.0.2)  0.000 ms 10.0.0.1  0.000 ms !X"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
