package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// matrix says what a client finds: who asks and how the port is published in the
// rows, the address that is asked in the columns. It is the same for TCP and UDP.
//
//	own   the server answers, and has seen the client's own address
//	gw    the server answers, and has seen the gateway of its network
//	pair  the server answers, and has seen the host's address on the pair of links
//	      that leads from ::1 to containers
//	-     nobody answers
//
// The container listens to ports 80 to 83, of which 80 is published as 9080 on all
// addresses, 81 as 9081 on 127.0.0.1 and ::1, 82 as 9082 on the host's addresses
// in the LAN, and 83 is not. The columns of the container's addresses are asked
// for its own port, the others for that of the host. To a client on the container's
// network the way back would be a short cut past the host, so there, and only
// there, is the client's address hidden.
const matrix = `
	                container  container6  host  host6  gateway  gateway6  127.0.0.1  ::1
LAN       all       -          -           own   own    own      own       -          -
LAN       loopback  -          -           -     -      -        -         -          -
LAN       address   -          -           own   own    -        -         -          -
LAN       none      -          -           -     -      -        -         -          -
internet  all       -          -           own   own    -        -         -          -
internet  loopback  -          -           -     -      -        -         -          -
internet  address   -          -           own   own    -        -         -          -
internet  none      -          -           -     -      -        -         -          -
host      all       gw         gw          own   own    gw       gw        gw         pair
host      loopback  gw         gw          -     -      -        -         gw         pair
host      address   gw         gw          own   own    -        -         -          -
host      none      gw         gw          -     -      -        -         -          -
self      all       own        own         gw    gw     gw       gw        -          -
self      loopback  own        own         -     -      -        -         -          -
self      address   own        own         gw    gw     -        -         -          -
self      none      own        own         -     -      -        -         -          -
sibling   all       own        own         gw    gw     gw       gw        -          -
sibling   loopback  own        own         -     -      -        -         -          -
sibling   address   own        own         gw    gw     -        -         -          -
sibling   none      own        own         -     -      -        -         -          -
other     all       -          -           own   own    own      own       -          -
other     loopback  -          -           -     -      -        -         -          -
other     address   -          -           own   own    -        -         -          -
other     none      -          -           -     -      -        -         -          -
`

// publications are the second words of the rows.
var publications = map[string]struct {
	container, host uint16
	flags           []string // without the protocol
}{
	"all":      {80, 9080, []string{"9080:80"}},
	"loopback": {81, 9081, []string{"127.0.0.1:9081:81", "[::1]:9081:81"}},
	"address":  {82, 9082, []string{hostAddress + ":9082:82", "[" + hostAddress6 + "]:9082:82"}},
	"none":     {83, 9083, nil},
}

var protocols = []string{"tcp", "udp"}

// publishFlags are what publishes all of them.
func publishFlags() (flags []string) {
	for _, name := range []string{"all", "loopback", "address"} {
		for _, p := range publications[name].flags {
			for _, protocol := range protocols {
				flags = append(flags, "-p", p+"/"+protocol)
			}
		}
	}
	return flags
}

// A cast is who takes part in the matrix.
type cast struct {
	network   string // the server's
	server    *container
	listeners []*server
	clients   map[string]place
	own       map[string][]string // the addresses of the clients
	said      string              // what run said to people
}

