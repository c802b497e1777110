package network

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// oldTable is a table as an earlier minictr wrote it: a lease in whatever line was free.
func oldTable(t *testing.T) (pool, map[netip.Addr]string) {
	t.Helper()
	p := testPool(t, "172.17.0.1/16")
	if err := os.MkdirAll(filepath.Dir(p.file), 0o700); err != nil {
		t.Fatal(err)
	}
	text := fmt.Appendf(nil, "%-15s %-111s\n", "last", "172.17.0.9")
	leases := map[netip.Addr]string{}
	for i, a := range []string{"172.17.0.4", "", "172.17.0.9", "172.17.0.2", "172.17.200.7"} {
		if a == "" {
			text = fmt.Appendf(text, "%-15s %-111s\n", "", "")
			continue
		}
		text = fmt.Appendf(text, "%-15s %-111s\n", a, owner(i))
		leases[netip.MustParseAddr(a)] = owner(i)
	}
	if err := os.WriteFile(p.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return p, leases
}

func wantLeases(t *testing.T, p pool, want map[netip.Addr]string) {
	t.Helper()
	if got, err := readLeases(p.file); err != nil || !maps.Equal(got, want) {
		t.Errorf("leases %v, %v, want %v", got, err, want)
	}
	files, err := os.ReadDir(filepath.Dir(p.file))
	if err == nil && len(files) != 1 {
		t.Errorf("beside the table: %v", files)
	}
}

// TestOldTable: minictr is updated while containers run.
func TestOldTable(t *testing.T) {
	p, leases := oldTable(t)
	wantLeases(t, p, leases)
	four, nine, ten := netip.MustParseAddr("172.17.0.4"), netip.MustParseAddr("172.17.0.9"), netip.MustParseAddr("172.17.0.10")

	// The end of a container of before, while the table is still as it was.
	if err := Release(p.config(four, owner(0))); err != nil {
		t.Fatal(err)
	}
	delete(leases, four)
	wantLeases(t, p, leases)

	dry := p
	dry.dry = true
	if a, err := dry.lease("me"); err != nil || a != ten {
		t.Errorf("dry: got %s, %v, want %s", a, err, ten)
	}
	if err := dry.leaseThis("me", nine); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("dry: got %v, want that %s is in use", err, nine)
	}
	wantLeases(t, p, leases)

	if a, err := p.lease("me"); err != nil || a != ten {
		t.Errorf("got %s, %v, want %s", a, err, ten)
	}
	leases[ten] = "me"
	wantLeases(t, p, leases)
	if err := Release(p.config(nine, leases[nine])); err != nil {
		t.Error(err)
	}
	delete(leases, nine)
	wantLeases(t, p, leases)
	checkCount(t, p.file)
}

// TestOldWriter: an earlier minictr leases from a new table; it writes into line 1.
func TestOldWriter(t *testing.T) {
	p := testPool(t, "172.17.0.1/16")
	leases := map[netip.Addr]string{}
	for i := range 3 {
		a, err := p.lease(owner(i))
		if err != nil {
			t.Fatal(err)
		}
		leases[a] = owner(i)
	}
	f, err := os.OpenFile(p.file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	five := netip.MustParseAddr("172.17.0.5")
	if _, err := f.WriteAt(fmt.Appendf(nil, "%-15s %-111s\n", five, owner(9)), leaseLineBytes); err != nil {
		t.Fatal(err)
	}
	leases[five] = owner(9)
	wantLeases(t, p, leases)
	if err := p.leaseThis("me", five); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("got %v, want that %s is in use", err, five)
	}
	a, err := p.lease("me")
	if err != nil || a.String() != "172.17.0.6" {
		t.Errorf("got %s, %v, want 172.17.0.6", a, err)
	}
	leases[a] = "me"
	wantLeases(t, p, leases)
}

