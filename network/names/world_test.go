package names_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/names"
	"github.com/minictr/minictr/test/kernel"
)

// The tests start real servers. TestMain runs the test binary once more in network
// and mount namespaces of its own, where /etc/resolv.conf is a file of the tests.

const insideVariable = "MINICTR_TEST_INSIDE"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(insideVariable) != "":
		os.Exit(inside(m))
	case os.Geteuid() != 0:
		os.Exit(m.Run())
	}
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Env = append(os.Environ(), insideVariable+"=1")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	err := c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func inside(m *testing.M) int {
	dir, err := os.MkdirTemp("", "minictr-names")
	if err == nil {
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "resolv.conf")
		err = errors.Join(os.WriteFile(file, nil, 0o644), unix.Mount(file, "/etc/resolv.conf", "", unix.MS_BIND, ""))
	}
	self, own := os.Executable()
	if err := errors.Join(err, own); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := provide(filepath.Join(filepath.Dir(self), "minictr-dns")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// programs names the directory with the programs, as in a VM that has no Go.
const programs = "MINICTR_BIN"

// provide puts the server where Start looks for it: beside the test.
func provide(file string) error {
	if dir := os.Getenv(programs); dir != "" {
		text, err := os.ReadFile(filepath.Join(dir, filepath.Base(file)))
		return errors.Join(err, os.WriteFile(file, text, 0o755))
	}
	if _, err := exec.LookPath("go"); err != nil {
		return nil // newWorld says so
	}
	build := exec.Command("go", "build", "-o", file, "../../cmd/minictr-dns")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // the race detector of a test needs cgo, minictr does not
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build minictr-dns: %w\n%s", err, out)
	}
	return nil
}

// world is a host with one bridge for each network, in a namespace of its own.
type world struct {
	t        *testing.T
	runroot  string
	host     *kernel.Netns
	networks map[string]*bridge
	count    int
}

type bridge struct {
	name, link        string
	gateway, gateway6 netip.Prefix
	internal          bool
	last              netip.Addr
}

func newWorld(t *testing.T) *world {
	t.Helper()
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip")
	if os.Getenv(programs) == "" {
		kernel.RequireCommand(t, "go")
	}
	kernel.Snapshot(t)
	w := &world{t: t, runroot: t.TempDir(), host: kernel.InNetns(t), networks: map[string]*bridge{}}
	sh(t, "ip link set lo up")
	w.resolvConf("")
	t.Cleanup(w.end)
	return w
}

// end waits for the servers: they go when their directories are gone.
func (w *world) end() {
	check(w.t, os.RemoveAll(names.Root(w.runroot)))
	for name := range w.networks {
		w.waitServers(name, 0)
	}
}

func (w *world) resolvConf(text string) {
	w.t.Helper()
	check(w.t, os.WriteFile("/etc/resolv.conf", []byte(text), 0o644))
}

// network makes a bridge. The gateways are in CIDR notation; "" for none.
func (w *world) network(name, gateway, gateway6 string) *bridge {
	w.t.Helper()
	b := &bridge{name: name, link: "br-" + name}
	sh(w.t, fmt.Sprintf("ip link add %s up type bridge", b.link))
	if gateway != "" {
		b.gateway = netip.MustParsePrefix(gateway)
		b.last = b.gateway.Addr()
		sh(w.t, fmt.Sprintf("ip addr add %s dev %s", gateway, b.link))
	}
	if gateway6 != "" {
		b.gateway6 = netip.MustParsePrefix(gateway6)
		sh(w.t, fmt.Sprintf("ip addr add %s dev %s", gateway6, b.link)) // its duplicate detection is still under way
	}
	w.networks[name] = b
	return b
}

func (b *bridge) addresses() []netip.Addr { return []netip.Addr{b.gateway.Addr(), b.gateway6.Addr()} }

func (w *world) start(network string) error {
	b := w.networks[network]
	return names.Start(w.runroot, network, b.addresses(), b.link)
}

// A container is a namespace with a link to each of its networks.
type container struct {
	w       *world
	ns      *kernel.Netns
	records []names.AddName
}

// container makes a container on the networks, with a record on each.
func (w *world) container(name string, change func(*names.Record), networks ...string) *container {
	w.t.Helper()
	w.count++
	c := &container{w: w, ns: kernel.NewNetns(w.t)}
	id := fmt.Sprintf("%012x%052x", 0xabcdef000000+w.count, w.count)
	for i, network := range networks {
		r := c.plug(w.networks[network], w.count, i)
		r.Container, r.Name = id, name
		if change != nil {
			change(&r)
		}
		s := names.AddName{Runroot: w.runroot, Network: network, Record: r}
		check(w.t, s.Apply())
		check(w.t, s.Check())
		c.records = append(c.records, s)
		check(w.t, w.start(network))
	}
	return c
}

