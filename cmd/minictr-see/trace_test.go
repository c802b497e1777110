package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/minictr/minictr/network/trace"
)

func TestParseTraceTarget(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"web", "web 0 icmp"},
		{"web:80", "web 80 tcp"},
		{"web:80/udp", "web 80 udp"},
		{"web/icmp", "web 0 icmp"},
		{"192.0.2.1", "192.0.2.1 0 icmp"},
		{"192.0.2.1:443/tcp", "192.0.2.1 443 tcp"},
		{"2001:db8::1", "2001:db8::1 0 icmp"},
		{"[2001:db8::1]", "2001:db8::1 0 icmp"},
		{"[2001:db8::1]:80", "2001:db8::1 80 tcp"},
		{"::ffff:192.0.2.1", "192.0.2.1 0 icmp"},
		{"example.com:53/udp", "example.com 53 udp"},
		{"", "error"},
		{":80", "error"},
		{"web:", "error"},
		{"web:0", "error"},
		{"web:65536", "error"},
		{"web:80/sctp", "error"},
		{"web/udp", "error"},
		{"web:80/icmp", "error"},
		{"[2001:db8::1:80", "error"},
		{"web:80:81", "error"},
	} {
		got := "error"
		if p, err := parseTraceTarget(c.text); err == nil {
			got = fmt.Sprintf("%s %d %s", p.host, p.port, p.protocol)
		}
		if got != c.want {
			t.Errorf("%q: got %s, want %s", c.text, got, c.want)
		}
	}
}

// The verdict is the first line, a drop is marked, and nobody's names steer the
// terminal.
func TestPrintJourney(t *testing.T) {
	j := &trace.Journey{
		Protocol: "tcp", From: trace.End{Name: "web", Address: netip.MustParseAddr("172.17.0.2"), Port: 40000}, To: trace.End{Name: "192.0.2.1", Address: netip.MustParseAddr("192.0.2.1"), Port: 80},
		Verdict: trace.Verdict{Outcome: trace.DroppedByUs, Words: "dropped"},
		Hops: []trace.Hop{
			{Direction: trace.There, Place: "web", Event: trace.Sent, Words: "sent"},
			{Direction: trace.There, Place: "host", Event: trace.In, Words: "in at ev\x1b[2Jil"},
			{Direction: trace.Back, Place: "host", Event: trace.Dropped, Words: "dropped"},
		},
		Notes: []string{"a note"},
	}
	var out bytes.Buffer
	if err := printJourney(&out, j); err != nil {
		t.Fatal(err)
	}
	want := `web (172.17.0.2) -> 192.0.2.1 port 80/tcp: dropped
  1  web   sent
  2  host  in at ev?[2Jil
back:
! 3  host  dropped
note: a note
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
