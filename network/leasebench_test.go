package network

import (
	"fmt"
	"net/netip"
	"testing"
)

// BenchmarkLease takes an address and gives it back, with so many leases there.
func BenchmarkLease(b *testing.B) {
	for _, families := range []string{"v4", "both"} {
		for _, there := range []int{0, 999, 60_000} {
			b.Run(fmt.Sprintf("%s/%d", families, there), func(b *testing.B) {
				p := filledPool(b, there, families == "both")
				me := Lease{File: p.file, Owner: owner(1 << 20)}
				for b.Loop() {
					got, err := p.leaseBoth(me.Owner, [2]netip.Addr{})
					if err != nil {
						b.Fatal(err)
					}
					if err := me.release(prefixes(got)...); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkLeasePast is the lease that has to pass over a thousand others.
func BenchmarkLeasePast(b *testing.B) {
	p := filledPool(b, 1000, false)
	me := Lease{File: p.file, Owner: owner(1 << 20)}
	for b.Loop() {
		b.StopTimer()
		err := withTable(p.file, func(t *leaseTable) error { return t.count(netip.Addr{}, t.leased) })
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		got, err := p.leaseBoth(me.Owner, [2]netip.Addr{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := me.release(prefixes(got)...); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func filledPool(tb testing.TB, leases int, both bool) pool {
	p := testPool(tb, "172.17.0.1/16")
	if both {
		p.gateway6 = netip.MustParsePrefix("fd4d:12::1/64")
	}
	for i := range leases {
		if _, err := p.leaseBoth(owner(i), [2]netip.Addr{}); err != nil {
			tb.Fatal(err)
		}
	}
	return p
}

func prefixes(list [2]netip.Addr) (p []netip.Prefix) {
	for _, a := range list {
		if a.IsValid() {
			p = append(p, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return p
}
