package network

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func testPool(t testing.TB, gateway string) pool {
	t.Helper()
	return pool{
		file:    filepath.Join(t.TempDir(), leasesDir, "bridge"),
		gateway: netip.MustParsePrefix(gateway),
		alive:   everybody,
	}
}

func (p pool) config(a netip.Addr, owner string) *Config {
	return &Config{Endpoints: []Endpoint{{
		Lease:     Lease{File: p.file, Owner: owner},
		Interface: Interface{Address: netip.PrefixFrom(a, p.gateway.Bits())},
	}}}
}

func readLeases(file string) (map[netip.Addr]string, error) {
	leases := map[netip.Addr]string{}
	err := readTable(file, func(t *leaseTable) error {
		maps.Insert(leases, t.all())
		return nil
	})
	return leases, err
}

func TestHosts(t *testing.T) {
	for _, c := range []struct{ gateway, last, want string }{
		{"10.0.0.1/29", "", "2 3 4 5 6"},
		{"10.0.0.1/29", "10.0.0.3", "4 5 6 2 3"},
		{"10.0.0.1/29", "10.0.0.6", "2 3 4 5 6"},
		{"10.0.0.1/29", "10.0.0.7", "2 3 4 5 6"},
		{"10.0.0.1/29", "10.9.9.9", "2 3 4 5 6"},
		{"10.0.0.4/29", "10.0.0.0", "1 2 3 5 6"},
		{"10.0.0.6/29", "10.0.0.4", "5 1 2 3 4"},
		{"10.0.0.1/30", "", "2"},
		{"10.0.0.2/30", "10.0.0.1", "1"},
	} {
		last, _ := netip.ParseAddr(c.last)
		var got []string
		for a := range hosts(netip.MustParsePrefix(c.gateway), last) {
			got = append(got, strings.TrimPrefix(a.String(), "10.0.0."))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("hosts(%s, %s) = %s, want %s", c.gateway, c.last, text, c.want)
		}
	}
}

func TestLeaseFull(t *testing.T) {
	p := testPool(t, "10.0.0.1/29")
	for i := range 5 {
		if _, err := p.lease(owner(i)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := p.lease(owner(9))
	var full *SubnetFullError
	if !errors.As(err, &full) || full.Leased != 5 || !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Fatalf("got %v, want a SubnetFullError of 5", err)
	}
	if want := "lease an address of 10.0.0.0/29: all 5 addresses are in use"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	// The dead make room.
	p.alive = func(o string) bool { return o != owner(3) }
	if a, err := p.lease(owner(9)); err != nil || a.String() != "10.0.0.5" {
		t.Errorf("got %s, %v, want the address of the dead, 10.0.0.5", a, err)
	}
}

func TestLeaseThis(t *testing.T) {
	p := testPool(t, "10.0.0.1/24")
	a := netip.MustParseAddr("10.0.0.77")
	if err := p.leaseThis("one", a); err != nil {
		t.Fatal(err)
	}
	if err := p.leaseThis("one", a); err != nil {
		t.Errorf("the owner claims it again: %v", err)
	}
	err := p.leaseThis("two", a)
	var inUse *AddressInUseError
	if !errors.As(err, &inUse) || inUse.Owner != "one" || !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("got %v, want an AddressInUseError", err)
	}
	if err := Release(p.config(a, "two")); err != nil { // not its owner
		t.Error(err)
	}
	if err := p.leaseThis("two", a); !errors.As(err, &inUse) {
		t.Errorf("after a stranger's release: got %v, want an AddressInUseError", err)
	}
	for range 2 {
		if err := Release(p.config(a, "one")); err != nil {
			t.Error(err)
		}
	}
	if err := p.leaseThis("two", a); err != nil {
		t.Error(err)
	}
	if err := ReleaseOwner(filepath.Dir(filepath.Dir(p.file)), "two"); err != nil {
		t.Error(err)
	}
	if leases, err := readLeases(p.file); err != nil || len(leases) != 0 {
		t.Errorf("left: %v, %v", leases, err)
	}
}

