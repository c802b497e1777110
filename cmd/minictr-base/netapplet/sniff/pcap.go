package sniff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Link types of pcap files, tcpdump.org/linktypes.html.
const (
	linkEthernet = 1
	linkRaw      = 101
	linkCooked   = 113 // LINUX_SLL: what "any" delivers

	pcapMagic     = 0xa1b2c3d4 // microseconds
	pcapNanoMagic = 0xa1b23c4d
	snapBytes     = 1 << 18
	cookedHeader  = 16
)

var linkNames = map[uint32]string{linkEthernet: "EN10MB (Ethernet)", linkRaw: "RAW (Raw IP)", linkCooked: "LINUX_SLL (Linux cooked v1)"}

// A pcapWriter writes frames as pcap-savefile(5) says.
type pcapWriter struct{ w io.Writer }

func newPcapWriter(w io.Writer, link uint32) (*pcapWriter, error) {
	h := binary.LittleEndian.AppendUint32(nil, pcapNanoMagic)
	h = binary.LittleEndian.AppendUint16(h, 2)
	h = binary.LittleEndian.AppendUint16(h, 4)
	h = append(h, make([]byte, 8)...) // time zone and accuracy, which nobody fills
	h = binary.LittleEndian.AppendUint32(h, snapBytes)
	h = binary.LittleEndian.AppendUint32(h, link)
	_, err := w.Write(h)
	return &pcapWriter{w}, err
}

func (p *pcapWriter) write(f frame) error {
	h := binary.LittleEndian.AppendUint32(nil, uint32(f.at.Unix()))
	h = binary.LittleEndian.AppendUint32(h, uint32(f.at.Nanosecond()))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(f.bytes)))
	h = binary.LittleEndian.AppendUint32(h, uint32(len(f.bytes)))
	_, err := p.w.Write(append(h, f.bytes...))
	return err
}

// A pcapReader reads frames of either byte order.
type pcapReader struct {
	r     io.Reader
	order binary.ByteOrder
	nano  bool
	link  uint32
}

func newPcapReader(r io.Reader) (*pcapReader, error) {
	h := make([]byte, 24)
	if _, err := io.ReadFull(r, h); err != nil {
		return nil, fmt.Errorf("read the header: %w", err)
	}
	p := &pcapReader{r: r}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		if magic := order.Uint32(h); magic == pcapMagic || magic == pcapNanoMagic {
			p.order, p.nano, p.link = order, magic == pcapNanoMagic, order.Uint32(h[20:])&0xffff
		}
	}
	if p.order == nil {
		return nil, errors.New("not a pcap file")
	}
	if linkNames[p.link] == "" {
		return nil, fmt.Errorf("link type %d is not supported", p.link)
	}
	return p, nil
}

func (p *pcapReader) next() (frame, error) {
	h := make([]byte, 16)
	if _, err := io.ReadFull(p.r, h); err != nil {
		return frame{}, err // io.EOF at the end
	}
	fraction := time.Duration(p.order.Uint32(h[4:]))
	if !p.nano {
		fraction *= time.Microsecond
	}
	size := p.order.Uint32(h[8:])
	if size > snapBytes {
		return frame{}, fmt.Errorf("a frame of %d bytes", size)
	}
	f := frame{at: time.Unix(int64(p.order.Uint32(h)), int64(fraction)), link: p.link, bytes: make([]byte, size)}
	_, err := io.ReadFull(p.r, f.bytes)
	if f.link == linkCooked && len(f.bytes) >= cookedHeader {
		f.direction = f.bytes[1]
		f.known = true
	}
	return f, err
}
