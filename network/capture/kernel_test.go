package capture

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/capture/pcapfilter"
	"github.com/minictr/minictr/network/packet"
	"github.com/minictr/minictr/network/packet/frames"
	"github.com/minictr/minictr/network/survey"
	"github.com/minictr/minictr/test/kernel"
)

// A bench is a host, the namespace of the test, and a container on a cable to it.
type bench struct {
	*testing.T
	inside *kernel.Netns
}

func newBench(t *testing.T) *bench {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "busybox", "tcpdump", "nft")
	kernel.Snapshot(t)
	b := &bench{t, kernel.NewNetns(t)}
	kernel.InNetns(t)
	b.ip(`link set lo up
link add veth1 up type veth peer name eth0 netns NS
addr add 10.0.0.1/24 dev veth1
-n NS link set eth0 up
-n NS link set lo up
-n NS addr add 10.0.0.2/24 dev eth0`)
	return b
}

// ip runs lines of ip(8); NS is the container's namespace.
func (b *bench) ip(lines string) {
	b.Helper()
	for line := range strings.Lines(lines) {
		words := strings.Fields(line)
		if words[0] == "-n" {
			words = append([]string{"nsenter", "--net=" + b.inside.Path(), "ip"}, words[2:]...)
		} else {
			words = append([]string{"ip"}, words...)
		}
		b.run(strings.Split(strings.ReplaceAll(strings.Join(words, "\n"), "NS", b.inside.Path()), "\n")...)
	}
}

func (b *bench) run(words ...string) string {
	b.Helper()
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		b.Fatalf("%s: %v: %s", strings.Join(words, " "), err, out)
	}
	return string(out)
}

// ping has the container ask the host; whether it gets an answer is no matter.
func (b *bench) ping(options ...string) {
	words := append([]string{"--net=" + b.inside.Path(), "busybox", "ping", "-c", "1", "-W", "1"}, options...)
	_ = exec.Command("nsenter", words...).Run() // an answer is not always wanted
}

func (b *bench) places(only ...string) []Place {
	b.Helper()
	host, err := survey.Read([]survey.Source{{Path: b.inside.Path()}})
	if err != nil {
		b.Fatal(err)
	}
	places, notes, err := Places(host, host.Namespace(b.inside.Inode(b)), only, false)
	if err != nil || len(notes) > 0 {
		b.Fatal(err, notes)
	}
	return places
}

