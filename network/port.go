package network

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/minictr/minictr/runtime/step"
)

// A Port is a port of a container, or a range of them, that is reachable at the
// host's addresses, as docker run -p has it.
type Port struct {
	// HostIP is the address of the host; the zero Addr is every address,
	// 0.0.0.0 every IPv4 address, :: every IPv6 address.
	HostIP netip.Addr `json:"hostIp,omitzero"`
	// HostPort is the first port of the host; 0 is one that ResolvePorts chooses.
	HostPort uint16 `json:"hostPort"`
	// ContainerPort is the first port of the container.
	ContainerPort uint16 `json:"containerPort"`
	// Count is how many ports there are, on either side.
	Count uint16 `json:"count"`
	// Protocol is "tcp", "udp" or "sctp".
	Protocol string `json:"protocol"`
	// Among, where it is not 0, is how many ports of the host there are, from
	// HostPort on, of which ResolvePorts chooses one.
	Among uint16 `json:"among,omitempty"`
}

// protocols are the protocols that have ports, by their names.
func protocols() map[string]uint8 { return map[string]uint8{"tcp": 6, "udp": 17, "sctp": 132} }

// ParsePorts reads the argument of -p:
//
//	[hostIP:][hostPort[-end]:]containerPort[-end][/tcp|udp|sctp]
//
// An IPv6 address stands in brackets. Without a port of the host, or with an
// empty one or 0, each of the container's gets one that is free. A range of the
// host for one port of the container means one of the range that is free.
func ParsePorts(text string) ([]Port, error) {
	ports, err := parsePorts(text)
	if err != nil {
		return nil, fmt.Errorf("publish %q: %w", text, err)
	}
	return ports, nil
}

func parsePorts(text string) ([]Port, error) {
	p := Port{Protocol: "tcp"}
	rest, protocol, given := strings.Cut(text, "/")
	if given {
		p.Protocol = strings.ToLower(protocol)
	}
	if protocols()[p.Protocol] == 0 {
		return nil, fmt.Errorf("unknown protocol %q; there are tcp, udp and sctp", protocol)
	}
	ip, host, container, err := splitPorts(rest)
	if err != nil {
		return nil, err
	}
	if p.HostIP, err = parseHostIP(ip); err != nil {
		return nil, err
	}
	first, last, err := parseRange(container)
	if err != nil {
		return nil, fmt.Errorf("port of the container: %w", err)
	}
	p.ContainerPort, p.Count = first, last-first+1
	if host == "" || host == "0" {
		return p.each(), nil
	}
	first, last, err = parseRange(host)
	if err != nil {
		return nil, fmt.Errorf("port of the host: %w", err)
	}
	p.HostPort = first
	switch count := last - first + 1; {
	case count == p.Count:
	case p.Count == 1:
		p.Among = count
	default:
		return nil, fmt.Errorf("the host's range has %d ports, the container's %d", count, p.Count)
	}
	return []Port{p}, nil
}

// splitPorts cuts address and ports apart: 80, 8080:80, 10.0.0.1:8080:80,
// [::1]:8080:80.
func splitPorts(text string) (ip, host, container string, err error) {
	if inside, ok := strings.CutPrefix(text, "["); ok {
		var rest string
		ip, rest, ok = strings.Cut(inside, "]")
		if rest, ok = cutColon(rest, ok); !ok || ip == "" {
			return "", "", "", errors.New("no IPv6 address in brackets, with a colon behind it")
		}
		host, container, ok = strings.Cut(rest, ":")
		if !ok {
			host, container = "", host
		}
		return ip, host, container, tooMany(container)
	}
	parts := strings.Split(text, ":")
	switch len(parts) {
	case 1:
		return "", "", parts[0], nil
	case 2:
		if looksLikeIP(parts[0]) {
			return "", "", "", fmt.Errorf("%s is an address; write %s::%s for any port of the host", parts[0], parts[0], parts[1])
		}
		return "", parts[0], parts[1], nil
	case 3:
		if parts[0] == "" {
			return "", "", "", errors.New("no address in front of the first colon")
		}
		return parts[0], parts[1], parts[2], nil
	}
	return "", "", "", errors.New("too many colons; an IPv6 address stands in brackets, [::1]:80:80")
}

func cutColon(text string, ok bool) (string, bool) {
	rest, colon := strings.CutPrefix(text, ":")
	return rest, ok && colon
}

func tooMany(container string) error {
	if strings.Contains(container, ":") {
		return errors.New("too many colons")
	}
	return nil
}

func looksLikeIP(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

func parseHostIP(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return a, fmt.Errorf("%q is not an IP address", text)
	case a.Zone() != "":
		return a, fmt.Errorf("%s: an address with a zone cannot be published on", text)
	case a.IsMulticast():
		return a, fmt.Errorf("%s is a multicast address", text)
	}
	return a.Unmap(), nil
}

// parseRange reads a port or two with a dash between them.
func parseRange(text string) (first, last uint16, err error) {
	begin, end, dash := strings.Cut(text, "-")
	if first, err = parsePortNumber(begin); err != nil {
		return 0, 0, err
	}
	if !dash {
		return first, first, nil
	}
	if last, err = parsePortNumber(end); err != nil {
		return 0, 0, err
	}
	if last < first {
		return 0, 0, fmt.Errorf("the range %s is reversed", text)
	}
	return first, last, nil
}

