package sniff

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/foreign"
)

// A packet is what was learned of a frame: what a filter asks for, and the line
// that is printed. Decoding never fails: what cannot be read is shown as cut off,
// "[|tcp]", as tcpdump does.
type packet struct {
	srcMAC, dstMAC net.HardwareAddr // nil without a link header
	etherType      uint16
	vlans          []uint16
	frameBytes     int
	network        []byte // from the network header on

	src, dst     netip.Addr
	protocol     uint8 // of IP; valid with src
	sport, dport uint16
	ports        bool

	header string // of IP, for -v
	text   string
}

const (
	typeIPv4, typeARP, typeVLAN, typeQinQ, typeIPv6 = 0x0800, 0x0806, 0x8100, 0x88a8, 0x86dd

	etherHeader = 14
	vlanTag     = 4
)

// typeNames are those of -e.
var typeNames = map[uint16]string{typeIPv4: "IPv4", typeARP: "ARP", typeVLAN: "802.1Q", typeQinQ: "802.1Q-QinQ", typeIPv6: "IPv6", 0x88cc: "LLDP", 0x8863: "PPPoE D", 0x8864: "PPPoE S"}

// A decoder turns frames into packets. It remembers where TCP connections began, so
// that their numbers can be counted from there.
type decoder struct {
	absolute bool            // -S: it does not
	inner    bool            // it decodes what a tunnel carries, and no tunnel in that
	flows    map[flow]uint32 // the first sequence number of a direction
}

func newDecoder(absolute bool) *decoder {
	return &decoder{absolute: absolute, flows: map[flow]uint32{}}
}

// A flow is one direction of a connection.
type flow struct{ src, dst netip.AddrPort }

const maxFlows = 1 << 16 // then we begin anew: the memory is bounded

// ethernet decodes a frame with its link header.
func (d *decoder) ethernet(b []byte) *packet {
	p := &packet{frameBytes: len(b)}
	if len(b) < etherHeader {
		p.network, p.text = b, "[|ether]"
		return p
	}
	p.dstMAC, p.srcMAC = net.HardwareAddr(b[:6]), net.HardwareAddr(b[6:12])
	p.etherType = binary.BigEndian.Uint16(b[12:])
	b = b[etherHeader:]
	for (p.etherType == typeVLAN || p.etherType == typeQinQ) && len(b) >= vlanTag {
		p.vlans = append(p.vlans, binary.BigEndian.Uint16(b)&0xfff)
		p.etherType = binary.BigEndian.Uint16(b[2:])
		b = b[vlanTag:]
	}
	d.networkLayer(p, b)
	return p
}

// cooked decodes a packet whose link header the kernel has taken away.
func (d *decoder) cooked(etherType uint16, b []byte) *packet {
	p := &packet{frameBytes: len(b), etherType: etherType}
	if etherType == 0 && len(b) > 0 { // a link without headers: the first nibble is the version
		p.etherType = map[byte]uint16{4: typeIPv4, 6: typeIPv6}[b[0]>>4]
	}
	d.networkLayer(p, b)
	return p
}

func (d *decoder) networkLayer(p *packet, b []byte) {
	p.network = b
	switch {
	case p.etherType == typeIPv4:
		d.ipv4(p, b)
	case p.etherType == typeIPv6:
		d.ipv6(p, b)
	case p.etherType == typeARP:
		p.text = "ARP, " + arpText(p, b)
	case p.etherType < 1536: // then it is a length, and the frame of 802.3
		p.text = llcText(b)
	default:
		p.text = fmt.Sprintf("ethertype %s, length %d", typeName(p.etherType), len(b))
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
func arpText(p *packet, b []byte) string {
	const size = 28
	if len(b) < size || b[4] != 6 || b[5] != 4 {
		return "[|arp]"
	}
	sender, target := netip.AddrFrom4([4]byte(b[14:])), netip.AddrFrom4([4]byte(b[24:]))
	p.src, p.dst = sender, target
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

// line is the packet as it is printed, behind time, interface and direction.
func (p *packet) line(o display) string {
	var b strings.Builder
	family := map[uint16]string{typeIPv4: "IP ", typeIPv6: "IP6 "}[p.etherType]
	if o.link && p.srcMAC != nil {
		fmt.Fprintf(&b, "%s > %s, ethertype %s, length %d: ", p.srcMAC, p.dstMAC, typeName(p.etherType), p.frameBytes)
	}
	for _, id := range p.vlans {
		fmt.Fprintf(&b, "vlan %d, ", id)
	}
	b.WriteString(family)
	if o.verbose && p.header != "" {
		b.WriteString(p.header + "\n    ")
	}
	b.WriteString(foreign.Text(p.text))
	return b.String()
}

// endpoint is ADDRESS or ADDRESS.PORT, as tcpdump joins them.
func endpoint(a netip.Addr, port uint16, ports bool) string {
	if !ports {
		return a.String()
	}
	return fmt.Sprintf("%s.%d", a, port)
}

func (p *packet) ends() string {
	return endpoint(p.src, p.sport, p.ports) + " > " + endpoint(p.dst, p.dport, p.ports) + ": "
}
