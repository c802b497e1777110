package network

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"testing"
)

// hosts yields the addresses of the subnet that a container may have, beginning
// after last: not the network's own, not the broadcast address, not the
// gateway's.
func hosts(gateway netip.Prefix, last netip.Addr) iter.Seq[netip.Addr] {
	subnet := gateway.Masked()
	first, end := subnet.Addr().Next(), broadcast(subnet)
	begin := first
	if subnet.Contains(last) && last != end && last.Next() != end {
		begin = last.Next()
	}
	return func(yield func(netip.Addr) bool) {
		for a, wrapped := begin, false; ; {
			if a != gateway.Addr() && !yield(a) {
				return
			}
			if a = a.Next(); a == end {
				a, wrapped = first, true
			}
			if wrapped && a == begin {
				return
			}
		}
	}
}

// A model is what the allocator shall be: a list and a pointer.
type model struct {
	leases map[netip.Addr]string
	last   netip.Addr
	dead   map[string]bool
}

func (m *model) free(a netip.Addr) bool { o, held := m.leases[a]; return !held || m.dead[o] }

// next is the first that nobody has, or else the first that somebody dead has.
func (m *model) next(gateway netip.Prefix) (free netip.Addr) {
	for a := range hosts(gateway, m.last) {
		if _, held := m.leases[a]; !held {
			return a
		}
		if !free.IsValid() && m.free(a) {
			free = a
		}
	}
	return free
}

// walk does the same random things to the pool and to the model and wants the
// same of both.
func walk(t *testing.T, seed uint64, steps int) {
	random := rand.New(rand.NewPCG(seed, 0))
	p := testPool(t, fmt.Sprintf("10.0.0.%d/%d", 1+random.IntN(2), 28+random.IntN(3)))
	m := &model{leases: map[netip.Addr]string{}, dead: map[string]bool{}}
	p.alive = func(o string) bool { return !m.dead[o] }
	for i := range steps {
		me := owner(i)
		switch random.IntN(6) {
		case 0, 1: // the next free
			want := m.next(p.gateway)
			if want.IsValid() {
				m.last, m.leases[want] = want, me
			}
			if got, err := p.lease(me); got != want || (err == nil) != want.IsValid() {
				t.Fatalf("seed %d, step %d: leased %s, %v, want %s", seed, i, got, err, want)
			}
		case 2: // a certain one
			all := slices.Collect(hosts(p.gateway, netip.Addr{}))
			a := all[random.IntN(len(all))]
			ok := m.free(a)
			if ok {
				m.leases[a] = me
			}
			if err := p.leaseThis(me, a); (err == nil) != ok {
				t.Fatalf("seed %d, step %d: lease of %s: %v, want %t", seed, i, a, err, ok)
			}
		case 3: // one dies
			for _, o := range m.leases {
				m.dead[o] = true
				break
			}
		case 4: // one gives its back
			for a, o := range m.leases {
				delete(m.leases, a)
				if err := Release(p.config(a, o)); err != nil {
					t.Fatal(err)
				}
				break
			}
		case 5: // a crash garbles one of the first lines, or a lease
			garbleSome(t, p, m, random.IntN(20))
		}
		got, err := readLeases(p.file)
		if err != nil || !maps.Equal(got, m.leases) {
			t.Fatalf("seed %d, step %d: leases %v, %v, want %v", seed, i, got, err, m.leases)
		}
		checkCount(t, p.file)
	}
}

// garbleSome garbles line 0, 1 or that of a lease, or with another n does nothing.
func garbleSome(t *testing.T, p pool, m *model, n int) {
	t.Helper()
	if _, err := os.Stat(p.file); err != nil {
		return // nothing was ever leased
	}
	switch n {
	case 0:
		m.last = netip.Addr{}
		garble(t, p.file, 0)
	case 1:
		garble(t, p.file, 1)
	case 2:
		for a := range m.leases {
			delete(m.leases, a)
			err := readTable(p.file, func(table *leaseTable) error {
				s, err := table.find(a)
				if err == nil {
					garble(t, p.file, s.line)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}

func garble(t *testing.T, file string, line int) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("\x00\xff10.0"), int64(line)*leaseLineBytes); err != nil {
		t.Fatal(err)
	}
}

// checkCount: the number in line 0 is not less than there are.
func checkCount(t *testing.T, file string) {
	t.Helper()
	err := readTable(file, func(table *leaseTable) error {
		n, err := table.owners()
		if table.fd >= 0 && table.leased >= 0 && table.leased < n {
			t.Errorf("line 0 says that %d have leases, there are %d", table.leased, n)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestLeaseWalk(t *testing.T) {
	for seed := range uint64(20) {
		walk(t, seed, 200)
	}
}

func FuzzLease(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { walk(t, seed, 50) })
}
