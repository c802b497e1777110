package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/bpf"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network/capture"
	"github.com/minictr/minictr/network/packet"
)

// sniffShow says how packets are shown.
type sniffShow struct {
	numeric, link, verbose, json bool
}

// A sniffView turns sightings into lines.
type sniffView struct {
	*sniffer
	own     map[netip.Addr]bool // the container's addresses
	decoder *packet.Decoder
	width   int // of the places' column
}

func newSniffView(s *sniffer) *sniffView {
	v := &sniffView{sniffer: s, own: map[netip.Addr]bool{}, decoder: packet.NewDecoder(false)}
	for _, a := range s.hosts.addresses[s.name] {
		v.own[a] = true
	}
	var columns []string
	for i, p := range s.places {
		if p.Other >= 0 {
			columns = append(columns, s.place(i)+">"+s.place(p.Other))
		} else {
			columns = append(columns, s.place(i))
		}
	}
	v.width = widest(columns)
	return v
}

// place is how a place is called in a line.
func (s *sniffer) place(i int) string { return terminal.Visible(s.places[i].Name) }

// A sniffLine is what is shown of a packet.
type sniffLine struct {
	Time      time.Time
	Direction capture.Direction
	Places    []sniffPlace
	Missed    string `json:",omitempty"` // the end of the cable that did not see it
	Length    int
	Text      string
	Before    string `json:",omitempty"` // its addresses before the host translated them
	After     string `json:",omitempty"` // and behind that

	role capture.Role // of the first place
}

type sniffPlace struct {
	Name string
	Role capture.Role
	Time time.Time
}

// line tells what a packet is, where it was seen, and what the host makes of it.
func (v *sniffView) line(one *capture.Sighting) (*sniffLine, error) {
	first := one.Copies[0]
	p := v.decoder.Ethernet(first.Bytes)
	p.FrameBytes = first.Length
	l := &sniffLine{Time: one.At(), Direction: one.Direction, Length: first.Length, role: v.places[first.Place].Role}
	for _, c := range one.Copies {
		l.Places = append(l.Places, sniffPlace{v.places[c.Place].Name, v.places[c.Place].Role, c.At})
	}
	if one.Missed >= 0 {
		l.Missed = v.places[one.Missed].Name
	}
	display := packet.Display{Link: v.flags.show.link, Verbose: v.flags.show.verbose}
	if !v.flags.show.numeric {
		display.Name = func(a netip.Addr) string { return v.hosts.names[a] }
	}
	l.Text = p.Line(display)
	tuple, ok := capture.TupleOf(p)
	if !ok {
		return l, nil
	}
	found, err := v.tracker.Find(tuple)
	if err == nil && found.Changed() {
		l.Before, l.After = found.Before.String(), found.After.String()
	}
	return l, err
}

// concerns reports whether what an uplink saw is the container's, and wanted: the
// filter is asked with the addresses that the container knows.
func (v *sniffView) concerns(c capture.Copy, filter *bpf.VM) bool {
	p := packet.NewDecoder(true).Ethernet(c.Bytes)
	tuple, ok := capture.TupleOf(p)
	if !ok {
		return false
	}
	t, err := v.tracker.Find(tuple)
	if err != nil {
		return false
	}
	for _, form := range []capture.Tuple{t.Before, t.After} {
		if v.own[form.From.Addr()] || v.own[form.To.Addr()] {
			n, err := filter.Run(capture.Rewrite(c.Bytes, p, form))
			return err == nil && n > 0
		}
	}
	return false
}

// translation says what the host makes of the addresses, as it is to be read at the
// place: what comes, or what it was.
func (l *sniffLine) translation() string {
	switch {
	case l.Before == "":
		return ""
	case l.role == capture.Uplink && l.Direction == capture.Out:
		return "was " + l.Before
	case l.role == capture.Uplink:
		return "becomes " + l.After
	case l.Direction == capture.Out:
		return "leaves as " + l.After
	}
	return "came as " + l.Before
}

// where is the column of the places.
func (l *sniffLine) where() string {
	var names []string
	for _, p := range l.Places {
		names = append(names, terminal.Visible(p.Name))
	}
	if l.Missed != "" {
		return names[0] + " only"
	}
	return strings.Join(names, ">")
}

// comment is what a file keeps of it beside the packet.
func (l *sniffLine) comment() string {
	parts := []string{string(l.Direction) + " " + l.where()}
	if t := l.translation(); t != "" {
		parts = append(parts, t)
	}
	return strings.Join(parts, ", ")
}

func (v *sniffView) print(l *sniffLine) error {
	if v.flags.show.json {
		return terminal.JSONLines(v.out, []any{l})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-3s %-*s ", l.Time.Format("15:04:05.000000"), l.Direction, v.width, l.where())
	if v.flags.show.verbose && len(l.Places) > 1 {
		fmt.Fprintf(&b, "+%s ", max(0, l.Places[1].Time.Sub(l.Time)).Round(100*time.Nanosecond))
	}
	b.WriteString(l.Text)
	if t := l.translation(); t != "" {
		fmt.Fprintf(&b, " [%s]", t)
	}
	b.WriteString("\n")
	_, err := io.WriteString(v.out, b.String())
	return err
}

// A captureFile is a file of pcapng that is being written.
type captureFile struct {
	*capture.Writer
	buffer *bufio.Writer
	closer io.Closer // nil for standard output
}

func createCapture(name string, stdout *os.File, places []capture.Place) (*captureFile, error) {
	f := &captureFile{}
	var to io.Writer = stdout
	if name != "-" {
		file, err := os.Create(name)
		if err != nil {
			return nil, err
		}
		to, f.closer = file, file
	}
	f.buffer = bufio.NewWriterSize(to, 1<<16)
	var err error
	if f.Writer, err = capture.NewWriter(f.buffer, places); err == nil {
		err = f.buffer.Flush() // what cannot be written to is told at once
	}
	return f, err
}

// close writes what is left.
func (f *captureFile) close() error {
	err := f.Finish()
	if err == nil {
		err = f.buffer.Flush()
	}
	if f.closer != nil {
		err = errors.Join(err, f.closer.Close())
	}
	return err
}
