package server

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/minictr/minictr/network/names"
)

// newServer is a server of network blue, which knows what is put into it and is
// never asked by way of the kernel.
func newServer(t testing.TB) *Server {
	t.Helper()
	d := newDirectory("/nowhere", "blue")
	add := func(network string, id int, name, address, address6 string, change func(*names.Record)) {
		r := &names.Record{Container: fmt.Sprintf("%012d%052d", id, id), Name: name, Gateway: netip.MustParsePrefix(network)}
		r.Address = netip.MustParseAddr(address)
		if address6 != "" {
			r.Address6 = netip.MustParseAddr(address6)
			r.Gateway6 = netip.MustParsePrefix("fd00::1/64")
		}
		if change != nil {
			change(r)
		}
		nets := map[string]string{"10.0.0.1/24": "blue", "10.1.0.1/24": "red", "10.2.0.1/24": "inner"}
		name = nets[network]
		if d.networks[name] == nil {
			d.networks[name] = newNetwork(name)
		}
		d.networks[name].learn(r)
	}
	alias := func(list ...string) func(*names.Record) {
		return func(r *names.Record) { r.Aliases = list }
	}
	add("10.0.0.1/24", 1, "Web", "10.0.0.2", "fd00::2", alias("www"))
	add("10.0.0.1/24", 2, "db", "10.0.0.3", "", alias("store", "store."))
	add("10.0.0.1/24", 3, "db2", "10.0.0.4", "", alias("store"))
	add("10.1.0.1/24", 3, "db2", "10.1.0.4", "", nil)
	add("10.1.0.1/24", 4, "other", "10.1.0.5", "", alias("www"))
	add("10.0.0.1/24", 5, strings.Repeat("x", 70), "10.0.0.6", "", func(r *names.Record) { r.Servers = []netip.Addr{netip.MustParseAddr("192.0.2.1")} })
	add("10.0.0.1/24", 6, "self", "10.0.0.7", "", func(r *names.Record) { r.Servers = []netip.Addr{netip.MustParseAddr("10.1.0.1")} })
	return &Server{directory: d, upstream: &upstream{path: "testdata/resolv.conf"}, addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
}

func pack(t testing.TB, change func(*dnsmessage.Message)) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true}}
	change(&m)
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

func ask(name string, kind dnsmessage.Type) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) {
		m.Questions = append(m.Questions, dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET})
	}
}

func edns(size int, version uint32) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) {
		h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("."), Type: dnsmessage.TypeOPT, Class: dnsmessage.Class(size), TTL: version << 16}
		m.Additionals = append(m.Additionals, dnsmessage.Resource{Header: h, Body: &dnsmessage.OPTResource{}})
	}
}

// text is a message in a line: flags and code, then the records.
func text(t *testing.T, packet []byte) string {
	t.Helper()
	if packet == nil {
		return "nothing"
	}
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil {
		t.Fatal(err)
	}
	words := []string{strings.TrimPrefix(m.RCode.String(), "RCode")}
	if m.Authoritative {
		words = append(words, "aa")
	}
	if m.Truncated {
		words = append(words, "tc")
	}
	if !m.Response || m.ID != 7 || !m.RecursionAvailable {
		words = append(words, m.Header.GoString())
	}
	for _, r := range m.Answers {
		words = append(words, fmt.Sprint(r.Header.TTL))
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			words = append(words, netip.AddrFrom4(b.A).String())
		case *dnsmessage.AAAAResource:
			words = append(words, netip.AddrFrom16(b.AAAA).String())
		case *dnsmessage.PTRResource:
			words = append(words, b.PTR.String())
		}
	}
	for _, r := range m.Additionals {
		words = append(words, fmt.Sprintf("opt %d %v", r.Header.Class, r.Header.ExtendedRCode(m.RCode)))
	}
	return strings.Join(words, " ")
}

const (
	typeA    = dnsmessage.TypeA
	typeAAAA = dnsmessage.TypeAAAA
)