// plug lays a cable to the bridge.
func (c *container) plug(b *bridge, n, i int) names.Record {
	t := c.w.t
	t.Helper()
	host := fmt.Sprintf("v%d-%d", n, i)
	sh(t, fmt.Sprintf("ip link add %s up master %s type veth peer name eth%d", host, b.link, i))
	sh(t, fmt.Sprintf("ip link set eth%d netns %s", i, c.ns.Path()))
	r := names.Record{Gateway: b.gateway, Gateway6: b.gateway6, Internal: b.internal}
	c.ns.Do(t, func() {
		sh(t, fmt.Sprintf("ip link set lo up; ip link set eth%d up", i))
		if b.gateway.IsValid() {
			b.last = b.last.Next()
			r.Address = b.last
			sh(t, fmt.Sprintf("ip addr add %s/%d dev eth%d", r.Address, b.gateway.Bits(), i))
		}
		if b.gateway6.IsValid() {
			a := b.gateway6.Addr().As16()
			binary.BigEndian.PutUint16(a[14:], uint16(0x100*i+n+1))
			r.Address6 = netip.AddrFrom16(a)
			sh(t, fmt.Sprintf("ip addr add %s/%d dev eth%d nodad", r.Address6, b.gateway6.Bits(), i))
		}
		if i == 0 && b.gateway.IsValid() {
			sh(t, fmt.Sprintf("ip route add default via %s", b.gateway.Addr()))
		}
	})
	return r
}

func (c *container) remove() {
	c.w.t.Helper()
	for _, s := range c.records {
		check(c.w.t, s.Undo())
	}
}

// resolver is Go's own, asking the server from inside of the namespace.
func resolver(t *testing.T, ns *kernel.Netns, server netip.Addr) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, _ string) (c net.Conn, err error) {
		ns.Do(t, func() { c, err = net.Dial(network, netip.AddrPortFrom(server, names.Port).String()) })
		return c, err
	}}
}

// lookup returns the addresses of a name, sorted, or the error in short: "none" when
// the name does not exist or has no address.
func (c *container) lookup(name string) string {
	c.w.t.Helper()
	return lookup(c.w.t, c.ns, c.gateway(), "ip", name)
}

func (c *container) gateway() netip.Addr {
	r := c.records[0].Record
	if r.Gateway.IsValid() {
		return r.Gateway.Addr()
	}
	return r.Gateway6.Addr()
}

func lookup(t *testing.T, ns *kernel.Netns, server netip.Addr, network, name string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	list, err := resolver(t, ns, server).LookupNetIP(ctx, network, name+".")
	if e := (*net.DNSError)(nil); errors.As(err, &e) {
		if e.IsNotFound {
			return "none"
		}
		return e.Err
	}
	check(t, err)
	slices.SortFunc(list, netip.Addr.Compare)
	var words []string
	for _, a := range list {
		words = append(words, a.Unmap().String())
	}
	return strings.Join(words, " ")
}

// exchange sends one packet from the namespace and returns the answer.
func exchange(t *testing.T, ns *kernel.Netns, network string, server netip.Addr, packet []byte, wait time.Duration) ([]byte, error) {
	t.Helper()
	var conn net.Conn
	var err error
	ns.Do(t, func() { conn, err = net.DialTimeout(network, netip.AddrPortFrom(server, names.Port).String(), wait) })
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(wait)))
	if network == "tcp" {
		packet = append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	}
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	b := make([]byte, 1<<16)
	if network == "tcp" {
		if _, err := io.ReadFull(conn, b[:2]); err != nil {
			return nil, err
		}
		b = b[:binary.BigEndian.Uint16(b)]
		_, err := io.ReadFull(conn, b)
		return b, err
	}
	n, err := conn.Read(b)
	return b[:n], err
}

func question(t *testing.T, name string, kind dnsmessage.Type, class dnsmessage.Class) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 4711, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: class}},
	}
	packet, err := m.Pack()
	check(t, err)
	return packet
}

