package packet

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// A Packet is what was learned of a frame: what a filter asks for, and the line
// that is printed. Decoding never fails: what cannot be read is shown as cut off,
// "[|tcp]", as tcpdump does.
type Packet struct {
	SrcMAC, DstMAC net.HardwareAddr // nil without a link header
	EtherType      uint16
	VLANs          []uint16
	Network        []byte // from the network header on
	FrameBytes     int    // of the frame, before it was cut to what was read

	Src, Dst         netip.Addr
	Protocol         uint8 // of IP; valid with Src
	SrcPort, DstPort uint16
	HasPorts         bool
	Transport        []byte // from the transport header on; nil where it cannot be read
	TransportAt      int    // where in Network that begins

	header string // of IP, for -v
	text   string
}

// A Display says how a packet is shown.
type Display struct {
	Link    bool // with the addresses of Ethernet
	Verbose bool // with the header of IP

	// Name is what an address is called; "" for what has no name. nil: nothing has.
	Name func(netip.Addr) string
}

// Numbers of what Ethernet carries.
const (
	IPv4 = 0x0800
	ARP  = 0x0806
	VLAN = 0x8100
	QinQ = 0x88a8
	IPv6 = 0x86dd

	etherHeader = 14
	vlanTag     = 4
)

// typeNames are those of -e.
var typeNames = map[uint16]string{IPv4: "IPv4", ARP: "ARP", VLAN: "802.1Q", QinQ: "802.1Q-QinQ", IPv6: "IPv6", 0x88cc: "LLDP", 0x8863: "PPPoE D", 0x8864: "PPPoE S"}

// A Decoder turns frames into packets. It remembers where TCP connections began, so
// that their numbers can be counted from there.
type Decoder struct {
	absolute bool            // -S: it does not
	inner    bool            // it decodes what a tunnel carries, and no tunnel in that
	flows    map[flow]uint32 // the first sequence number of a direction
}

// NewDecoder makes a decoder. If it is absolute, the numbers of TCP stay as they are.
func NewDecoder(absolute bool) *Decoder {
	return &Decoder{absolute: absolute, flows: map[flow]uint32{}}
}

// A flow is one direction of a connection.
type flow struct{ src, dst netip.AddrPort }

const maxFlows = 1 << 16 // then we begin anew: the memory is bounded

// Ethernet decodes a frame with its link header.
func (d *Decoder) Ethernet(b []byte) *Packet {
	p := &Packet{FrameBytes: len(b)}
	if len(b) < etherHeader {
		p.Network, p.text = b, "[|ether]"
		return p
	}
	p.DstMAC, p.SrcMAC = net.HardwareAddr(b[:6]), net.HardwareAddr(b[6:12])
	p.EtherType = binary.BigEndian.Uint16(b[12:])
	b = b[etherHeader:]
	for (p.EtherType == VLAN || p.EtherType == QinQ) && len(b) >= vlanTag {
		p.VLANs = append(p.VLANs, binary.BigEndian.Uint16(b)&0xfff)
		p.EtherType = binary.BigEndian.Uint16(b[2:])
		b = b[vlanTag:]
	}
	d.networkLayer(p, b)
	return p
}

// Cooked decodes a packet whose link header the kernel has taken away.
func (d *Decoder) Cooked(etherType uint16, b []byte) *Packet {
	p := &Packet{FrameBytes: len(b), EtherType: etherType}
	if etherType == 0 && len(b) > 0 { // a link without headers: the first nibble is the version
		p.EtherType = map[byte]uint16{4: IPv4, 6: IPv6}[b[0]>>4]
	}
	d.networkLayer(p, b)
	return p
}

func (d *Decoder) networkLayer(p *Packet, b []byte) {
	p.Network = b
	switch {
	case p.EtherType == IPv4:
		d.ipv4(p, b)
	case p.EtherType == IPv6:
		d.ipv6(p, b)
	case p.EtherType == ARP:
		p.text = "ARP, " + arpText(p, b)
	case p.EtherType < 1536: // then it is a length, and the frame of 802.3
		p.text = llcText(b)
	default:
		p.text = fmt.Sprintf("ethertype %s, length %d", typeName(p.EtherType), len(b))
	}
}

func typeName(n uint16) string {
	name, ok := typeNames[n]
	if !ok {
		name = "Unknown"
	}
	return fmt.Sprintf("%s (0x%04x)", name, n)
}

// llcText knows the frames of a bridge's spanning tree.
func llcText(b []byte) string {
	if len(b) >= 2 && b[0] == 0x42 && b[1] == 0x42 {
		return fmt.Sprintf("STP 802.1d, length %d", len(b))
	}
	return fmt.Sprintf("802.3, length %d", len(b))
}

// arpText decodes ARP for Ethernet and IPv4, RFC 826.
func arpText(p *Packet, b []byte) string {
	const size = 28
	if len(b) < size || b[4] != 6 || b[5] != 4 {
		return "[|arp]"
	}
	sender, target := netip.AddrFrom4([4]byte(b[14:])), netip.AddrFrom4([4]byte(b[24:]))
	p.Src, p.Dst = sender, target
	mac := net.HardwareAddr(b[8:14])
	switch operation := binary.BigEndian.Uint16(b[6:]); {
	case operation == 1 && sender == target:
		return fmt.Sprintf("Announcement %s, length %d", sender, len(b))
	case operation == 1 && sender.IsUnspecified():
		return fmt.Sprintf("Probe %s, length %d", target, len(b))
	case operation == 1:
		return fmt.Sprintf("Request who-has %s tell %s, length %d", target, sender, len(b))
	case operation == 2:
		return fmt.Sprintf("Reply %s is-at %s, length %d", sender, mac, len(b))
	default:
		return fmt.Sprintf("operation %d, length %d", operation, len(b))
	}
}

// Line is the packet as it is printed, behind time, interface and direction.
func (p *Packet) Line(o Display) string {
	var b strings.Builder
	family := map[uint16]string{IPv4: "IP ", IPv6: "IP6 "}[p.EtherType]
	if o.Link && p.SrcMAC != nil {
		fmt.Fprintf(&b, "%s > %s, ethertype %s, length %d: ", p.SrcMAC, p.DstMAC, typeName(p.EtherType), p.FrameBytes)
	}
	for _, id := range p.VLANs {
		fmt.Fprintf(&b, "vlan %d, ", id)
	}
	b.WriteString(family)
	if o.Verbose && p.header != "" {
		b.WriteString(p.header + "\n    ")
	}
	text := p.text
	if o.Name != nil {
		text = strings.Replace(text, p.ends(), p.namedEnds(o.Name), 1)
	}
	b.WriteString(Visible(text))
	return b.String()
}

// endpoint is ADDRESS or ADDRESS.PORT, as tcpdump joins them.
func endpoint(a netip.Addr, port uint16, ports bool) string {
	if !ports {
		return a.String()
	}
	return fmt.Sprintf("%s.%d", a, port)
}

// namedEnds are the ends with names for addresses.
func (p *Packet) namedEnds(name func(netip.Addr) string) string {
	named := func(a netip.Addr, port uint16) string {
		text, n := endpoint(a, port, p.HasPorts), name(a)
		if n == "" {
			return text
		}
		return n + strings.TrimPrefix(text, a.String())
	}
	return named(p.Src, p.SrcPort) + " > " + named(p.Dst, p.DstPort) + ": "
}

func (p *Packet) ends() string {
	return endpoint(p.Src, p.SrcPort, p.HasPorts) + " > " + endpoint(p.Dst, p.DstPort, p.HasPorts) + ": "
}
