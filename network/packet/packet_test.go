package packet

import (
	"strings"
	"testing"

	"github.com/minictr/minictr/network/packet/frames"
)

func TestDecode(t *testing.T) {
	d := NewDecoder(false)
	for _, f := range frames.All() {
		if got := d.Ethernet(f.Bytes).Line(Display{}); got != f.Line {
			t.Errorf("%s:\ngot  %s\nwant %s", f.Name, got, f.Line)
		}
	}
}

func TestDecodeVerbosely(t *testing.T) {
	p := NewDecoder(false).Ethernet(frames.Ether(IPv4, frames.IPv4(UDP, "10.0.0.1", "10.0.0.2", frames.UDP(1, 2, nil))))
	want := "02:00:00:00:00:0a > 02:00:00:00:00:0b, ethertype IPv4 (0x0800), length 42: IP (tos 0x0, ttl 64, id 7, offset 0, flags [DF], proto UDP (17), length 28)\n    10.0.0.1.1 > 10.0.0.2.2: UDP, length 0"
	if got := p.Line(Display{Link: true, Verbose: true}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"plain äß": "plain äß", "\x1b[31mred\n": `\x1b[31mred\x0a`, "a\xffb": `a\xffb`, "\u009b1m": `\x9b1m`, "\x7f\x00": `\x7f\x00`, "�": "�",
	} {
		if got := Visible(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Whatever a frame holds, it is decoded without a panic into printable words, and
// not much longer than it is.
func FuzzDecode(f *testing.F) {
	for _, frame := range frames.All() {
		f.Add(frame.Bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := NewDecoder(false)
		for range 2 {
			for _, p := range []*Packet{d.Ethernet(b), d.Cooked(0, b), d.Cooked(IPv6, b)} {
				line := p.Line(Display{Link: true, Verbose: true})
				if strings.ContainsFunc(line, func(r rune) bool { return r != '\n' && r < ' ' }) {
					t.Errorf("not printable: %q", line)
				}
				if len(line) > 2000+20*len(b) {
					t.Errorf("%d bytes are shown as %d", len(b), len(line))
				}
			}
		}
	})
}
