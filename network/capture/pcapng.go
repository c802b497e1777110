package capture

import (
	"cmp"
	"encoding/binary"
	"io"
	"slices"
)

// A Writer writes copies as pcapng, draft-ietf-opsawg-pcapng: an interface block for
// each place, and for each packet the direction and, in words, what it met.
//
//	section header ── interface 0 (eth0) ── interface 1 (veth…) ── packet ── packet ── …
//
// Each block is its type, its length, a body, and its length again.
type Writer struct {
	w      io.Writer
	places []Place
	held   []noted // which another packet may still stand before
}

type noted struct {
	c       Copy
	comment string
}

// Block types and options.
const (
	sectionBlock   = 0x0a0d0d0a
	interfaceBlock = 1
	packetBlock    = 6
	byteOrder      = 0x1a2b3c4d
	linkEthernet   = 1

	optionEnd         = 0
	optionComment     = 1
	optionName        = 2 // of an interface
	optionDescription = 3
	optionResolution  = 9
	optionFlags       = 2 // of a packet
	optionProgram     = 4 // of a section

	inbound, outbound = 1, 2
	nanoseconds       = 9 // 10 to the power of minus this
)

// NewWriter begins a file.
func NewWriter(w io.Writer, places []Place) (*Writer, error) {
	p := &Writer{w: w, places: places}
	section := binary.LittleEndian.AppendUint32(nil, byteOrder)
	section = append(section, 1, 0, 0, 0)                                     // version 1.0
	section = append(section, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // a length that is not known
	section = append(section, options(option{optionProgram, []byte("minictr sniff")})...)
	b := block(sectionBlock, section)
	for _, place := range places {
		b = append(b, block(interfaceBlock, append([]byte{linkEthernet, 0, 0, 0, 0, 0, 0, 0}, options(
			option{optionName, []byte(place.Name)},
			option{optionDescription, []byte(place.Role)},
			option{optionResolution, []byte{nanoseconds}})...))...)
	}
	_, err := w.Write(b)
	return p, err
}

// Write writes the copies of packets whose time has come: they come in the order of
// their first copies, and are written in the order of all.
func (p *Writer) Write(s *Sighting, comment string) error {
	var failed error
	limit := s.At()
	for _, c := range s.Copies {
		p.held = append(p.held, noted{c, comment})
	}
	slices.SortStableFunc(p.held, func(a, b noted) int { return cmp.Compare(a.c.At.UnixNano(), b.c.At.UnixNano()) })
	n := 0
	for ; n < len(p.held) && failed == nil && !p.held[n].c.At.After(limit); n++ {
		failed = p.put(p.held[n])
	}
	p.held = slices.Delete(p.held, 0, n)
	return failed
}

// Finish writes what is held back.
func (p *Writer) Finish() error {
	for _, c := range p.held {
		if err := p.put(c); err != nil {
			return err
		}
	}
	p.held = nil
	return nil
}

func (p *Writer) put(n noted) error {
	flags := uint32(inbound) // as the link sees it
	if n.c.Direction == p.places[n.c.Place].Role.direction(true) {
		flags = outbound
	}
	at := uint64(n.c.At.UnixNano())
	b := binary.LittleEndian.AppendUint32(nil, uint32(n.c.Place))
	b = binary.LittleEndian.AppendUint32(b, uint32(at>>32))
	b = binary.LittleEndian.AppendUint32(b, uint32(at))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(n.c.Bytes)))
	b = binary.LittleEndian.AppendUint32(b, uint32(n.c.Length))
	b = append(b, padded(n.c.Bytes)...)
	list := []option{{optionFlags, binary.LittleEndian.AppendUint32(nil, flags)}}
	if n.comment != "" {
		list = append(list, option{optionComment, []byte(n.comment)})
	}
	_, err := p.w.Write(block(packetBlock, append(b, options(list...)...)))
	return err
}

type option struct {
	code  uint16
	value []byte
}

func options(list ...option) (b []byte) {
	for _, o := range append(list, option{code: optionEnd}) {
		b = binary.LittleEndian.AppendUint16(b, o.code)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(o.value)))
		b = append(b, padded(o.value)...)
	}
	return b
}

func block(kind uint32, body []byte) []byte {
	const frame = 12
	b := binary.LittleEndian.AppendUint32(nil, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(frame+len(body)))
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, uint32(frame+len(body)))
}

// padded is what has a length that four divides.
func padded(b []byte) []byte {
	const word = 4
	return append(slices.Clip(b), make([]byte, (word-len(b)%word)%word)...)
}
