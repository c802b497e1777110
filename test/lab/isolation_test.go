package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// apart says who reaches whom without anything published: who asks in the rows,
// who is asked, at its own address and port 80, in the columns.
//
//	own   yes, and the client's address is seen
//	host  yes, and the client is seen as the host
//	gw    yes, and the host is seen by its address on that network
//	-     no
//
// plain and plain2 are on the network bridge, blue on one that was made, inner on
// one that is internal, both on the last two. only4 and only6 are on networks of
// one family. "host" is a service of the host on all its addresses, asked at that
// in the LAN. Each pair is tried with both families where both sides have them.
const apart = `
          plain  plain2  blue  inner  both@blue  both@inner  only6  host  LAN   internet
plain     own    own     -     -      -          -           -      own   host  host
blue      -      -       own   -      own        -           -      own   host  host
inner     -      -       -     own    -          own         -      -     -     -
both      -      -       own   own    own        own         -      own   host  host
only6     -      -       -     -      -          -           own    own   host  host
LAN       -      -       -     -      -          -           -      own   own   own
internet  -      -       -     -      -          -           -      own   own   own
host      gw     gw      gw    gw     gw         gw          gw     own   own   own
`

func TestIsolation(t *testing.T) {
	l := newLab(t, require(t))
	l.must("network", "create", "--ipv6", "blue")
	l.must("network", "create", "--ipv6", "--internal", "inner")
	l.must("network", "create", "--ipv6", "--ipv4=false", "only6")
	containers := map[string]*container{
		"plain": l.run("plain"), "plain2": l.run("plain2"), "blue": l.run("blue", "--network", "blue"),
		"inner": l.run("inner", "--network", "inner"), "both": l.run("both", "--network", "inner", "--network", "blue"),
		"only6": l.run("only6", "--network", "only6"),
	}
	networks := map[string]string{"plain": "bridge", "plain2": "bridge", "both@blue": "blue", "both@inner": "inner"}
	outside := map[string]struct {
		place
		addresses []string
	}{
		"LAN": {l.lan, []string{lanAddress, lanAddress6}}, "internet": {l.internet, []string{internetAddress, internetAddress6}},
		"host": {l.host, []string{hostAddress, hostAddress6}},
	}
	for _, c := range containers {
		c.serve(t, "[::]:80")
	}
	for _, o := range outside {
		for _, address := range o.addresses { // the answers of UDP come from the one that was asked
			o.serve(t, addrPort(address, 80).String())
		}
	}
	expected, names := map[question]string{}, map[question]string{}
	for _, cell := range pairs(apart) {
		target, at, _ := strings.Cut(cell.column, "@")
		var to, own, gateways []string
		from := outside[cell.client].place
		if c := containers[target]; c != nil {
			at = first(at, networks[target], target)
			to, gateways = c.addresses(at), l.gateways(at)
		} else {
			to = outside[target].addresses
		}
		if c := containers[cell.client]; c != nil {
			from = c.place
			own = c.addresses(c.towards(at, first(networks[cell.client], cell.client)))
		} else {
			own = outside[cell.client].addresses
		}
		answers := map[string][]string{"own": own, "gw": gateways, "host": {hostAddress, hostAddress6}, "-": {"", ""}}[cell.want]
		for i, address := range to {
			if address == "" || own[i] == "" && cell.want != "-" {
				continue // a family that one of them does not have
			}
			want := answers[i]
			if from == l.host && target == "host" || c(containers, cell.client) == c(containers, target) && c(containers, target) != nil {
				want = address // to itself
			}
			for _, protocol := range protocols {
				q := question{from, protocol, netip.AddrPortFrom(netip.MustParseAddr(address), 80)}
				expected[q] = want
				names[q] = fmt.Sprintf("%s: %s", q, cell.column)
			}
		}
	}
	var lines []string
	for q, got := range askAll(expected) {
		lines = append(lines, fmt.Sprintf("%s: answer %q, want %q", names[q], got, expected[q]))
	}
	slices.Sort(lines)
	if len(lines) > 0 {
		t.Errorf("%d of %d are wrong:\n%s", len(lines), len(expected), strings.Join(lines, "\n"))
	}
}

func c(all map[string]*container, name string) *container {
	name, _, _ = strings.Cut(name, "@")
	return all[name]
}

// towards is the network by which the container reaches another.
func (c *container) towards(network, otherwise string) string {
	if _, ok := c.on[network]; ok {
		return network
	}
	if _, ok := c.on[otherwise]; ok {
		return otherwise
	}
	return "blue" // the way out of both
}

// pairs reads a table with one word before the cells.
func pairs(text string) (list []cell) {
	rows := strings.Split(strings.TrimSpace(text), "\n")
	for _, row := range rows[1:] {
		words := strings.Fields(row)
		for i, column := range strings.Fields(rows[0]) {
			list = append(list, cell{client: words[0], column: column, want: words[1+i]})
		}
	}
	return list
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// gateways are the addresses of the host on a network, IPv4 first; "" where there
// is none.
func (l *lab) gateways(network string) []string {
	l.t.Helper()
	list := []string{"", ""}
	for text := range strings.FieldsSeq(l.must("network", "inspect", "-f", "{{range .IPAM.Config}}{{.Gateway}} {{end}}", network)) {
		list[family(netip.MustParseAddr(text))] = text
	}
	return list
}