// captured runs what makes packets, and gives the sightings as "out eth0>veth1 IP …".
func (b *bench) captured(places []Place, expression string, traffic func()) (lines []string, list []*Sighting) {
	b.Helper()
	program, err := pcapfilter.Compile(expression, nil)
	if err != nil {
		b.Fatal(err)
	}
	c, err := Open(places, program, Whole, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() {
		d := packet.NewDecoder(true)
		ended <- c.Run(ctx, func(s *Sighting) (bool, error) {
			list = append(list, s)
			var names []string
			for _, one := range s.Copies {
				names = append(names, places[one.Place].Name)
			}
			where := strings.Join(names, ">")
			if s.Missed >= 0 {
				where += " only"
			}
			line := d.Ethernet(s.Copies[0].Bytes).Line(packet.Display{})
			head, _, _ := strings.Cut(line, ", ")
			lines = append(lines, fmt.Sprintf("%s %s %s", s.Direction, where, head))
			return true, nil
		})
	}()
	traffic()
	time.Sleep(3 * pace)
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	if dropped, err := c.Dropped(); err != nil || dropped[0] > 0 {
		b.Errorf("dropped: %v, %v", dropped, err)
	}
	return lines, list
}

func (b *bench) want(what string, got []string, want ...string) {
	b.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		b.Errorf("%s:\ngot\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Each packet is seen at both ends, once, in the order of time; one that is too long
// for the other end is seen at one.
func TestBothEnds(t *testing.T) {
	b := newBench(t)
	lines, list := b.captured(b.places(), "icmp", func() { b.ping("10.0.0.1") })
	b.want("ping", lines, "out eth0>veth1 IP 10.0.0.2 > 10.0.0.1: ICMP echo request", "in veth1>eth0 IP 10.0.0.1 > 10.0.0.2: ICMP echo reply")
	for _, s := range list {
		if d := s.Copies[1].At.Sub(s.At()); d < 0 || d > patience {
			t.Errorf("from one end to the other in %v", d)
		}
	}
	b.ip("link set veth1 mtu 1000")
	lines, _ = b.captured(b.places(), "icmp", func() { b.ping("-s", "1200", "10.0.0.1") })
	b.want("too long for the other end", lines, "out eth0 only IP 10.0.0.2 > 10.0.0.1: ICMP echo request")
	if out := b.run("ip", "-d", "link", "show", "veth1"); strings.Contains(out, "PROMISC") || !strings.Contains(out, "promiscuity 0") {
		t.Errorf("the link was made promiscuous: %s", out)
	}
}

// A tag is where the filter and the reader expect it, though the kernel takes it out
// of a packet that is received and keeps it beside it.
func TestTags(t *testing.T) {
	b := newBench(t)
	places := b.places("eth0")
	tagged := frames.Ether(packet.VLAN, frames.U16(5), frames.U16(packet.IPv4), frames.IPv4(packet.UDP, "10.0.0.2", "10.0.0.1", frames.UDP(1, 2, nil)))
	for expression, want := range map[string][]string{
		"vlan 5 and udp port 2": {"out eth0>veth1 vlan 5"},
		"udp port 2":            nil,
		"vlan 6":                nil,
	} {
		lines, _ := b.captured(places, expression, func() { b.send(places[0], tagged) })
		b.want(expression, lines, want...)
	}
}

// send sends a frame from the container's end of the cable.
func (b *bench) send(p Place, frame []byte) {
	b.Helper()
	b.inside.Do(b, func() {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: p.Index, Halen: 6}); err != nil {
			b.Fatal(err)
		}
	})
}

// What conntrack says of a packet agrees with what the packet has where it goes, also
// when the connection is refused and forgotten at once.
func TestTranslation(t *testing.T) {
	b := newBench(t)
	c := exec.Command("nft", "-f", "-")
	c.Stdin = strings.NewReader(`table ip t {
	chain out { type nat hook postrouting priority 100; oifname "x0" masquerade random; }
	chain in { type nat hook prerouting priority -100; udp dport 99 dnat to 10.9.0.2:98; }
}`)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	far := &bench{t, kernel.NewNetns(t)}
	far.ip(`link add x0 up type veth peer name eth0 netns NS
addr add 10.9.0.1/24 dev x0
-n NS link set eth0 up
-n NS addr add 10.9.0.2/24 dev eth0`)
	b.ip("-n NS route add default via 10.0.0.1")
	b.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
	tracker, err := NewTracker()
	if err != nil {
		t.Fatal(err)
	}
	defer tracker.Close()
	places := append(b.places(), Place{Name: "x0", Role: Uplink, Index: linkIndex(b, "x0"), Namespace: survey.Here().Path, Other: -1})
	var list []*Sighting
	_, list = b.captured(places, "tcp or icmp or udp", func() {
		b.ping("10.9.0.2")
		_ = exec.Command("nsenter", "--net="+b.inside.Path(), "bash", "-c", "echo > /dev/tcp/10.9.0.2/80; echo > /dev/udp/10.0.0.1/99").Run() // it is refused
		time.Sleep(50 * time.Millisecond)
	})
	d := packet.NewDecoder(true)
	inner, outer := map[Tuple]bool{}, map[Tuple]bool{}
	for _, s := range list {
		tuple, ok := TupleOf(d.Ethernet(s.Copies[0].Bytes))
		if !ok {
			continue
		}
		found, err := tracker.Find(tuple)
		if err != nil {
			t.Fatal(err)
		}
		if !found.Changed() || found.Before != tuple && found.After != tuple {
			t.Errorf("%s at %s is %+v", tuple, places[s.Copies[0].Place].Name, found)
		}
		// Each packet passes both places: in one form here, in the other there.
		if other := found.Before; s.Copies[0].Place < 2 {
			if other == tuple {
				other = found.After
			}
			inner[other] = true
		} else {
			outer[tuple] = true
		}
	}
	if len(outer) < 5 { // echo and reply, SYN and RST, a datagram and perhaps an error, which has no tuple
		t.Errorf("only %v left", outer)
	}
	for tuple := range outer {
		if !inner[tuple] {
			t.Errorf("%s left the host, and nobody said that it would: %v", tuple, inner)
		}
	}
}

func linkIndex(b *bench, name string) int {
	b.Helper()
	n, err := survey.ReadOne(survey.Here())
	if err != nil {
		b.Fatal(err)
	}
	return n.LinkNamed(name).Index
}

// tcpdump reads what is written, packet by packet, in the order of time.
func TestPcapng(t *testing.T) {
	b := newBench(t)
	places := b.places()
	_, list := b.captured(places, "", func() { b.ping("10.0.0.1") })
	var file bytes.Buffer
	w, err := NewWriter(&file, places)
	if err != nil {
		t.Fatal(err)
	}
	copies := 0
	for _, s := range list {
		copies += len(s.Copies)
		if err := w.Write(s, "a comment of five words"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "packets.pcapng")
	if err := os.WriteFile(name, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out := b.run("tcpdump", "--nano", "-ttnr", name)
	lines := strings.Split(strings.TrimSpace(out), "\n")[1:] // the first tells of the file
	if len(lines) != copies || copies < 4 {
		t.Fatalf("%d packets, want %d: %s", len(lines), copies, out)
	}
	last := ""
	for _, line := range lines {
		if at, _, _ := strings.Cut(line, " "); at < last {
			t.Errorf("the order of time is broken: %s", out)
		} else {
			last = at
		}
	}
	if first := list[0].Copies[0].At; !strings.HasPrefix(lines[0], fmt.Sprintf("%d.%09d ", first.Unix(), first.Nanosecond())) {
		t.Errorf("%s is not at %v", lines[0], first)
	}
	for _, text := range []string{"eth0", "veth1", "a comment of five words"} {
		if !bytes.Contains(file.Bytes(), []byte(text)) {
			t.Errorf("%q is not in the file", text)
		}
	}
}

// A packet is what it was, but for its addresses and ports.
func TestRewrite(t *testing.T) {
	for name, frame := range map[string][]byte{
		"IPv4": frames.Ether(packet.IPv4, frames.IPv4(packet.TCP, "10.0.0.1", "10.0.0.2", frames.TCP(4000, 80, 5, 0, 2, nil, nil))),
		"IPv6": frames.Ether(packet.IPv6, frames.IPv6(packet.UDP, "fd00::1", "fd00::2", frames.UDP(4000, 53, []byte{1, 2}))),
		"tag":  frames.Ether(packet.VLAN, frames.U16(5), frames.U16(packet.IPv4), frames.IPv4(packet.UDP, "10.0.0.1", "10.0.0.2", frames.UDP(1, 2, nil))),
	} {
		p := packet.NewDecoder(true).Ethernet(frame)
		old, ok := TupleOf(p)
		want := Tuple{Protocol: p.Protocol, From: netip.AddrPortFrom(old.To.Addr(), 7), To: netip.AddrPortFrom(old.From.Addr(), 8)}
		there := Rewrite(frame, p, want)
		q := packet.NewDecoder(true).Ethernet(there)
		got, ok2 := TupleOf(q)
		if !ok || !ok2 || got != want || !bytes.Equal(Rewrite(there, q, old), frame) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// A link that goes down is told, once, and heard again when it is up.
func TestDown(t *testing.T) {
	b := newBench(t)
	places := b.places()
	c, err := Open(places, nil, Whole, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	down, heard := make(chan string, 10), make(chan string, 1000)
	c.Down = func(p Place) { down <- p.Name }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- c.Run(ctx, func(s *Sighting) (bool, error) {
			if line := packet.NewDecoder(true).Ethernet(s.Copies[0].Bytes).Line(packet.Display{}); strings.Contains(line, "echo request") {
				heard <- line
			}
			return true, nil
		})
	}()
	b.ip("link set veth1 down")
	select {
	case name := <-down:
		if name != "veth1" {
			t.Errorf("%s has gone down", name)
		}
	case <-time.After(5 * time.Second):
		t.Error("nobody was told")
	}
	b.ip("link set veth1 up")
	b.ping("10.0.0.1")
	time.Sleep(3 * pace)
	cancel()
	if err := <-ended; err != nil || len(heard) == 0 {
		t.Errorf("after it is up again: %v, %d packets", err, len(heard))
	}
}

// A filter that the kernel does not take is an error of opening, not silence.
func TestOpenRefuses(t *testing.T) {
	b := newBench(t)
	places := b.places()
	places[1].Index = 4000
	if _, err := Open(places, nil, Whole, nil); err == nil || !strings.Contains(err.Error(), "capture at veth1: bind") {
		t.Errorf("no such link: %v", err)
	}
	places[0].Inode = 1
	if _, err := Open(places, []bpf.Instruction{bpf.RetConstant{Val: 1}}, Whole, nil); err == nil {
		t.Error("another namespace is not told from the one that was meant")
	}
}

func FuzzEntry(f *testing.F) {
	f.Add(append(make([]byte, headBytes), attribute(ctaOrig, Tuple{Protocol: 6, From: netip.MustParseAddrPort("10.0.0.1:1"), To: netip.MustParseAddrPort("10.0.0.2:2")}.encode())...))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if len(b) >= headBytes {
			_ = decodeEntry(b).original.Reply().String()
		}
	})
}
