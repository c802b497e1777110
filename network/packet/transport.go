package packet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const (
	tcpHeader = 20
	udpHeader = 8
)

// tcpFlags are the bits in the order in which tcpdump prints them.
var tcpFlags = []struct {
	bit  byte
	name string
}{{0x02, "S"}, {0x01, "F"}, {0x04, "R"}, {0x08, "P"}, {0x20, "U"}, {0x40, "E"}, {0x80, "W"}, {0x10, "."}}

const flagSYN, flagFIN, flagRST, flagACK = 0x02, 0x01, 0x04, 0x10

// tcp decodes a segment. Numbers count from the beginning of the connection, where
// that was seen.
func (d *Decoder) tcp(p *Packet, b []byte, length int) {
	if len(b) < 4 {
		p.text = p.ends() + "[|tcp]"
		return
	}
	p.SrcPort, p.DstPort, p.HasPorts = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), true
	size := 0
	if len(b) >= tcpHeader {
		size = int(b[12]>>4) * 4
	}
	if size < tcpHeader {
		p.text = p.ends() + "[|tcp]"
		return
	}
	sequence, acknowledged, flags := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), b[13]
	data := max(0, length-size)
	sequence, acknowledged = d.relative(p, sequence, acknowledged, flags)
	var names strings.Builder
	for _, f := range tcpFlags {
		if flags&f.bit != 0 {
			names.WriteString(f.name)
		}
	}
	if names.Len() == 0 {
		names.WriteString("none")
	}
	text := fmt.Sprintf("Flags [%s]", &names)
	switch {
	case data > 0:
		text += fmt.Sprintf(", seq %d:%d", sequence, sequence+uint32(data))
	case flags&(flagSYN|flagFIN|flagRST) != 0:
		text += fmt.Sprintf(", seq %d", sequence)
	}
	if flags&flagACK != 0 {
		text += fmt.Sprintf(", ack %d", acknowledged)
	}
	text += fmt.Sprintf(", win %d", binary.BigEndian.Uint16(b[14:]))
	if size > tcpHeader {
		text += ", options [" + tcpOptions(b[tcpHeader:min(size, len(b))]) + "]"
	}
	p.text = p.ends() + text + fmt.Sprintf(", length %d", data)
	if data > 0 && len(b) > size {
		p.text += p.payload(b[size:])
	}
}

// payload tells what is in a segment that begins a message: HTTP shows itself by its
// first line, DNS by its port.
func (p *Packet) payload(b []byte) string {
	if (p.SrcPort == portDNS || p.DstPort == portDNS) && len(b) > 2 {
		return ": " + dnsText(b[2:], len(b)-2)
	}
	first, _, _ := bytes.Cut(b[:min(len(b), 120)], []byte("\r\n"))
	isRequest := bytes.HasSuffix(first, []byte(" HTTP/1.1")) || bytes.HasSuffix(first, []byte(" HTTP/1.0"))
	if isRequest || bytes.HasPrefix(first, []byte("HTTP/1.")) {
		return fmt.Sprintf(": HTTP: %s", strings.Trim(strconv.QuoteToASCII(string(first)), `"`))
	}
	return ""
}

// relative counts from the first number of each direction. That of a SYN is
// printed as it is.
func (d *Decoder) relative(p *Packet, sequence, acknowledged uint32, flags byte) (uint32, uint32) {
	if d.absolute {
		return sequence, acknowledged
	}
	if len(d.flows) >= maxFlows {
		clear(d.flows)
	}
	this := flow{netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort)}
	other := flow{this.dst, this.src}
	if flags&flagSYN != 0 {
		d.flows[this] = sequence
		if first, ok := d.flows[other]; ok {
			acknowledged -= first
		}
		return sequence, acknowledged
	}
	if first, ok := d.flows[this]; ok {
		sequence -= first
	}
	if first, ok := d.flows[other]; ok {
		acknowledged -= first
	}
	return sequence, acknowledged
}

func tcpOptions(b []byte) string {
	var list []string
	for len(b) > 0 {
		kind := b[0]
		if kind == 0 {
			list = append(list, "eol")
			break
		}
		if kind == 1 {
			list, b = append(list, "nop"), b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			list = append(list, "|tcp")
			break
		}
		list = append(list, tcpOption(kind, b[2:b[1]]))
		b = b[b[1]:]
	}
	return strings.Join(list, ",")
}

func tcpOption(kind byte, value []byte) string {
	switch {
	case kind == 2 && len(value) == 2:
		return fmt.Sprintf("mss %d", binary.BigEndian.Uint16(value))
	case kind == 3 && len(value) == 1:
		return fmt.Sprintf("wscale %d", value[0])
	case kind == 4:
		return "sackOK"
	case kind == 5:
		text := fmt.Sprintf("sack %d ", len(value)/8)
		for ; len(value) >= 8; value = value[8:] {
			text += fmt.Sprintf("{%d:%d}", binary.BigEndian.Uint32(value), binary.BigEndian.Uint32(value[4:]))
		}
		return text
	case kind == 8 && len(value) == 8:
		return fmt.Sprintf("TS val %d ecr %d", binary.BigEndian.Uint32(value), binary.BigEndian.Uint32(value[4:]))
	}
	return fmt.Sprintf("opt-%d", kind)
}

const portDNS, portDHCPServer, portDHCPClient, portMDNS, portVXLAN = 53, 67, 68, 5353, 4789

func (d *Decoder) udp(p *Packet, b []byte, length int) {
	if len(b) < udpHeader {
		p.text = p.ends() + "[|udp]"
		return
	}
	p.SrcPort, p.DstPort, p.HasPorts = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), true
	data := max(0, length-udpHeader)
	body := b[udpHeader:]
	is := func(port uint16) bool { return p.SrcPort == port || p.DstPort == port }
	switch {
	case is(portDNS) || is(portMDNS):
		p.text = p.ends() + dnsText(body, data)
	case is(portDHCPServer) || is(portDHCPClient):
		p.text = p.ends() + dhcpText(body, data)
	case p.DstPort == portVXLAN && len(body) > 8 && !d.inner:
		inner := (&Decoder{absolute: true, inner: true}).Ethernet(body[8:])
		p.text = p.ends() + fmt.Sprintf("VXLAN vni %d, ", binary.BigEndian.Uint32(body[4:])>>8) + inner.Line(Display{})
	default:
		p.text = p.ends() + fmt.Sprintf("UDP, length %d", data)
	}
}
