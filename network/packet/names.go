package packet

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

const maxRecords = 8 // shown of one message

// dnsText decodes a message of DNS as tcpdump prints it: "id+ A? name." or
// "id answers/authorities/additionals …".
func dnsText(b []byte, length int) string {
	var parser dnsmessage.Parser
	header, err := parser.Start(b)
	if err != nil || len(b) < 12 {
		return fmt.Sprintf("[|domain], length %d", length)
	}
	text := fmt.Sprint(header.ID)
	if header.RCode != dnsmessage.RCodeSuccess {
		text += " " + strings.TrimPrefix(header.RCode.String(), "RCode")
	}
	switch {
	case header.Response && header.Authoritative:
		text += "*"
	case !header.Response && header.RecursionDesired:
		text += "+"
	}
	if header.Truncated {
		text += "|"
	}
	questions, err := parser.AllQuestions()
	if err != nil {
		return text + " [|domain]"
	}
	if !header.Response {
		for _, q := range questions {
			text += fmt.Sprintf(" %s? %s", strings.TrimPrefix(q.Type.String(), "Type"), q.Name)
		}
		return text + fmt.Sprintf(" (%d)", length)
	}
	text += fmt.Sprintf(" %d/%d/%d", binary.BigEndian.Uint16(b[6:]), binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:]))
	var records []string
	for len(records) < maxRecords {
		r, err := parser.Answer()
		if err != nil { // the end, or something that cannot be read
			break
		}
		records = append(records, recordText(r))
	}
	if len(records) > 0 {
		text += " " + strings.Join(records, ", ")
	}
	return text + fmt.Sprintf(" (%d)", length)
}

func recordText(r dnsmessage.Resource) string {
	kind := strings.TrimPrefix(r.Header.Type.String(), "Type")
	switch body := r.Body.(type) {
	case *dnsmessage.AResource:
		return kind + " " + netip.AddrFrom4(body.A).String()
	case *dnsmessage.AAAAResource:
		return kind + " " + netip.AddrFrom16(body.AAAA).String()
	case *dnsmessage.CNAMEResource:
		return kind + " " + body.CNAME.String()
	case *dnsmessage.PTRResource:
		return kind + " " + body.PTR.String()
	case *dnsmessage.NSResource:
		return kind + " " + body.NS.String()
	case *dnsmessage.MXResource:
		return fmt.Sprintf("%s %s %d", kind, body.MX, body.Pref)
	case *dnsmessage.TXTResource:
		return fmt.Sprintf("%s %q", kind, body.TXT)
	}
	return kind
}

var dhcpMessages = []string{"message 0", "Discover", "Offer", "Request", "Decline", "ACK", "NAK", "Release", "Inform"}

// dhcpText decodes DHCP, RFC 2131: 236 bytes of BOOTP, a magic number, options.
func dhcpText(b []byte, length int) string {
	const fixed = 236
	if len(b) < fixed {
		return fmt.Sprintf("[|bootp], length %d", length)
	}
	client := net.HardwareAddr(b[28:34])
	text := map[byte]string{1: "BOOTP/DHCP, Request from ", 2: "BOOTP/DHCP, Reply to "}[b[0]] + client.String()
	if yours := netip.AddrFrom4([4]byte(b[16:])); !yours.IsUnspecified() {
		text += ", your address " + yours.String()
	}
	if len(b) >= fixed+4 && binary.BigEndian.Uint32(b[fixed:]) == 0x63825363 {
		text += dhcpOptions(b[fixed+4:])
	}
	return text + fmt.Sprintf(", length %d", length)
}

func dhcpOptions(b []byte) string {
	text := ""
	for len(b) >= 2 && b[0] != 255 {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		size := int(b[1])
		if len(b) < 2+size {
			break
		}
		value := b[2 : 2+size]
		switch {
		case b[0] == 53 && size == 1 && int(value[0]) < len(dhcpMessages):
			text += ", " + dhcpMessages[value[0]]
		case b[0] == 12:
			text += fmt.Sprintf(", host name %q", value)
		case (b[0] == 50 || b[0] == 54 || b[0] == 3) && size >= 4:
			text += ", " + map[byte]string{50: "wants ", 54: "server ", 3: "gateway "}[b[0]] + netip.AddrFrom4([4]byte(value)).String()
		}
		b = b[2+size:]
	}
	return text
}