// TestDryRun looks without leaving a trace.
func TestDryRun(t *testing.T) {
	p := testPool(t, "10.0.0.1/24")
	p.dry = true
	for range 2 {
		if a, err := p.lease("me"); err != nil || a.String() != "10.0.0.2" {
			t.Errorf("got %s, %v, want 10.0.0.2", a, err)
		}
	}
	if _, err := os.Stat(filepath.Dir(p.file)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a dry run made the directory: %v", err)
	}
}

// leaserVariable makes the test binary a process that leases one address.
const leaserVariable = "MINICTR_TEST_LEASE_FILE"

func TestMain(m *testing.M) {
	if file := os.Getenv(leaserVariable); file != "" {
		p := pool{file: file, gateway: netip.MustParsePrefix("10.0.0.1/24"), alive: everybody}
		a, err := p.lease(fmt.Sprint(os.Getpid()))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(a)
		os.Exit(0)
	}
	if file := os.Getenv(lesseeVariable); file != "" {
		l := &lessee{pool: lesseePool(file), out: os.Stdout}
		if err := l.run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestLeaseProcesses lets 100 processes lease at once.
func TestLeaseProcesses(t *testing.T) {
	const count = 100
	p := testPool(t, "10.0.0.1/24")
	type result struct {
		out []byte
		err error
	}
	results := make(chan result)
	for range count {
		go func() {
			command := exec.Command(os.Args[0])
			command.Env = append(os.Environ(), leaserVariable+"="+p.file)
			out, err := command.CombinedOutput()
			results <- result{out, err}
		}()
	}
	seen := map[string]bool{}
	for range count {
		r := <-results
		if r.err != nil {
			t.Errorf("%v: %s", r.err, r.out)
		}
		seen[string(r.out)] = true
	}
	leases, err := readLeases(p.file)
	if len(seen) != count || len(leases) != count || err != nil {
		t.Errorf("%d processes have %d different addresses and %d leases, %v", count, len(seen), len(leases), err)
	}
}

// TestTakeOverOnce lets many find the same dead lease, in a subnet that has room
// for one: one of them gets it.
func TestTakeOverOnce(t *testing.T) {
	p := testPool(t, "10.0.0.1/30")
	p.alive = func(o string) bool { return o != "dead" }
	if _, err := p.lease("dead"); err != nil {
		t.Fatal(err)
	}
	const count = 50
	errs := make(chan error)
	for i := range count {
		go func() { _, err := p.lease(owner(i)); errs <- err }()
	}
	won := 0
	for range count {
		if err := <-errs; err == nil {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d took the address of the dead, want 1", won)
	}
}

// FuzzLeaseTable: whatever the file holds, what was put is found again.
func FuzzLeaseTable(f *testing.F) {
	f.Add([]byte("last            10.0.0.2\n"))
	f.Add(fmt.Appendf(fmt.Appendf(nil, leaseLineForm, lastWord, "10.0.0.2"), leaseLineForm, "10.0.0.2", "somebody"))
	f.Add(fmt.Appendf(fmt.Appendf(nil, leaseLineForm, "", ""), leaseLineForm, fromWord, "10.0.0.0 fd00::"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(t.TempDir(), "bridge")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		before, err := readLeases(file)
		if err != nil {
			t.Fatal(err)
		}
		a := netip.MustParseAddr("10.0.0.77")
		from := [2]netip.Addr{netip.MustParseAddr("10.0.0.0")}
		err = withTable(file, func(table *leaseTable) error {
			if err := table.arrange(from, false); err != nil {
				return err
			}
			s, err := table.find(a)
			if err != nil {
				return err
			}
			return table.put(s, "me")
		})
		if err != nil {
			t.Fatal(err)
		}
		before[a] = "me"
		if after, err := readLeases(file); err != nil || !maps.Equal(after, before) {
			t.Errorf("leases %v, %v, want %v", after, err, before)
		}
		p := pool{
			file: file, gateway: netip.MustParsePrefix("10.0.0.1/24"), gateway6: netip.MustParsePrefix("fd00::1/64"), alive: everybody,
		}
		got, err := p.leaseBoth("somebody else", [2]netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range got {
			if owner, held := before[a]; held {
				t.Errorf("got %s, which %q has", a, owner)
			}
			before[a] = "somebody else"
		}
		if after, err := readLeases(file); err != nil || !maps.Equal(after, before) {
			t.Errorf("leases %v, %v, want %v", after, err, before)
		}
	})
}
