// Package sniff is the applet sniff: it shows the packets on a link, one a line, as
// tcpdump does, with the direction in which each goes.
package sniff

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/flags"
	"github.com/minictr/minictr/network/packet"
)

// Applet is sniff.
func Applet() applet.Applet {
	return applet.Applet{
		Name:  "sniff",
		Usage: "[-enpStvxX] [-i INTERFACE|any] [-c COUNT] [-w FILE | -r FILE] [FILTER: host A, net N, port P, tcp, udp, icmp, arp, ip6, src, dst, and, or, not]",
		Short: "show the packets on a link, one a line",
		Run:   run,
	}
}

// A display says how packets are shown.
type display struct {
	packet.Display
	hex, ascii, noTime bool
}

// A sniffer is one run of sniff.
type sniffer struct {
	*applet.Call
	display
	device, write, read string
	count               int
	calm, absolute      bool
	wanted              filter
	decoder             *packet.Decoder
	seen                int
}

func run(c *applet.Call) error {
	s := &sniffer{Call: c, device: "any"}
	set := flags.New(c)
	set.Text(&s.device, "interface", "i")
	set.Text(&s.write, "write", "w")
	set.Text(&s.read, "read", "r")
	set.Number(&s.count, "count", "c")
	set.On(&s.Link, "link", "e")
	set.On(&s.Verbose, "verbose", "v")
	set.On(&s.hex, "hex", "x")
	set.On(&s.ascii, "ascii", "X")
	set.On(&s.noTime, "no-time", "t")
	set.On(&s.calm, "no-promiscuous", "p")
	set.On(&s.absolute, "absolute", "S")
	set.On(new(bool), "numeric", "n") // as it always is
	set.On(new(bool), "line-buffered", "l")
	if err := set.Parse(c); err != nil {
		return err
	}
	var err error
	if s.wanted, err = compile(strings.Join(set.Args(), " ")); err != nil {
		return err
	}
	s.decoder = packet.NewDecoder(s.absolute)
	if s.read != "" {
		return s.replay()
	}
	return s.listen()
}

// listen captures until -c or SIGINT.
func (s *sniffer) listen() error {
	c, err := openCapture(s.device, !s.calm)
	if err != nil {
		return err
	}
	enough, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	fmt.Fprintf(s.Err, "listening on %s, link-type %s\n", s.device, linkNames[c.link])
	context.AfterFunc(enough, func() { _ = c.file.SetReadDeadline(time.Unix(1, 0)) }) // wakes next
	err = s.pump(c.next, c.link)
	if enough.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	dropped, derr := c.dropped()
	fmt.Fprintf(s.Err, "%d packets captured\n%d packets dropped by kernel\n", s.seen, dropped)
	c.close()
	return errors.Join(err, derr)
}

func (s *sniffer) replay() error {
	in := io.Reader(os.Stdin)
	if s.read != "-" {
		file, err := os.Open(s.read)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	r, err := newPcapReader(bufio.NewReader(in))
	if err != nil {
		return fmt.Errorf("%s: %w", s.read, err)
	}
	if err := s.pump(r.next, r.link); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", s.read, err)
	}
	return nil
}

// pump shows or stores what next delivers, until it fails or there was enough.
func (s *sniffer) pump(next func() (frame, error), link uint32) (err error) {
	show := s.show
	if s.write != "" {
		out := s.Out
		if s.write != "-" {
			file, err := os.Create(s.write)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, file.Close()) }()
			out = file
		}
		w, err := newPcapWriter(out, link)
		if err != nil {
			return err
		}
		show = func(f frame, _ *packet.Packet) error { return w.write(f) }
	}
	for s.count == 0 || s.seen < s.count {
		f, err := next()
		if err != nil {
			return err
		}
		p := decode(s.decoder, f)
		if !s.wanted(p) {
			continue
		}
		s.seen++
		if err := show(f, p); err != nil {
			return err
		}
	}
	if s.read != "" {
		return io.EOF
	}
	return nil
}

// decode decodes by the link type.
func decode(d *packet.Decoder, f frame) *packet.Packet {
	switch {
	case f.link == linkEthernet:
		return d.Ethernet(f.bytes)
	case f.link == linkCooked && len(f.bytes) >= cookedHeader:
		p := d.Cooked(binary.BigEndian.Uint16(f.bytes[14:]), f.bytes[cookedHeader:])
		p.SrcMAC = nil
		return p
	}
	return d.Cooked(0, f.bytes)
}

func (s *sniffer) show(f frame, p *packet.Packet) error {
	var b strings.Builder
	if !s.noTime {
		b.WriteString(f.at.Format("15:04:05.000000 "))
	}
	if f.known {
		fmt.Fprintf(&b, "%s %s ", f.device, directions[min(int(f.direction), len(directions)-1)])
	}
	b.WriteString(p.Line(s.Display) + "\n")
	if s.hex || s.ascii {
		b.WriteString(hexdump(p.Network, s.ascii))
	}
	_, err := io.WriteString(s.Out, b.String())
	return err
}

// hexdump shows the bytes from the network header on, sixteen a line.
func hexdump(b []byte, ascii bool) string {
	var s strings.Builder
	for at := 0; at < len(b); at += 16 {
		line := b[at:min(at+16, len(b))]
		pairs := ""
		for i, c := range line {
			pairs += fmt.Sprintf("%02x", c)
			if i%2 == 1 {
				pairs += " "
			}
		}
		fmt.Fprintf(&s, "\t0x%04x:  %s", at, strings.TrimRight(pairs, " "))
		if ascii {
			printable := strings.Map(func(r rune) rune {
				if r < ' ' || r > '~' {
					return '.'
				}
				return r
			}, latin(line))
			fmt.Fprintf(&s, "%*s  %s", max(0, 39-len(strings.TrimRight(pairs, " "))), "", printable)
		}
		s.WriteString("\n")
	}
	return s.String()
}

// latin makes a rune of each byte.
func latin(b []byte) string {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}