func TestRespond(t *testing.T) {
	const web, db2, long, self, host, stranger = "10.0.0.2", "10.0.0.4", "10.0.0.6", "10.0.0.7", "10.0.0.1", "10.1.0.5"
	x70 := strings.Repeat("x", 70)
	for _, c := range []struct {
		from   string
		change []func(*dnsmessage.Message)
		want   string
	}{
		{web, []func(*dnsmessage.Message){ask("web.", typeA)}, "Success aa 5 10.0.0.2"},
		{web, []func(*dnsmessage.Message){ask("WEB.BLUE.", typeAAAA)}, "Success aa 5 fd00::2"},
		{web, []func(*dnsmessage.Message){ask("web.", dnsmessage.TypeALL)}, "Success aa 5 fd00::2 5 10.0.0.2"},
		{web, []func(*dnsmessage.Message){ask("db.", typeAAAA)}, "Success"},
		{web, []func(*dnsmessage.Message){ask("000000000001.", typeA)}, "Success aa 5 10.0.0.2"},
		{web, []func(*dnsmessage.Message){ask("store.", typeA)}, "Success aa 5 10.0.0.4 5 10.0.0.3"},
		{web, []func(*dnsmessage.Message){ask("web.", typeA), edns(1232, 0)}, "Success aa 5 10.0.0.2 opt 4096 RCodeSuccess"},
		{web, []func(*dnsmessage.Message){ask("web.", typeA), edns(1232, 1)}, "Success opt 4096 16"},
		{web, []func(*dnsmessage.Message){ask("web.", typeA), edns(1232, 0), edns(1232, 0)}, "FormatError opt 4096 RCodeFormatError"},
		{web, []func(*dnsmessage.Message){ask("web.", typeA), ask("db.", typeA)}, "FormatError"},
		{web, []func(*dnsmessage.Message){}, "FormatError"},
		{web, []func(*dnsmessage.Message){ask("web.", typeA), func(m *dnsmessage.Message) { m.Response = true }}, "nothing"},
		{web, []func(*dnsmessage.Message){ask("web.", typeA), func(m *dnsmessage.Message) { m.OpCode = 5 }}, "NotImplemented"},
		{web, []func(*dnsmessage.Message){ask("3.0.0.10.in-addr.arpa.", dnsmessage.TypePTR)}, "Success aa 5 db.blue."},
		{web, []func(*dnsmessage.Message){ask("6.0.0.10.in-addr.arpa.", dnsmessage.TypePTR)}, "Success aa 5 000000000005.blue."},
		{web, []func(*dnsmessage.Message){ask("9.0.0.10.in-addr.arpa.", dnsmessage.TypePTR)}, "NameError"},
		{web, []func(*dnsmessage.Message){ask("5.0.1.10.in-addr.arpa.", dnsmessage.TypePTR)}, "NameError"},
		{db2, []func(*dnsmessage.Message){ask("5.0.1.10.in-addr.arpa.", dnsmessage.TypePTR)}, "Success aa 5 other.red."},
		{web, []func(*dnsmessage.Message){ask("5.0.2.10.in-addr.arpa.", dnsmessage.TypePTR)}, "to 192.0.2.53"},
		{web, []func(*dnsmessage.Message){ask("10.in-addr.arpa.", dnsmessage.TypeNS)}, "to 192.0.2.53"},
		{web, []func(*dnsmessage.Message){ask("other.", typeA)}, "to 192.0.2.53"},
		{web, []func(*dnsmessage.Message){ask(".", dnsmessage.TypeNS)}, "to 192.0.2.53"},
		{web, []func(*dnsmessage.Message){ask("x.web.", typeA)}, "to 192.0.2.53"},
		{web, []func(*dnsmessage.Message){ask("web.red.", typeA)}, "to 192.0.2.53"},
		{db2, []func(*dnsmessage.Message){ask("other.", typeA)}, "Success aa 5 10.1.0.5"},
		{db2, []func(*dnsmessage.Message){ask("www.", typeA)}, "Success aa 5 10.0.0.2"},
		{db2, []func(*dnsmessage.Message){ask("www.red.", typeA)}, "Success aa 5 10.1.0.5"},
		{db2, []func(*dnsmessage.Message){ask("db2.", typeA)}, "Success aa 5 10.0.0.4"},
		{host, []func(*dnsmessage.Message){ask("web.", typeA)}, "Success aa 5 10.0.0.2"},
		{host, []func(*dnsmessage.Message){ask("other.", typeA)}, "to 192.0.2.53"},
		{stranger, []func(*dnsmessage.Message){ask("other.", typeA)}, "to 192.0.2.53"}, // forged, as far as blue can tell
		{long, []func(*dnsmessage.Message){ask("example.", typeA)}, "to 192.0.2.1"},
		{self, []func(*dnsmessage.Message){ask("example.", typeA)}, "ServerFailure"},
	} {
		s := newServer(t)
		packet := pack(t, func(m *dnsmessage.Message) {
			for _, change := range c.change {
				change(m)
			}
		})
		answer, pass := s.respond(packet, netip.MustParseAddr(c.from), minUDP)
		got := ""
		if pass != nil {
			got = "to " + strings.Trim(fmt.Sprint(pass.servers), "[]")
		} else {
			got = text(t, answer)
		}
		if got != c.want {
			t.Errorf("%s asks %q: %q, want %q", c.from, packet[headerBytes:], got, c.want)
		}
	}
	if n := newServer(t).directory.networks["blue"]; len(n.byName[x70]) != 1 {
		t.Errorf("a name that is too long for a label is not kept")
	}
}

