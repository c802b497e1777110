package diagram

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/minictr/minictr/cmd/terminal"
)

// shown is a name as it may be printed: without characters that steer a terminal,
// and without those that take no room, by which two names could look the same.
func shown(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, terminal.Visible(strings.ToValidUTF8(s, "?")))
}

// span is what the first and the last of several have, or the one thing.
func span(first, last string) string {
	if last == "" || last == first {
		return first
	}
	return first + " … " + last
}

// faceName is an interface's name, or two of several.
func faceName(i *Interface) string { return span(shown(i.Name), shown(i.LastName)) }

// addressWords are the addresses worth showing, one word each. A link-local one,
// which every interface has, is shown if there is no other, and not of a port.
func addressWords(i *Interface) (words []string) {
	for n, a := range i.Addresses {
		if a.Addr().IsLinkLocalUnicast() && a.Addr().Is6() && (len(i.Addresses) > 1 || i.Master != "") || i.Kind == "lo" && a.Addr().IsLoopback() {
			continue
		}
		last := ""
		if n < len(i.LastAddresses) {
			last = i.LastAddresses[n].String()
		}
		if last == a.String() || last == "" {
			words = append(words, a.String())
			continue
		}
		words = append(words, a.Addr().String()+" … "+last)
	}
	return words
}

// stateWords says what is wrong with an interface; nothing if packets pass it.
func stateWords(i *Interface) string {
	switch i.State {
	case Down:
		return "down"
	case NoCarrier:
		return "no carrier"
	}
	if i.PortState != "" && i.PortState != "forwarding" {
		return shown(i.PortState)
	}
	return ""
}

// policyWords warn of rules that the picture does not follow; nothing without one.
func policyWords(r *Room) string {
	switch r.PolicyRules {
	case 0:
		return ""
	case 1:
		return "one policy rule more: ip rule"
	}
	return fmt.Sprintf("%d policy rules more: ip rule", r.PolicyRules)
}

// kindOfFace is an interface's kind, where its name alone does not tell it, and what
// it lies on in the same room.
func (l *layout) kindOfFace(r *Room, i *Interface) string {
	words := shown(i.Kind)
	switch i.Kind {
	case "", "veth", "lo":
		return ""
	case "vlan":
		words = fmt.Sprintf("vlan %d", i.VLAN)
	}
	at := plug{r.ID, i.Index}
	for _, c := range l.ends[at] {
		if c.within() && c.B.plug() == at {
			words += " on " + shown(c.A.Interface)
		}
	}
	return words
}

// cut is a text of at most so many columns.
func cut(s string, columns int) string {
	if width(s) <= columns {
		return s
	}
	head, _ := splitAt(s, columns-1)
	return strings.TrimRight(head, " ") + "…"
}

func routeWords(r Route) string {
	var words []string
	if r.Type != "unicast" {
		words = append(words, r.Type)
	}
	to := "default"
	if r.To.Bits() != 0 {
		to = r.To.String()
		if r.To.IsSingleIP() {
			to = r.To.Addr().String()
		}
	}
	words = append(words, to)
	if r.Via.IsValid() {
		words = append(words, "via "+r.Via.String())
	} else if r.Interface != "" {
		words = append(words, "dev "+shown(r.Interface))
	}
	return strings.Join(words, " ")
}

// routeWords says by which interface it leads, too, where there are several.
func (r *Room) routeWords(route Route) string {
	text, links := routeWords(route), 0
	for i := range r.Interfaces {
		if r.Interfaces[i].Kind != "lo" {
			links++
		}
	}
	if links > 1 && route.Via.IsValid() && route.Interface != "" {
		text += " dev " + shown(route.Interface)
	}
	return text
}

// routesWorth lists the routes that the addresses do not tell already, IPv4 first.
func routesWorth(r *Room) []Route {
	var list []Route
	for _, route := range r.Routes {
		if !route.Connected && !route.To.Addr().IsMulticast() && !route.To.Addr().IsLinkLocalUnicast() {
			list = append(list, route)
		}
	}
	slices.SortStableFunc(list, func(a, b Route) int {
		return a.To.Addr().BitLen()*1000 + a.To.Bits() - b.To.Addr().BitLen()*1000 - b.To.Bits()
	})
	return list
}

const mostPrefixes = 3

func prefixes(list []netip.Prefix) string {
	var words []string
	for _, p := range list {
		if p.IsSingleIP() {
			words = append(words, p.Addr().String())
			continue
		}
		words = append(words, p.String())
	}
	if n := len(words); n > mostPrefixes {
		return fmt.Sprintf("%s … %s (%d)", words[0], words[n-1], n)
	}
	return strings.Join(words, ", ")
}

// natText says whose packets get which address.
func natText(n NAT) string {
	words := []string{n.Kind}
	if len(n.Sources) > 0 {
		words = append(words, prefixes(n.Sources))
	}
	for _, out := range n.Out {
		words = append(words, "by "+shown(out))
	}
	if n.To.IsValid() {
		words = append(words, "as "+n.To.String())
	}
	return strings.Join(words, " ")
}

// ports is "8080", "8000-8010", or the first and last of several.
func (x *Publish) ports() string {
	switch {
	case x.First == 0:
		return "any port"
	case x.First == x.Last:
		return fmt.Sprint(x.First)
	case x.Count > 1 && int(x.Last-x.First)+1 != x.Count:
		return fmt.Sprintf("%d … %d", x.First, x.Last)
	}
	return fmt.Sprintf("%d-%d", x.First, x.Last)
}

// from is what is published: "8080/tcp", "10.0.0.1:53/udp".
func (x *Publish) from() string {
	text := x.ports()
	if len(x.Address) > 0 {
		text = prefixes(x.Address) + ":" + text
	}
	if x.Protocol != "" {
		text += "/" + x.Protocol
	}
	return text
}

// target is where it leads: "web:80". The room's name stands for its address.
func (l *layout) target(x Publish) string {
	host := ""
	switch {
	case l.Room(x.ToRoom) != nil:
		host = shown(l.Room(x.ToRoom).Name)
	case x.To.Is6():
		host = "[" + x.To.String() + "]"
	case x.To.IsValid():
		host = x.To.String()
	}
	if x.ToPort == 0 {
		return host
	}
	return fmt.Sprintf("%s:%d", host, x.ToPort)
}
