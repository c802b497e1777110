package network

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// A poolWalk does random things to a pool of both families and keeps a map of
// what must come of it.
type poolWalk struct {
	pool
	t      *testing.T
	seed   uint64
	leases map[netip.Addr]string
	dead   map[string]bool
}

func newPoolWalk(t *testing.T, seed uint64) *poolWalk {
	w := &poolWalk{pool: testPool(t, "10.0.0.1/27"), t: t, seed: seed, leases: map[netip.Addr]string{}, dead: map[string]bool{}}
	random := rand.New(rand.NewPCG(seed, 1))
	w.gateway6 = netip.MustParsePrefix([]string{"fd00::1/64", "fd00::1/124", "fd00::7/122"}[random.IntN(3)])
	switch random.IntN(4) {
	case 0:
		w.gateway = netip.Prefix{}
	case 1:
		w.gateway6 = netip.Prefix{}
	case 2:
		w.within = netip.MustParsePrefix("10.0.0.16/28")
	}
	if random.IntN(3) == 0 {
		w.within6 = netip.MustParsePrefix("fd00::8/125")
	}
	if !w.gateway6.IsValid() {
		w.within6 = netip.Prefix{}
	}
	w.reserved = []netip.Addr{netip.MustParseAddr("10.0.0.20"), netip.MustParseAddr("fd00::a")}
	w.alive = func(o string) bool { return !w.dead[o] }
	return w
}

// TestPoolWalk: what is leased is never the gateway, the network, the broadcast
// address, reserved, out of the range, or somebody's who lives; and there is no
// lease only when there is no such address.
func TestPoolWalk(t *testing.T) {
	for seed := range uint64(40) {
		w := newPoolWalk(t, seed)
		random := rand.New(rand.NewPCG(seed, 2))
		for i := range 150 {
			w.step(random, owner(i))
			if got, err := readLeases(w.file); err != nil || !maps.Equal(got, w.leases) {
				t.Fatalf("seed %d, step %d: leases %v, %v, want %v", seed, i, got, err, w.leases)
			}
			checkCount(t, w.file)
		}
	}
}

func (w *poolWalk) step(random *rand.Rand, me string) {
	switch random.IntN(5) {
	case 0, 1:
		w.take(me, [2]netip.Addr{})
	case 2:
		var want [2]netip.Addr
		if w.gateway.IsValid() && random.IntN(2) == 0 {
			want[0] = plus(w.gateway.Masked().Addr(), 2+random.IntN(10))
		}
		if w.gateway6.IsValid() && random.IntN(2) == 0 {
			want[1] = plus(w.gateway6.Masked().Addr(), []int{8, 9, 10}[random.IntN(3)])
		}
		w.take(me, want)
	case 3:
		for _, o := range w.leases {
			w.dead[o] = true
			return
		}
	case 4:
		for _, o := range w.leases {
			lease := Lease{File: w.file, Owner: o}
			var mine []netip.Prefix
			for a, other := range w.leases {
				if other == o {
					mine = append(mine, netip.PrefixFrom(a, a.BitLen()))
					delete(w.leases, a)
				}
			}
			if err := lease.release(mine...); err != nil {
				w.t.Error(err)
			}
			return
		}
	}
}

func (w *poolWalk) free(a netip.Addr) bool {
	o, held := w.leases[a]
	return !held || w.dead[o]
}

// may are the addresses that may come of one that is wanted, or of none.
func (w *poolWalk) may(gateway, within netip.Prefix, want netip.Addr) (may map[netip.Addr]bool) {
	may = map[netip.Addr]bool{}
	if want.IsValid() {
		if w.free(want) {
			may[want] = true
		}
		return may
	}
	if !within.IsValid() {
		within = gateway.Masked()
	}
	for i, a := 0, within.Addr(); i < 300 && within.Contains(a); i, a = i+1, a.Next() {
		may[a] = a != gateway.Addr() && a != gateway.Masked().Addr() && (a.Is6() || a != broadcast(gateway)) &&
			a != w.reserved[0] && a != w.reserved[1] && w.free(a)
		if !may[a] {
			delete(may, a)
		}
	}
	return may
}

func (w *poolWalk) take(me string, want [2]netip.Addr) {
	w.t.Helper()
	got, err := w.leaseBoth(me, want)
	possible := true
	for f, gateway := range [2]netip.Prefix{w.gateway, w.gateway6} {
		if !gateway.IsValid() {
			continue
		}
		may := w.may(gateway, [2]netip.Prefix{w.within, w.within6}[f], want[f])
		sister := w.sister(got[0])
		switch {
		case len(may) == 0:
			possible = false
		case err == nil && f == 1 && !want[1].IsValid() && sister.IsValid() && w.givesSister(sister) && w.free(sister):
			if got[1] != sister {
				w.t.Errorf("seed %d: got %s with %s, want %s", w.seed, got[1], got[0], sister)
			}
		case err == nil && !may[got[f]]:
			w.t.Errorf("seed %d: got %s, which may not be (wanted %s)", w.seed, got[f], want[f])
		}
	}
	if possible != (err == nil) {
		w.t.Errorf("seed %d: wanted %s: got %s, %v, possible: %t", w.seed, want, got, err, possible)
	}
	if err != nil {
		return
	}
	for _, a := range got {
		if a.IsValid() {
			w.leases[a] = me
		}
	}
}

