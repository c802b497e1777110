package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/trace"
)

// resolveTimeout is how long a name server may take.
const resolveTimeout = 3 * time.Second

// resolve asks the place's own name server for the name, from within its network.
// The file that names the server is read in the container's root.
func resolve(p trace.Place, pid int, name string) (netip.Addr, error) {
	server, err := nameServer(pid)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("resolve %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	r := net.Resolver{PreferGo: true, Dial: func(_ context.Context, protocol, _ string) (conn net.Conn, err error) {
		err = network.Netns{Path: p.Path}.Do(func() error {
			conn, err = net.DialTimeout(protocol, net.JoinHostPort(server, "53"), resolveTimeout)
			return err
		})
		return conn, err
	}}
	list, err := r.LookupNetIP(ctx, "ip", strings.TrimSuffix(name, ".")+".")
	if err != nil {
		return netip.Addr{}, fmt.Errorf("resolve %s: %w", name, err)
	}
	for _, a := range list {
		if a.Unmap().Is4() {
			return a.Unmap(), nil
		}
	}
	return list[0], nil
}

// nameServer is the first of /etc/resolv.conf. A container's links lead nowhere
// but into its own root (openat2(2), RESOLVE_IN_ROOT).
func nameServer(pid int) (string, error) {
	root := "/"
	if pid != 0 {
		root = fmt.Sprintf("/proc/%d/root", pid)
	}
	dir, err := os.Open(root)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	fd, err := unix.Openat2(int(dir.Fd()), "etc/resolv.conf", &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return "", &os.PathError{Op: "open", Path: "/etc/resolv.conf", Err: err}
	}
	f := os.NewFile(uintptr(fd), "/etc/resolv.conf")
	defer f.Close()
	content := make([]byte, 64<<10)
	n, err := f.Read(content)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(content[:n])) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "nameserver" {
			if a, err := netip.ParseAddr(fields[1]); err == nil {
				return a.String(), nil
			}
		}
	}
	return "", fmt.Errorf("/etc/resolv.conf names no server")
}