func parsePortNumber(text string) (uint16, error) {
	if text == "" {
		return 0, errors.New("it is missing")
	}
	if strings.Trim(text, "0123456789") != "" {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s is not between 1 and 65535", text)
	}
	return uint16(n), nil
}

// each is the range as single ports. Only those without a port of the host are
// taken apart: they need not get neighbours.
func (p Port) each() []Port {
	list := make([]Port, 0, p.Count)
	for i := range p.Count {
		one := p
		one.ContainerPort, one.Count = p.ContainerPort+i, 1
		list = append(list, one)
	}
	return list
}

// String is the argument of -p: 127.0.0.1:8080-8082:80-82/tcp.
func (p Port) String() string {
	host := ""
	switch {
	case p.Among > 0:
		host = span(p.HostPort, p.Among)
	case p.HostPort > 0:
		host = span(p.HostPort, p.Count)
	}
	text := span(p.ContainerPort, p.Count) + "/" + p.Protocol
	switch {
	case p.HostIP.Is6():
		return "[" + p.HostIP.String() + "]:" + host + ":" + text
	case p.HostIP.IsValid():
		return p.HostIP.String() + ":" + host + ":" + text
	case host != "":
		return host + ":" + text
	}
	return text
}

// span is a port, or the first and the last of a range.
func span(first, count uint16) string {
	if count <= 1 {
		return strconv.Itoa(int(first))
	}
	return fmt.Sprintf("%d-%d", first, first+count-1)
}

// Where names the port on the host, for messages: 0.0.0.0:80/tcp.
func (p Port) Where() string {
	ip := p.HostIP
	if !ip.IsValid() {
		ip = netip.IPv4Unspecified()
	}
	host := ip.String()
	if ip.Is6() {
		host = "[" + host + "]"
	}
	return host + ":" + span(p.HostPort, max(p.Count, p.Among)) + "/" + p.Protocol
}

// on returns the port as it is published in one family: with an address of that
// family, which may be the unspecified one. It is false when it is not.
func (p Port) on(f family) (Port, bool) {
	switch {
	case !p.HostIP.IsValid():
		p.HostIP = f.unspecified()
	case p.HostIP.Is4() != f.is4():
		return p, false
	}
	return p, true
}

// Bindings lists, in lines as minictr port prints them, where the container's
// ports are reachable: "80/tcp -> 0.0.0.0:8080". A port without a host address
// is published in the families in which the container has an address.
func Bindings(ports []Port, has4, has6 bool) []string {
	var lines []string
	for _, p := range slices.SortedFunc(slices.Values(ports), comparePorts) {
		for i := range p.Count {
			for _, f := range families() {
				one, ok := p.on(f)
				if ok && (f == ipv4 && has4 || f == ipv6 && has6) {
					host := netip.AddrPortFrom(one.HostIP, p.HostPort+i)
					lines = append(lines, fmt.Sprintf("%d/%s -> %s", p.ContainerPort+i, p.Protocol, host))
				}
			}
		}
	}
	return lines
}

// Bound lists where the container's ports are reachable, each with an address of the
// host, of which one family follows the other. They are in the order of Bindings, but
// ranges are whole.
func Bound(ports []Port, has4, has6 bool) (list []Port) {
	for _, p := range slices.SortedFunc(slices.Values(ports), comparePorts) {
		for _, f := range families() {
			if p, ok := p.on(f); ok && (f == ipv4 && has4 || f == ipv6 && has6) {
				list = append(list, p)
			}
		}
	}
	return list
}

// Mapping is the port as docker ps has it: 0.0.0.0:8080->80/tcp.
func (p Port) Mapping() string {
	host, _, _ := strings.Cut(p.Where(), "/")
	return host + "->" + span(p.ContainerPort, p.Count) + "/" + p.Protocol
}

// comparePorts orders by what the container has.
func comparePorts(a, b Port) int {
	return cmp.Or(cmp.Compare(a.ContainerPort, b.ContainerPort), cmp.Compare(a.Protocol, b.Protocol),
		a.HostIP.Compare(b.HostIP), cmp.Compare(a.HostPort, b.HostPort))
}

// overlaps tells whether two ports of one family claim the same port of the
// same address of the host.
func (p Port) overlaps(q Port) bool {
	same := p.HostIP == q.HostIP || p.HostIP.IsUnspecified() || q.HostIP.IsUnspecified()
	return same && p.Protocol == q.Protocol &&
		int(p.HostPort) < int(q.HostPort)+int(q.Count) && int(q.HostPort) < int(p.HostPort)+int(p.Count)
}

// CheckTwice fails when two of the ports claim the same port of the host. Those
// that have none yet get one that is free.
func CheckTwice(ports []Port) error {
	ports = slices.SortedFunc(slices.Values(ports), func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.HostPort, b.HostPort))
	})
	ports = slices.DeleteFunc(ports, func(p Port) bool { return p.HostPort == 0 || p.Among > 0 })
	for i, p := range ports {
		for _, q := range ports[i+1:] {
			if q.Protocol != p.Protocol || int(q.HostPort) >= int(p.HostPort)+int(p.Count) {
				break
			}
			if p.overlaps(q) {
				return step.Fail("publish port", q.Where(), errors.New("it is asked for twice"))
			}
		}
	}
	return nil
}
