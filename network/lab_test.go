package network

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A lab is a host with an uplink, three networks and a container or two on each:
//
//	lan 192.0.2.2 ── 192.0.2.1 host ┬ mc-a 172.30.1.0/24 ── a1 .2, a2 .3
//	    2001:db8::2      2001:db8::1├ mc-b 172.30.2.0/24 ── b1 .2
//	                                └ mc-i 172.30.3.0/24 ── i1 .2   (internal)
//
// and the same in IPv6, fd30:1::/64 and so on. The neighbour lan knows the routes
// to the containers' subnets. Everywhere a server answers at port 80, TCP and
// UDP, with the address that it is asked from, and on the host at 99 of the
// loopback.
type lab struct {
	host, lan Netns
	at        map[string]Netns // by name: host, lan, a1, …
	runroot   string
}

// labNetworks are the letters of the networks in the order of their numbers.
const labNetworks = "abi"

func newLab(t testing.TB) *lab {
	t.Helper()
	requireTools(t, "ip", "nft", "sysctl", "nsenter")
	freshHost(t)
	l := &lab{runroot: t.TempDir(), at: map[string]Netns{}}
	l.host = Netns{Path: fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())}
	l.at["host"] = l.host
	sh(t, `ip link set lo up
		sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0`)
	l.lan = l.cable(t, "lan", "uplink", "", "192.0.2.", "2001:db8::", 2, 1)
	sh(t, "ip addr add 192.0.2.1/24 dev uplink; ip -6 addr add 2001:db8::1/64 dev uplink nodad")
	for i, letter := range labNetworks {
		sh(t, fmt.Sprintf(`ip link add mc-%[1]c type bridge
			ip addr add 172.30.%[2]d.1/24 dev mc-%[1]c; ip -6 addr add fd30:%[2]d::1/64 dev mc-%[1]c nodad; ip link set mc-%[1]c up`, letter, i+1))
		if err := l.firewall(letter).Apply(); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a1", "a2", "b1", "i1"} {
		i := strings.IndexByte(labNetworks, name[0]) + 1
		l.cable(t, name, "v-"+name, "mc-"+name[:1], fmt.Sprintf("172.30.%d.", i), fmt.Sprintf("fd30:%d::", i), int(name[1]-'0')+1, 1)
		run(t, throughBridge(Endpoint{Interface: Interface{Host: "v-" + name}, Network: Network{Bridge: "mc-" + name[:1]}, Default: true, Default6: true}))
	}
	for _, ns := range l.at {
		answer(t, ns, "80")
	}
	answerOnLoopback(t, l.host)
	return l
}

func (l *lab) firewall(letter rune) *AddFirewall {
	i := strings.IndexRune(labNetworks, letter) + 1
	return &AddFirewall{
		Network: string(letter), Bridge: "mc-" + string(letter), Internal: letter == 'i',
		Gateway: netip.MustParsePrefix(fmt.Sprintf("172.30.%d.1/24", i)), Gateway6: netip.MustParsePrefix(fmt.Sprintf("fd30:%d::1/64", i)),
	}
}

// cable connects a new namespace to the host, with default routes by it.
func (l *lab) cable(t testing.TB, name, link, bridge, prefix, prefix6 string, number, gateway int) Netns {
	t.Helper()
	ns := freshNetns(t, name)
	master := ""
	if bridge != "" {
		master = "master " + bridge
	}
	sh(t, fmt.Sprintf(`exec 3<%s
		ip link add %s up %s type veth peer name eth0 netns /proc/self/fd/3
		nsenter --net=/proc/self/fd/3 sh -ec 'sysctl -q -w net.ipv6.conf.eth0.accept_dad=0; ip link set lo up
			ip addr add %s%d/24 dev eth0; ip -6 addr add %s%d/64 dev eth0 nodad; ip link set eth0 up
			ip route add default via %s%d; ip -6 route add default via %s%d'`,
		ns.Path, link, master, prefix, number, prefix6, number, prefix, gateway, prefix6, gateway))
	l.at[name] = ns
	return ns
}

// publish publishes a port of a container as -p would.
func (l *lab) publish(t testing.TB, container, port string) *PublishPorts {
	t.Helper()
	s := l.ports(t, container, port)
	if err := s.Apply(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (l *lab) ports(t testing.TB, container, port string) *PublishPorts {
	t.Helper()
	ports, err := ParsePorts(port)
	if err != nil {
		t.Fatal(err)
	}
	i, number := strings.IndexByte(labNetworks, container[0])+1, container[1]-'0'+1
	s := &PublishPorts{Ports: ports, Owner: container + strings.Repeat("0", 62), Name: container, Lease: Lease{File: leaseFile(l.runroot, "a")}}
	s.Address = netip.MustParseAddr(fmt.Sprintf("172.30.%d.%d", i, number))
	s.Address6 = netip.MustParseAddr(fmt.Sprintf("fd30:%d::%d", i, number))
	return s
}

// answer serves TCP and UDP at the port of every address.
func answer(t testing.TB, ns Netns, port string) {
	t.Helper()
	var l net.Listener
	var p net.PacketConn
	err := ns.Do(func() (err error) {
		l, err = net.Listen("tcp", ":"+port)
		if err == nil {
			p, err = net.ListenPacket("udp", ":"+port)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); p.Close() })
	go answerTCP(l)
	go func() {
		buffer := make([]byte, 100)
		for {
			_, from, err := p.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = p.WriteTo([]byte(plainHost(from)), from)
		}
	}()
}

func answerTCP(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprint(c, plainHost(c.RemoteAddr()))
		c.Close()
	}
}

func answerOnLoopback(t testing.TB, ns Netns) {
	t.Helper()
	for _, address := range []string{"127.0.0.1:99", "[::1]:99"} {
		var l net.Listener
		err := ns.Do(func() (err error) { l, err = net.Listen("tcp", address); return err })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go answerTCP(l)
	}
}

func plainHost(a net.Addr) string {
	at, _ := netip.ParseAddrPort(a.String())
	return at.Addr().Unmap().String()
}

// call asks the address from the namespace, and gives the answer or "refused", of
// which silence is one kind.
func call(ns Netns, protocol, address string) string {
	text := "refused"
	err := ns.Do(func() error {
		const patience = 400 * time.Millisecond
		c, err := net.DialTimeout(protocol, address, patience)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := errors.Join(c.SetDeadline(time.Now().Add(patience)), say(protocol, c)); err != nil {
			return err
		}
		buffer := make([]byte, 100)
		n, err := c.Read(buffer)
		if err == nil {
			text = string(buffer[:n])
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, io.EOF) {
		var e net.Error
		if !errors.As(err, &e) {
			text = err.Error()
		}
	}
	return text
}

func say(protocol string, c net.Conn) error {
	if protocol != "udp" {
		return nil
	}
	_, err := c.Write([]byte("who am I?"))
	return err
}
