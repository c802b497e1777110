package doctor

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/survey"
)

// gatewayPatience is how long the host's gateway is waited for, on its own cable.
const gatewayPatience = 300 * time.Millisecond

// askGateway asks the host's gateway for its hardware address, where somebody has set
// that by hand: what is written there, nobody else checks. The question is a probe of
// RFC 5227, from no address, so that nobody learns anything of it.
func (f *Facts) askGateway() error {
	route := f.Host.defaultRoute(netip.IPv4Unspecified())
	if route == nil || !route.Gateway.Is4() {
		return nil
	}
	link := f.Host.Link(route.Link)
	byHand := slices.ContainsFunc(f.Host.Neighbours, func(n survey.Neighbour) bool {
		return n.Link == route.Link && n.Address == route.Gateway && n.State == "permanent"
	})
	if !byHand || link == nil || !link.Up {
		return nil
	}
	own, err := net.ParseMAC(link.MAC)
	if err != nil || len(own) != 6 { // a tunnel has no hardware address
		return nil
	}
	f.Gateway.Asked = true
	f.Gateway.MAC, err = arping(link.Index, own, route.Gateway)
	return err
}

// arping sends a question of ARP, and returns from where the answer came; "" without
// one. RFC 826: hardware and protocol, their lengths, the operation, and four addresses.
func arping(link int, own net.HardwareAddr, to netip.Addr) (mac string, err error) {
	protocol := uint16(unix.ETH_P_ARP<<8&0xff00 | unix.ETH_P_ARP>>8) // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(protocol))
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	everybody := [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: link}); err != nil {
		return "", err
	}
	question := slices.Concat([]byte{0, 1, 8, 0, 6, 4, 0, 1}, own, []byte{0, 0, 0, 0}, make([]byte, 6), to.AsSlice())
	if err := unix.Sendto(fd, question, 0, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: link, Halen: 6, Addr: everybody}); err != nil {
		return "", err
	}
	timeout := unix.NsecToTimeval(gatewayPatience.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return "", err
	}
	b := make([]byte, 128)
	for until := time.Now().Add(gatewayPatience); time.Now().Before(until); {
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil { // EAGAIN: nobody answers
			return "", nil
		}
		const answer, sender, address = 7, 8, 14
		if n >= 28 && b[answer] == 2 && slices.Equal(b[address:address+4], to.AsSlice()) {
			return net.HardwareAddr(b[sender : sender+6]).String(), nil
		}
	}
	return "", nil
}
