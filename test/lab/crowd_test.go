package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// crowd is how many containers start at the same time.
const crowd = 100

// All commands succeed, and every container has addresses of its own and is
// found by its name.
func TestCrowd(t *testing.T) {
	l := newLab(t, require(t))
	l.must("network", "create", "busy")
	l.must("run", "--rm", "--network", "busy", image, "true") // the image is there now
	begin := time.Now()
	l.side(crowd, func(i int) error {
		_, _, err := l.try(sleeper(fmt.Sprintf("one%d", i), "--network", "busy")...)
		return err
	})
	t.Logf("%d containers in %v", crowd, time.Since(begin).Round(time.Millisecond))
	addresses := l.apart("busy")
	asker := l.inspect("one0")
	resolver := asker.resolver(asker.on["busy"].Gateway)
	l.side(crowd, func(i int) error {
		name := fmt.Sprintf("one%d", i)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		found, err := resolver.LookupHost(ctx, name+".")
		if err == nil && !slices.Equal(found, []string{addresses[name]}) {
			err = fmt.Errorf("%s is %v, not %s", name, found, addresses[name])
		}
		return err
	})
	names := l.must("ps", "-q")
	l.must(append([]string{"rm", "-f"}, strings.Fields(names)...)...)
	if left := l.leases("busy"); len(left) > 0 {
		t.Errorf("leases that nobody has: %v", left)
	}
}

// side does something n times side by side.
func (l *lab) side(n int, do func(i int) error) {
	l.t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		l.t.Error(err)
	}
}

// apart checks that no two containers have the same address, and that the
// network knows them all.
func (l *lab) apart(network string) (addresses map[string]string) {
	l.t.Helper()
	addresses = map[string]string{}
	taken := map[string]string{}
	members := l.leases(network)
	if len(members) != crowd {
		l.t.Errorf("the network has %d members", len(members))
	}
	for _, m := range members {
		ip, err := netip.ParsePrefix(m.IPv4Address)
		if err != nil {
			l.t.Errorf("%s: %v", m.Name, err)
		}
		addresses[m.Name] = ip.Addr().String()
		for _, address := range []string{m.IPv4Address, m.MacAddress} {
			if other := taken[address]; other != "" {
				l.t.Errorf("%s and %s have %s", m.Name, other, address)
			}
			taken[address] = m.Name
		}
	}
	return addresses
}

type member struct{ Name, MacAddress, IPv4Address, IPv6Address string }

// leases are the members of a network, by their ids.
func (l *lab) leases(network string) map[string]member {
	l.t.Helper()
	var list []struct{ Containers map[string]member }
	out := l.must("network", "inspect", network)
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 {
		l.t.Fatalf("%v: %s", err, out)
	}
	return list[0].Containers
}

// resolver is Go's own, asking the server from the place.
func (p place) resolver(server string) *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, protocol, _ string) (c net.Conn, err error) {
			err = p.do(func() error {
				c, err = new(net.Dialer).DialContext(ctx, protocol, net.JoinHostPort(server, "53"))
				return err
			})
			return c, err
		},
	}
}
