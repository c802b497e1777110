package sniff

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minictr/minictr/network/packet"
	"github.com/minictr/minictr/network/packet/frames"
)

func TestHexdump(t *testing.T) {
	p := packet.NewDecoder(false).Ethernet(frames.Ether(packet.IPv4, frames.IPv4(packet.UDP, "10.0.0.1", "10.0.0.2", frames.UDP(1, 2, nil))))
	want := "\t0x0000:  4500 001c 0007 4000 4011 0000 0a00 0001  E.....@.@.......\n\t0x0010:  0a00 0002 0001 0002 0008 0000            ............\n"
	if got := hexdump(p.Network, true); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// Which of the frames pass a filter.
func TestFilter(t *testing.T) {
	all := len(frames.All())
	for expression, want := range map[string][]string{
		"arp":                                   {"arp request", "arp reply", "arp announcement", "arp cut"},
		"arp and src host 10.0.0.1":             {"arp request"},
		"icmp":                                  {"echo request", "port unreachable", "fragmentation needed", "time exceeded", "redirect"},
		"icmp and dst 10.0.0.2":                 {"echo request"},
		"tcp port 80 and dst 10.0.0.3":          {"reset", "padded"},
		"tcp and src port 80":                   {"syn ack"},
		"udp port 53 or 67":                     {"dns query", "dns reply", "dhcp"},
		"udp and portrange 50-60":               {"dns query", "dns reply"},
		"ip6 and not icmp6":                     nil,
		"icmp6 and net fd00::/16":               {"neighbor advertisement"},
		"icmp6 && (src fe80::b || dst fe80::a)": {"neighbor advertisement", "router advertisement"},
		"vlan":                                  {"vlan"},
		"not ip and not ip6 and !arp":           {"spanning tree", "unknown", "short"},
		"net 255.0.0.0/8":                       {"dhcp"},
		"host 10.0.0.3":                         {"reset", "padded"},
	} {
		f, err := compile(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if diff := cmp.Diff(want, passing(f)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", expression, diff)
		}
	}
	if f, err := compile(" "); err != nil || len(passing(f)) != all {
		t.Errorf("the empty filter: %v", err)
	}
}

func passing(f filter) (names []string) {
	d := packet.NewDecoder(false)
	for _, frame := range frames.All() {
		if f(d.Ethernet(frame.Bytes)) {
			names = append(names, frame.Name)
		}
	}
	return names
}

func TestFilterRefuses(t *testing.T) {
	for expression, want := range map[string]string{
		"nosuch":                    `filter: "nosuch": neither a word of the filter nor an address`,
		"port":                      "filter: a value is missing at the end",
		"port 65536":                `filter: "65536": not a port`,
		"port 1-2":                  `filter: "1-2": not a port`,
		"net 10.0.0":                `filter: "10.0.0": not a network such as 10.0.0.0/8`,
		"(tcp":                      "filter: a parenthesis is not closed",
		"tcp)":                      `filter: unexpected ")"`,
		"tcp and":                   "filter: it ends too early",
		"or tcp":                    `filter: "or": neither a word of the filter nor an address`,
		strings.Repeat("(", 500):    "filter: more than 100 levels",
		strings.Repeat("not ", 500): "filter: more than 100 levels",
	} {
		if f, err := compile(expression); err == nil || err.Error() != want || f != nil {
			t.Errorf("%.20s: %v, want %s", expression, err, want)
		}
	}
}

// What is written is read again, and a file that is cut is an error.
func TestPcap(t *testing.T) {
	at := time.Unix(1700000000, 123456789)
	for _, link := range []uint32{linkEthernet, linkRaw, linkCooked} {
		var file bytes.Buffer
		w, err := newPcapWriter(&file, link)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames.All() {
			if err := w.write(frame{at: at, bytes: f.Bytes}); err != nil {
				t.Fatal(err)
			}
		}
		whole := file.Bytes()
		r, err := newPcapReader(bytes.NewReader(whole))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames.All() {
			if got, err := r.next(); err != nil || !bytes.Equal(got.bytes, f.Bytes) || !got.at.Equal(at) || got.link != link {
				t.Errorf("%s: %v, %+v", f.Name, err, got)
			}
		}
		if _, err := r.next(); !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %v", err)
		}
	}
	for _, b := range [][]byte{nil, make([]byte, 24), make([]byte, 10)} {
		if _, err := newPcapReader(bytes.NewReader(b)); err == nil {
			t.Errorf("%x: no error", b)
		}
	}
}

// Whatever a file holds, it is decoded without a panic.
func FuzzDecode(f *testing.F) {
	for _, frame := range frames.All() {
		f.Add(frame.Bytes)
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		d := packet.NewDecoder(false)
		for _, link := range []uint32{linkEthernet, linkRaw, linkCooked} {
			_ = hexdump(decode(d, frame{link: link, bytes: b}).Network, true)
		}
	})
}

// A filter is a filter or an error, and a filter takes any packet.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"tcp port 80 and not host 10.0.0.1", "(src net 10.0.0.0/8 or dst port 53) && udp", "portrange 1-2", "vlan", "not", "(((", "port 80 or 443"} {
		f.Add(s)
	}
	d := packet.NewDecoder(false)
	var packets []*packet.Packet
	for _, frame := range frames.All() {
		packets = append(packets, d.Ethernet(frame.Bytes))
	}
	f.Fuzz(func(t *testing.T, s string) {
		wanted, err := compile(s)
		if (wanted == nil) != (err != nil) {
			t.Fatalf("%q: both or neither: %v", s, err)
		}
		if err == nil {
			_ = slices.IndexFunc(packets, wanted)
		}
	})
}

func FuzzPcap(f *testing.F) {
	var file bytes.Buffer
	w, err := newPcapWriter(&file, linkCooked)
	if err != nil {
		f.Fatal(err)
	}
	for _, frame := range frames.All() {
		if err := w.write(frameOf(frame.Bytes)); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(file.Bytes())
	f.Fuzz(func(_ *testing.T, b []byte) {
		r, err := newPcapReader(bytes.NewReader(b))
		for err == nil {
			_, err = r.next()
		}
	})
}

func frameOf(b []byte) frame { return frame{at: time.Unix(1, 0), bytes: b} }