// Nothing is left of a record that is forgotten.
func TestForget(t *testing.T) {
	n := newServer(t).directory.networks["blue"]
	for file := range n.records {
		n.forget(file)
	}
	if len(n.records)+len(n.byName)+len(n.byAddress) > 0 {
		t.Errorf("left: %v %v %v", n.records, n.byName, n.byAddress)
	}
}

func TestJudge(t *testing.T) {
	q, err := parse(pack(t, ask("Example.", typeA)), minUDP)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change []func(*dnsmessage.Message)
		id     uint16
		want   opinion
	}{
		"answer":              {[]func(*dnsmessage.Message){ask("Example.", typeA)}, 7, final},
		"in another case":     {[]func(*dnsmessage.Message){ask("eXample.", typeA)}, 7, final},
		"no such name":        {[]func(*dnsmessage.Message){ask("Example.", typeA), func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError }}, 7, final},
		"truncated":           {[]func(*dnsmessage.Message){ask("Example.", typeA), func(m *dnsmessage.Message) { m.Truncated = true }}, 7, final},
		"server failure":      {[]func(*dnsmessage.Message){ask("Example.", typeA), func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure }}, 7, useless},
		"refused":             {[]func(*dnsmessage.Message){ask("Example.", typeA), func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeRefused }}, 7, useless},
		"error, no question":  {[]func(*dnsmessage.Message){func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeFormatError }}, 7, useless},
		"answer, no question": {nil, 7, foreign},
		"another id":          {[]func(*dnsmessage.Message){ask("Example.", typeA)}, 8, foreign},
		"another name":        {[]func(*dnsmessage.Message){ask("Exampel.", typeA)}, 7, foreign},
		"another type":        {[]func(*dnsmessage.Message){ask("Example.", typeAAAA)}, 7, foreign},
		"another class":       {[]func(*dnsmessage.Message){ask("Example.", typeA), func(m *dnsmessage.Message) { m.Questions[0].Class = 3 }}, 7, foreign},
		"a question":          {[]func(*dnsmessage.Message){ask("Example.", typeA), func(m *dnsmessage.Message) { m.Response = false }}, 7, foreign},
		"another operation":   {[]func(*dnsmessage.Message){ask("Example.", typeA), func(m *dnsmessage.Message) { m.OpCode = 4 }}, 7, foreign},
	} {
		packet := pack(t, func(m *dnsmessage.Message) {
			m.Response = true
			for _, change := range c.change {
				change(m)
			}
		})
		if got := q.judge(packet, c.id); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestParseReverse(t *testing.T) {
	for name, want := range map[string]string{
		"2.0.17.172.in-addr.arpa":   "172.17.0.2",
		"02.0.17.172.in-addr.arpa":  "",
		"1.2.0.17.172.in-addr.arpa": "",
		"0.17.172.in-addr.arpa":     "",
		"in-addr.arpa":              "",
		".in-addr.arpa":             "",
		"x.0.17.172.in-addr.arpa":   "",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa":  "fd00::1",
		"10.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa": "",
		"g.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa":  "",
		"0.d.f.ip6.arpa": "",
		"web":            "",
	} {
		a, ok := parseReverse(name)
		if ok != (want != "") || ok && a.String() != want {
			t.Errorf("%s: %v %v, want %q", name, a, ok, want)
		}
	}
}

func TestParseServers(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "[127.0.0.1]",
		"nameserver 127.0.0.53\n":   "[127.0.0.53]",
		"nameserver\t192.0.2.1 # x": "[192.0.2.1]",
		"#nameserver 192.0.2.1\n; nameserver 192.0.2.1\n nameserver fe80::1%eth0\nnameserver x\nnameserver": "[fe80::1%eth0]",
		"nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n":          "[192.0.2.1 192.0.2.2 192.0.2.3]",
	} {
		if got := fmt.Sprint(parseServers(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestPlaces(t *testing.T) {
	p := newPlaces(3, 2)
	a, b := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	got := []bool{p.take(a), p.take(a), p.take(a), p.take(b), p.take(b)}
	p.free(a)
	got = append(got, p.take(b))
	if fmt.Sprint(got) != "[true true false true false true]" {
		t.Error(got)
	}
	p.free(a)
	p.free(b)
	p.free(b)
	if len(p.from) != 0 || p.all != 0 {
		t.Errorf("left: %v", p.from)
	}
}

func TestPayer(t *testing.T) {
	s := newServer(t)
	for from, want := range map[string]string{"10.0.0.2": "10.0.0.2", "fd00::2": "fd00::2", "10.0.0.1": "10.0.0.1", "10.0.0.99": "invalid IP", "fd00::99": "invalid IP", "10.1.0.5": "invalid IP"} {
		if got := s.payer(netip.MustParseAddr(from)).String(); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
}

// Whatever is sent: an answer to the question that can be read and is not longer than
// the asker can take, or a passing, or nothing.
func FuzzRespond(f *testing.F) {
	f.Add(pack(f, ask("web.", typeA)), false)
	f.Add(pack(f, ask("store.", typeA)), true)
	f.Add(pack(f, func(m *dnsmessage.Message) { ask("web.", dnsmessage.TypeALL)(m); edns(512, 0)(m) }), true)
	f.Add(pack(f, ask("3.0.0.10.in-addr.arpa.", dnsmessage.TypePTR)), false)
	f.Add(pack(f, ask("example.", typeAAAA)), false)
	f.Add([]byte("\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"), false)
	s := newServer(f)
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		limit := minUDP
		if tcp {
			limit = maxTCP
		}
		answer, pass := s.respond(packet, netip.MustParseAddr("10.0.0.4"), limit)
		if pass != nil {
			if answer != nil || len(pass.servers) == 0 {
				t.Fatalf("a passing beside %q", answer)
			}
			answer = pass.query.fail(dnsmessage.RCodeServerFailure)
			if answer == nil {
				t.Fatal("its failure cannot be told")
			}
		}
		if answer == nil {
			if _, err := parse(packet, limit); !errors.Is(err, errNoQuery) {
				t.Fatalf("no answer, %v", err)
			}
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(answer); err != nil {
			t.Fatal(err)
		}
		if !m.Response || m.ID != uint16(packet[0])<<8|uint16(packet[1]) || len(answer) > max(limit, maxUDP) {
			t.Fatalf("%v to %q", m.GoString(), packet)
		}
	})
}

// An answer of a stranger never is more than a judgement.
func FuzzJudge(f *testing.F) {
	packet := pack(f, ask("example.", typeA))
	q, err := parse(packet, minUDP)
	if err != nil {
		f.Fatal(err)
	}
	packet[2] |= 0x80
	f.Add(packet)
	f.Fuzz(func(t *testing.T, packet []byte) {
		if q.judge(packet, 7) == foreign {
			return
		}
		p := passing{query: q}
		if answer := p.finish(packet); len(answer) > minUDP || answer[0] != 0 || answer[1] != 7 || answer[2]&0x80 == 0 {
			t.Fatalf("%q", answer)
		}
	})
}