// newCast starts the containers on two dual-stack networks.
func (l *lab) newCast() *cast {
	l.t.Helper()
	l.must("network", "create", "--subnet", "10.88.1.0/24", "--ipv6", "green") // not where a Docker of the test has containers
	l.must("network", "create", "--subnet", "10.88.2.0/24", "--ipv6", "blue")
	l.must("run", "--rm", "--network", "none", image, "true") // the image is there now, and nobody says so later
	_, said, err := l.try(sleeper("server", append([]string{"--network", "green"}, publishFlags()...)...)...)
	if err != nil {
		l.t.Fatal(err)
	}
	box := l.inspect("server")
	sibling, other := l.run("sibling", "--network", "green"), l.run("other", "--network", "blue")
	var listeners []*server
	for _, p := range publications {
		listeners = append(listeners, box.serve(l.t, fmt.Sprintf("[::]:%d", p.container)))
	}
	return &cast{
		network: "green", server: box, listeners: listeners, said: said,
		clients: map[string]place{
			"LAN": l.lan, "internet": l.internet, "host": l.host,
			"self": box.place, "sibling": sibling.place, "other": other.place,
		},
		own: map[string][]string{
			"LAN": {lanAddress, lanAddress6}, "internet": {internetAddress, internetAddress6}, "host": {hostAddress, hostAddress6},
			"self": box.addresses("green"), "sibling": sibling.addresses("green"), "other": other.addresses("blue"),
		},
	}
}

// addresses are those on a network, IPv4 first; "" where there is none.
func (c *container) addresses(network string) []string {
	e := c.on[network]
	return []string{e.IPAddress, e.GlobalIPv6Address}
}

// A cell is one of the matrix.
type cell struct{ client, publication, column, want string }

// cells reads a matrix.
func cells(text string) (list []cell) {
	rows := strings.Split(strings.TrimSpace(text), "\n")
	columns := strings.Fields(rows[0])
	for _, row := range rows[1:] {
		words := strings.Fields(row)
		for i, column := range columns {
			list = append(list, cell{words[0], words[1], column, words[2+i]})
		}
	}
	return list
}

// address is where the client of the cell connects to.
func (c *cast) address(of cell) (address netip.Addr, port uint16) {
	e := c.server.on[c.network]
	p := publications[of.publication]
	text, port := of.column, p.host
	switch of.column {
	case "container":
		text, port = e.IPAddress, p.container
	case "container6":
		text, port = e.GlobalIPv6Address, p.container
	case "host":
		text = hostAddress
	case "host6":
		text = hostAddress6
	case "gateway":
		text = e.Gateway
	case "gateway6":
		text = e.IPv6Gateway
	}
	return netip.MustParseAddr(text), port
}

// answer is what the client is to get.
func (c *cast) answer(of cell, to netip.Addr) string {
	e := c.server.on[c.network]
	answers := map[string][]string{"own": c.own[of.client], "gw": {e.Gateway, e.IPv6Gateway}, "pair": {"", "fd6d:696e:6963:7472::1"}, "-": {"", ""}}[of.want]
	return answers[family(to)]
}

// family is the place of an address in lists of both families.
func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// check asks all the questions of the matrix.
func (c *cast) check(t *testing.T, text string) {
	t.Helper()
	expected, names := map[question]string{}, map[question]string{}
	for _, cell := range cells(text) {
		address, port := c.address(cell)
		for _, protocol := range protocols {
			q := question{c.clients[cell.client], protocol, netip.AddrPortFrom(address, port)}
			expected[q] = c.answer(cell, address)
			names[q] = fmt.Sprintf("%s: published %s, asked at %s", q, cell.publication, cell.column)
		}
	}
	var lines []string
	for q, got := range askAll(expected) {
		lines = append(lines, fmt.Sprintf("%s: answer %q, want %q", names[q], got, expected[q]))
	}
	slices.Sort(lines)
	if len(lines) > 0 {
		t.Errorf("%d of %d cells are wrong:\n%s", len(lines), len(expected), strings.Join(lines, "\n"))
	}
}

func TestReachability(t *testing.T) {
	l := newLab(t, require(t))
	c := l.newCast()
	c.check(t, matrix)
	t.Run("forged", func(t *testing.T) { c.checkForged(t, l) })
	t.Run("after flush", func(t *testing.T) {
		l.host.must(t, "", "nft", "flush", "ruleset")
		l.must("ps")
		c.check(t, matrix)
	})
}