// givesSister reports whether the address may be given at all.
func (w *poolWalk) givesSister(a netip.Addr) bool {
	return (!w.within6.IsValid() || w.within6.Contains(a)) && a != w.gateway6.Addr() && a != w.gateway6.Masked().Addr() && a != w.reserved[1]
}

// TestLeaseBothErrors: when one of two cannot be had, neither is taken.
func TestLeaseBothErrors(t *testing.T) {
	p := testPool(t, "10.0.0.1/24")
	p.gateway6 = netip.MustParsePrefix("fd00::1/64")
	first, err := p.leaseBoth(owner(1), [2]netip.Addr{})
	if err != nil || first != [2]netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")} {
		t.Fatalf("got %s, %v", first, err)
	}
	for _, c := range []struct{ want, want6, text string }{
		{"10.0.0.2", "fd00::9", "lease address 10.0.0.2: in use by container " + owner(1)},
		{"10.0.0.9", "fd00::2", "lease address fd00::2: in use by container " + owner(1)},
	} {
		_, err := p.leaseBoth("me", [2]netip.Addr{netip.MustParseAddr(c.want), netip.MustParseAddr(c.want6)})
		if err == nil || err.Error() != c.text {
			t.Errorf("got %v, want %s", err, c.text)
		}
	}
	wantLeases(t, p, map[netip.Addr]string{first[0]: owner(1), first[1]: owner(1)})

	p.gateway6 = netip.MustParsePrefix("fd00::1/126")
	for i := 2; i < 4; i++ {
		if _, err = p.leaseBoth(owner(i), [2]netip.Addr{}); err != nil {
			break
		}
	}
	if want := "lease an address of fd00::/126: all 2 addresses are in use"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if leases, _ := readLeases(p.file); len(leases) != 4 {
		t.Errorf("left: %v", leases)
	}
}

// TestSameHardwareAddress: two IPv6 addresses whose hash is the same do not get
// the same hardware address.
func TestSameHardwareAddress(t *testing.T) {
	one, other := collision(t)
	p := testPool(t, "10.0.0.1/24")
	p.gateway, p.gateway6 = netip.Prefix{}, netip.MustParsePrefix("fd00::1/64")
	if _, err := p.leaseBoth(owner(1), [2]netip.Addr{1: one}); err != nil {
		t.Fatal(err)
	}
	_, err := p.leaseBoth(owner(2), [2]netip.Addr{1: other})
	want := fmt.Sprintf("lease address %s: it would have the hardware address of %s, which is leased: address already in use", other, one)
	if err == nil || err.Error() != want || !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// collision finds two addresses of fd00::/64 with the same farHash.
func collision(t *testing.T) (one, other netip.Addr) {
	t.Helper()
	seen := map[uint64]netip.Addr{}
	base := netip.MustParseAddr("fd00::1:0:0:0")
	for i := range 1 << 23 {
		a := plus(base, i*0x10003)
		h := farHash(a)
		if before, ok := seen[h]; ok {
			return before, a
		}
		seen[h] = a
	}
	t.Fatal("no two addresses have the same hash")
	return one, other
}

// portNames are those of the containers 0 to n-1, and more of others.
func portNames(n, others int) []string {
	var list []string
	for i := range n {
		list = append(list, hostPrefix+owner(i)[:8])
	}
	for i := range others {
		list = append(list, fmt.Sprintf("tap%d", i))
	}
	return list
}

func TestPortsFull(t *testing.T) {
	for _, c := range []struct {
		name                  string
		leases, ports, others int
		dead                  int // of the first
		full                  bool
		counted               bool
	}{
		{"few", 999, 999, 0, 0, false, false},
		{"many", 1000, 1000, 0, 0, false, true},
		{"one left", 1022, 1022, 0, 0, false, true},
		{"all", 1023, 1023, 0, 0, true, true},
		{"with somebody else's", 1000, 1000, 23, 0, true, true},
		{"launches that have no port yet", 1023, 900, 0, 0, true, true},
		{"the dead have none", 1100, 0, 100, 200, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := filledPool(t, c.leases, false)
			counted := false
			p.alive = func(o string) bool { return o >= owner(c.dead) }
			p.ports = func() ([]string, error) { counted = true; return portNames(c.ports, c.others), nil }
			before, err := readLeases(p.file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = p.lease(owner(1 << 20))
			if full := errors.Is(err, unix.EXFULL); full != c.full || counted != c.counted {
				t.Errorf("got %v, counted: %t", err, counted)
			}
			if !c.full {
				return
			}
			wantLeases(t, p, before)
			want := "lease an address of 172.17.0.0/16: its bridge has 1023 ports, the most that Linux gives a bridge (BR_PORT_BITS)"
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if h := (interface{ Hint() string })(nil); !errors.As(err, &h) || h.Hint() == "" {
				t.Error("no hint")
			}
		})
	}
}

// TestPortsRecount: a number that crashes have made too large is set right.
func TestPortsRecount(t *testing.T) {
	p := filledPool(t, 5, false)
	err := withTable(p.file, func(table *leaseTable) error { return table.count(table.last, 5000) })
	if err != nil {
		t.Fatal(err)
	}
	p.ports = func() ([]string, error) { t.Error("counted"); return nil, nil }
	if _, err := p.lease("me"); err != nil {
		t.Fatal(err)
	}
	err = readTable(p.file, func(table *leaseTable) error {
		if table.leased != 6 {
			t.Errorf("line 0 says %d, want 6", table.leased)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
