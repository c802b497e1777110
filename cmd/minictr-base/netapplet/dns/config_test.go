package dns

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
)

func TestConfig(t *testing.T) {
	c := parseConfig("# comment\nnameserver 10.0.0.1\nnameserver bad\nnameserver fd00::1 # two\ndomain old.example\nsearch a.example b.example.\noptions timeout:1 ndots:2\n")
	if want := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}; !cmp.Equal(want, c.servers, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })) {
		t.Errorf("servers: %v", c.servers)
	}
	for name, want := range map[string][]string{
		"x":     {"x.a.example.", "x.b.example.", "x."},
		"x.y":   {"x.y.a.example.", "x.y.b.example.", "x.y."},
		"x.y.z": {"x.y.z.", "x.y.z.a.example.", "x.y.z.b.example."},
		"x.":    {"x."},
	} {
		if diff := cmp.Diff(want, c.candidates(name)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	b, id, err := question("example.com.", dnsmessage.TypeA)
	if err != nil {
		f.Fatal(err)
	}
	b[2] |= 0x80 // a response
	f.Add(b, id)
	f.Fuzz(func(_ *testing.T, b []byte, id uint16) {
		m, err := answer(b, id)
		if err != nil {
			return
		}
		for _, r := range m.Answers {
			_ = recordText(r)
		}
	})
}
