package names

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// Port is where names are asked for.
const Port = 53

// backlog is how many connections may wait to be accepted.
const backlog = 64

// PortInUseError is that somebody else listens on the gateway's port 53.
type PortInUseError struct {
	Address netip.Addr
	// Holder and PID are whose the port is; "" when that is not to be seen.
	Holder, PID string
}

func (e *PortInUseError) Error() string {
	where := netip.AddrPortFrom(e.Address, Port).String()
	if e.Holder == "" {
		return where + " is in use"
	}
	return fmt.Sprintf("%s is in use by %s (pid %s)", where, e.Holder, e.PID)
}

// Unwrap returns EADDRINUSE.
func (e *PortInUseError) Unwrap() error { return unix.EADDRINUSE }

// Listen binds UDP and TCP on port 53 of each valid address: all of them, or none
// with an error.
func Listen(addresses []netip.Addr) ([]*os.File, error) {
	var bound []*os.File
	for _, a := range addresses {
		if !a.IsValid() {
			continue
		}
		for _, kind := range []int{unix.SOCK_DGRAM, unix.SOCK_STREAM} {
			f, err := listenPatiently(a, kind)
			if err != nil {
				closeAll(bound)
				return nil, err
			}
			bound = append(bound, f)
		}
	}
	if len(bound) == 0 {
		return nil, errors.New("the network has no gateway to listen on")
	}
	return bound, nil
}

// leaving is how long a server that has given up its network may keep the port.
const leaving = 500 * time.Millisecond

// listenPatiently waits for such a server, and for nobody else.
func listenPatiently(a netip.Addr, kind int) (*os.File, error) {
	unseen := false
	for deadline := time.Now().Add(leaving); ; {
		f, err := listen(a, kind)
		if !errors.Is(err, unix.EADDRINUSE) {
			return f, step.Fail("listen on", netip.AddrPortFrom(a, Port).String(), err)
		}
		comm, pid := holder(a, kind)
		if comm != program && (comm != "" || unseen) || time.Now().After(deadline) {
			return nil, &PortInUseError{Address: a, Holder: comm, PID: pid}
		}
		unseen = comm == "" // it may have gone in between
		time.Sleep(time.Millisecond)
	}
}

// A sockopt is one call of setsockopt(2).
type sockopt struct {
	level, name int
	what        string
}

func listen(a netip.Addr, kind int) (*os.File, error) {
	family, address := sockaddr(a.Unmap())
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), netip.AddrPortFrom(a, Port).String())
	for _, o := range options(family, kind) {
		if err := unix.SetsockoptInt(fd, o.level, o.name, 1); err != nil {
			return nil, errors.Join(os.NewSyscallError("setsockopt "+o.what, err), f.Close())
		}
	}
	if err := unix.Bind(fd, address); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), f.Close())
	}
	if kind == unix.SOCK_STREAM {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func sockaddr(a netip.Addr) (family int, address unix.Sockaddr) {
	if a.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: Port, Addr: a.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: Port, Addr: a.As16()}
}

// options are set before anything can arrive.
func options(family, kind int) []sockopt {
	list := []sockopt{
		// An IPv6 address cannot be bound in its first second, while the kernel
		// looks whether somebody else has it; with this it can. It holds for both
		// families (ip(7)).
		{unix.IPPROTO_IP, unix.IP_FREEBIND, "IP_FREEBIND"},
	}
	if family == unix.AF_INET6 {
		list = append(list, sockopt{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, "IPV6_V6ONLY"})
	}
	switch {
	case kind == unix.SOCK_STREAM:
		// Connections that the server before us has closed do not hold the port.
		// With UDP it would mean that two servers may have the same port.
		list = append(list, sockopt{unix.SOL_SOCKET, unix.SO_REUSEADDR, "SO_REUSEADDR"})
	case family == unix.AF_INET6:
		list = append(list, sockopt{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, "IPV6_RECVPKTINFO"})
	default:
		list = append(list, sockopt{unix.IPPROTO_IP, unix.IP_PKTINFO, "IP_PKTINFO"})
	}
	return list
}