// TestSubnetMoved: the bridge was removed and made again with another subnet.
func TestSubnetMoved(t *testing.T) {
	p := testPool(t, "10.0.0.1/24")
	leases := map[netip.Addr]string{}
	for i := range 3 {
		a, err := p.lease(owner(i))
		if err != nil {
			t.Fatal(err)
		}
		leases[a] = owner(i)
	}
	for _, gateway := range []string{"10.0.1.1/24", "10.0.0.1/23", "10.0.0.1/24"} {
		p.gateway = netip.MustParsePrefix(gateway)
		a, err := p.lease(gateway)
		if err != nil || !p.gateway.Contains(a) {
			t.Errorf("of %s: %s, %v", gateway, a, err)
		}
		leases[a] = gateway
		wantLeases(t, p, leases)
	}
}

// TestFarLeases fills the part for the addresses out of turn, and empties it.
func TestFarLeases(t *testing.T) {
	p := testPool(t, "172.17.0.1/16")
	p.gateway6 = netip.MustParsePrefix("fd4d:12::1/64")
	far := func(i int) netip.Addr { return plus(p.gateway6.Addr(), 1<<32+i*i*7919) }
	leases := map[netip.Addr]string{}
	const count = 500
	for i := range count {
		got, err := p.leaseBoth(owner(i), [2]netip.Addr{1: far(i)})
		if err != nil || got[1] != far(i) {
			t.Fatalf("%d: got %s, %v, want %s", i, got, err, far(i))
		}
		leases[got[0]], leases[got[1]] = owner(i), owner(i)
	}
	wantLeases(t, p, leases)
	if _, err := p.leaseBoth("me", [2]netip.Addr{1: far(77)}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("got %v, want that it is in use", err)
	}
	if got, err := readLeases(p.file); err != nil || len(got) != 2*count {
		t.Errorf("%d leases, %v, after the refusal, want %d", len(got), err, 2*count)
	}
	for i := range count {
		if err := ReleaseOwner(filepath.Dir(filepath.Dir(p.file)), owner(i)); err != nil {
			t.Fatal(err)
		}
	}
	wantLeases(t, p, map[netip.Addr]string{})
	checkCount(t, p.file)
}

// TestFarFull: no line is left, and of what was there nothing is lost.
func TestFarFull(t *testing.T) {
	p := testPool(t, "10.0.0.1/8")
	at := func(i int) netip.Addr { return plus(p.gateway.Masked().Addr(), nearLeases+i) }
	for i := range farBuckets * bucketLines {
		if err := p.leaseThis(owner(i), at(i)); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if err := p.leaseThis("me", at(1<<20)); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	for _, i := range []int{0, 4000, farBuckets*bucketLines - 1} {
		if err := p.leaseThis("me", at(i)); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("%d: got %v, want that it is in use", i, err)
		}
		if err := Release(p.config(at(i), owner(i))); err != nil {
			t.Error(err)
		}
		if err := p.leaseThis("me", at(i)); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		n    int // -1: none
	}{
		{"10.0.0.0", "10.0.0.0", 0},
		{"10.0.0.255", "10.0.1.0", 1},
		{"10.0.0.5", "10.0.0.4", -1},
		{"0.0.0.0", "255.255.255.255", 1<<32 - 1},
		{"10.0.0.0", "::ffff:10.0.0.1", -1},
		{"fd00::ffff", "fd00::1:0", 1},
		{"fd00::", "fd00::ffff:ffff:ffff", 1<<48 - 1},
		{"fd00::", "fd00::1:0:0:0", 1 << 48},
		{"fd00::", "fd00::1:0:0:1", -1},
		{"fd00::", "fd00:0:0:1::", -1},
		{"fd00::", "fe00::", -1},
	} {
		a, b := netip.MustParseAddr(c.a), netip.MustParseAddr(c.b)
		n, ok := distance(a, b)
		if !ok {
			n = -1
		}
		if n != c.n {
			t.Errorf("distance(%s, %s) = %d, want %d", a, b, n, c.n)
		}
		if ok && plus(a, n) != b {
			t.Errorf("plus(%s, %d) = %s, want %s", a, n, plus(a, n), b)
		}
	}
	if _, ok := distance(netip.Addr{}, netip.MustParseAddr("::1")); ok {
		t.Error("a distance from nowhere")
	}
}