// servers are the processes that serve the network of the world's runroot.
func (w *world) servers(network string) (pids []int) {
	w.t.Helper()
	files, err := filepath.Glob("/proc/[1-9]*/cmdline")
	check(w.t, err)
	for _, file := range files {
		text, _ := os.ReadFile(file) // it may be gone
		args := strings.Split(string(text), "\x00")
		if len(args) > 4 && args[0] == "minictr-dns" && args[1] == "serve" && args[3] == w.runroot && args[4] == network {
			var pid int
			_, err := fmt.Sscanf(file, "/proc/%d/", &pid)
			check(w.t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

func (w *world) waitServers(network string, count int) []int {
	w.t.Helper()
	var pids []int
	kernel.Eventually(w.t, 10*time.Second, func() error {
		if pids = w.servers(network); len(pids) != count {
			return fmt.Errorf("%d servers of %s, want %d", len(pids), network, count)
		}
		return nil
	})
	return pids
}

// kill kills the server, and waits until the kernel has taken the lock off it.
func (w *world) kill(network string) {
	w.t.Helper()
	check(w.t, unix.Kill(w.waitServers(network, 1)[0], unix.SIGKILL))
	w.waitServers(network, 0)
	kernel.Eventually(w.t, 10*time.Second, func() error {
		alive, err := names.Alive(w.runroot, network)
		if alive {
			return errors.New("alive after SIGKILL")
		}
		return err
	})
}

func sh(t testing.TB, command string) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// An internet is a namespace with a name server of the test's.
type internet struct {
	t       *testing.T
	address netip.Addr

	mu    sync.Mutex
	asked map[string]int
	ids   []uint16
	ports []uint16
}

// internet gives the host a way to a name server at 192.0.2.N.
func (w *world) internet(n int) *internet {
	w.t.Helper()
	ns := kernel.NewNetns(w.t)
	host, address := fmt.Sprintf("192.0.2.%d", 4*n+1), fmt.Sprintf("192.0.2.%d", 4*n+2)
	sh(w.t, fmt.Sprintf("ip link add up%d up type veth peer name eth0; ip link set eth0 netns %s; ip addr add %s/30 dev up%d", n, ns.Path(), host, n))
	i := &internet{t: w.t, address: netip.MustParseAddr(address), asked: map[string]int{}}
	var udp net.PacketConn
	var tcp net.Listener
	ns.Do(w.t, func() {
		sh(w.t, fmt.Sprintf("ip addr add %s/30 dev eth0; ip link set eth0 up; ip link set lo up; ip route add default via %s", address, host))
		var err error
		udp, err = net.ListenPacket("udp", address+":53")
		check(w.t, err)
		tcp, err = net.Listen("tcp", address+":53")
		check(w.t, err)
	})
	w.t.Cleanup(func() { udp.Close(); tcp.Close() })
	go i.serveUDP(udp)
	go i.serveTCP(tcp)
	return i
}

func (i *internet) count(name string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[name]
}

func (i *internet) serveUDP(conn net.PacketConn) {
	b := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		for _, answer := range i.answers(b[:n], from.(*net.UDPAddr).AddrPort().Port(), false) {
			_, _ = conn.WriteTo(answer, from)
		}
	}
}

func (i *internet) serveTCP(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			length := make([]byte, 2)
			if _, err := io.ReadFull(conn, length); err != nil {
				return
			}
			b := make([]byte, binary.BigEndian.Uint16(length))
			if _, err := io.ReadFull(conn, b); err != nil {
				return
			}
			for _, answer := range i.answers(b, 0, true) {
				_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
			}
			_, _ = io.Copy(io.Discard, conn) // until the asker has enough
		}()
	}
}

// answers says how each name is answered. The first label says what happens.
func (i *internet) answers(packet []byte, port uint16, tcp bool) [][]byte {
	var m dnsmessage.Message
	if m.Unpack(packet) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	name := strings.TrimSuffix(q.Name.String(), ".")
	i.mu.Lock()
	i.asked[name]++
	if tcp {
		i.asked["tcp "+name]++
	}
	i.ids, i.ports = append(i.ids, m.ID), append(i.ports, port)
	i.mu.Unlock()
	answer := func(change func(*dnsmessage.Message)) []byte {
		a := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
		change(&a)
		b, err := a.Pack()
		check(i.t, err)
		return b
	}
	addresses := func(n int) func(a *dnsmessage.Message) {
		return func(a *dnsmessage.Message) {
			for k := range n {
				if q.Type == dnsmessage.TypeA {
					a.Answers = append(a.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 300},
						Body:   &dnsmessage.AResource{A: [4]byte{203, 0, 113, byte(k + 1)}},
					})
				}
			}
		}
	}
	word, _, _ := strings.Cut(name, ".")
	switch word {
	case "silent":
		return nil
	case "missing":
		return [][]byte{answer(func(a *dnsmessage.Message) { a.RCode = dnsmessage.RCodeNameError })}
	case "failing":
		return [][]byte{answer(func(a *dnsmessage.Message) { a.RCode = dnsmessage.RCodeServerFailure })}
	case "big":
		if !tcp {
			return [][]byte{answer(func(a *dnsmessage.Message) { a.Truncated = true })}
		}
		return [][]byte{answer(addresses(200))}
	case "rude": // more than the asker can take
		return [][]byte{answer(addresses(200))}
	case "forged": // three that must not count before the one that does
		return [][]byte{
			answer(func(a *dnsmessage.Message) { addresses(9)(a); a.ID++ }),
			answer(func(a *dnsmessage.Message) {
				addresses(8)(a)
				a.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName("other.example."), Type: q.Type, Class: q.Class}}
			}),
			answer(func(a *dnsmessage.Message) { addresses(7)(a); a.Response = false }),
			answer(addresses(1)),
		}
	}
	return [][]byte{answer(addresses(1))}
}
