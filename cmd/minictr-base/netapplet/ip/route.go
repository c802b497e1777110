package ip

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

var (
	routeTables = table{unix.RT_TABLE_UNSPEC: "unspec", unix.RT_TABLE_DEFAULT: "default", unix.RT_TABLE_MAIN: "main", unix.RT_TABLE_LOCAL: "local"}
	routeTypes  = table{
		unix.RTN_UNSPEC: "none", unix.RTN_UNICAST: "unicast", unix.RTN_LOCAL: "local", unix.RTN_BROADCAST: "broadcast", unix.RTN_ANYCAST: "anycast",
		unix.RTN_MULTICAST: "multicast", unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable", unix.RTN_PROHIBIT: "prohibit",
		unix.RTN_THROW: "throw", unix.RTN_NAT: "nat",
	}
	protocols = table{
		unix.RTPROT_UNSPEC: "unspec", unix.RTPROT_REDIRECT: "redirect", unix.RTPROT_KERNEL: "kernel", unix.RTPROT_BOOT: "boot", unix.RTPROT_STATIC: "static",
		unix.RTPROT_GATED: "gated", unix.RTPROT_RA: "ra", unix.RTPROT_ZEBRA: "zebra", unix.RTPROT_BIRD: "bird", unix.RTPROT_DHCP: "dhcp",
		unix.RTPROT_BABEL: "babel", unix.RTPROT_BGP: "bgp", unix.RTPROT_ISIS: "isis", unix.RTPROT_OSPF: "ospf", unix.RTPROT_RIP: "rip",
	}
	metricNames = table{
		unix.RTAX_MTU: "mtu", unix.RTAX_WINDOW: "window", unix.RTAX_RTT: "rtt", unix.RTAX_RTTVAR: "rttvar", unix.RTAX_SSTHRESH: "ssthresh",
		unix.RTAX_CWND: "cwnd", unix.RTAX_ADVMSS: "advmss", unix.RTAX_REORDERING: "reordering", unix.RTAX_HOPLIMIT: "hoplimit",
		unix.RTAX_INITCWND: "initcwnd", unix.RTAX_RTO_MIN: "rto_min", unix.RTAX_INITRWND: "initrwnd", unix.RTAX_QUICKACK: "quickack",
	}
	preferences = []string{"medium", "high", "", "low"}
)

// A routeView is a route as -j prints it.
type routeView struct {
	Type      string              `json:"type,omitempty"`
	Dst       string              `json:"dst"`
	From      string              `json:"from,omitempty"`
	NexthopID uint32              `json:"nhid,omitempty"`
	Gateway   string              `json:"gateway,omitempty"`
	Via       *viaView            `json:"via,omitempty"`
	Dev       string              `json:"dev,omitempty"`
	Table     string              `json:"table,omitempty"`
	Protocol  string              `json:"protocol,omitempty"`
	Scope     string              `json:"scope,omitempty"`
	PrefSrc   string              `json:"prefsrc,omitempty"`
	Metric    *uint32             `json:"metric,omitempty"`
	Flags     []string            `json:"flags"`
	Mark      uint32              `json:"mark,omitempty"`
	UID       *uint32             `json:"uid,omitempty"`
	Cache     *[]string           `json:"cache,omitempty"`
	Expires   int                 `json:"expires,omitempty"`
	Metrics   []map[string]uint32 `json:"metrics,omitempty"`
	In        string              `json:"iif,omitempty"`
	Nexthops  []hopView           `json:"nexthops,omitempty"`
	Pref      string              `json:"pref,omitempty"`
}

type viaView struct {
	Family string `json:"family"`
	Host   string `json:"host"`
}

type hopView struct {
	Via     *viaView `json:"via,omitempty"`
	Gateway string   `json:"gateway,omitempty"`
	Dev     string   `json:"dev"`
	Weight  int      `json:"weight"`
	Flags   []string `json:"flags"`
}

// viewRoute leaves out what the filter has fixed, as ip does.
func (c *command) viewRoute(r *rtnl.Route, f *routeFilter) routeView {
	v := routeView{Dst: destination(r.Dst, r.DstLen, r.Family), NexthopID: r.NexthopID, Mark: r.Mark, Flags: hopFlags(r.Flags)}
	if r.Type != unix.RTN_UNICAST || c.details {
		v.Type = routeTypes.name(uint32(r.Type))
	}
	if r.Src.IsValid() || r.SrcLen != 0 {
		v.From = destination(r.Src, r.SrcLen, r.Family)
	}
	if r.Gateway.IsValid() && f.via == "" {
		v.Gateway, v.Via = gateway(r.Gateway, r.ViaFamily)
	}
	if r.Out != 0 && f.device == "" {
		v.Dev = c.links.name(r.Out)
	}
	if (r.Table != unix.RT_TABLE_MAIN || c.details) && f.table == "all" {
		v.Table = routeTables.name(r.Table)
	}
	cloned := r.Flags&unix.RTM_F_CLONED != 0
	if !cloned && (r.Protocol != unix.RTPROT_BOOT || c.details) && f.protocol == "" {
		v.Protocol = protocols.name(uint32(r.Protocol))
	}
	if !cloned && (r.Scope != unix.RT_SCOPE_UNIVERSE || c.details) && f.scope == "" {
		v.Scope = scopes.name(uint32(r.Scope))
	}
	if f.src == "" {
		v.PrefSrc = maybe(r.PrefSrc)
	}
	if r.HasPriority {
		v.Metric = &r.Priority
	}
	if r.HasUID {
		v.UID = &r.UID
	}
	if r.HasPref {
		v.Pref = pick(preferences, r.Pref&3)
	}
	if r.In != 0 {
		v.In = c.links.name(r.In)
	}
	c.viewCacheAndHops(&v, r)
	return v
}

func (c *command) viewCacheAndHops(v *routeView, r *rtnl.Route) {
	if r.Flags&unix.RTM_F_CLONED != 0 && r.Family == unix.AF_INET {
		v.Cache = new(cacheFlags(r.Flags))
	}
	const ticksPerSecond = 100 // USER_HZ, of every Linux
	if r.HasCache && r.Expires != 0 {
		v.Expires = int(r.Expires) / ticksPerSecond
	}
	for _, m := range r.Metrics {
		v.Metrics = append(v.Metrics, map[string]uint32{metricNames.name(uint32(m.Kind)): m.Value})
	}
	for _, h := range r.Nexthops {
		hop := hopView{Dev: c.links.name(h.Out), Weight: h.Weight, Flags: hopFlags(uint32(h.Flags))}
		if h.Gateway.IsValid() {
			hop.Gateway, hop.Via = gateway(h.Gateway, h.Via)
		}
		v.Nexthops = append(v.Nexthops, hop)
	}
}

func gateway(a netip.Addr, via bool) (string, *viaView) {
	if via {
		return "", &viaView{families.name(uint32(familyOf(a))), a.String()}
	}
	return a.String(), nil
}

// destination is "default", an address, or a prefix.
func destination(a netip.Addr, length, family uint8) string {
	full := map[uint8]uint8{unix.AF_INET: 32, unix.AF_INET6: 128}[family]
	switch {
	case !a.IsValid() && length == 0:
		return "default"
	case !a.IsValid():
		return "0/" + strconv.Itoa(int(length))
	case length == full:
		return a.String()
	}
	return fmt.Sprintf("%s/%d", a, length)
}

func hopFlags(flags uint32) []string {
	list := []string{}
	for _, f := range []struct {
		bit  uint32
		name string
	}{
		{unix.RTNH_F_DEAD, "dead"},
		{unix.RTNH_F_ONLINK, "onlink"},
		{unix.RTNH_F_PERVASIVE, "pervasive"},
		{unix.RTNH_F_OFFLOAD, "offload"},
		{unix.RTNH_F_TRAP, "trap"},
		{unix.RTM_F_NOTIFY, "notify"},
		{unix.RTNH_F_LINKDOWN, "linkdown"},
		{unix.RTNH_F_UNRESOLVED, "unresolved"},
		{unix.RTM_F_OFFLOAD, "rt_offload"},
		{unix.RTM_F_TRAP, "rt_trap"},
	} {
		if flags&f.bit != 0 {
			list = append(list, f.name)
		}
	}
	return list
}

// cacheFlags are RTCF_* of linux/in_route.h.
func cacheFlags(flags uint32) []string {
	list := []string{}
	for _, f := range []struct {
		bit  uint32
		name string
	}{{0x80000000, "local"}, {0x40000000, "reject"}, {0x20000000, "mc"}, {0x10000000, "brd"}, {0x08000000, "dst-nat"}, {0x04000000, "src-direct"}, {0x00040000, "redirected"}} {
		if flags&f.bit != 0 {
			list = append(list, f.name)
		}
	}
	return list
}

// routeText prints a route in the words with which it is added.
func routeText(v *routeView) string {
	var b strings.Builder
	b.WriteString(word(v.Type) + v.Dst + " ")
	pair := func(name, value string) {
		if value != "" {
			b.WriteString(name + " " + value + " ")
		}
	}
	pair("from", v.From)
	if v.NexthopID != 0 {
		pair("nhid", fmt.Sprint(v.NexthopID))
	}
	pair("via", v.Gateway)
	if v.Via != nil {
		pair("via "+v.Via.Family, v.Via.Host)
	}
	pair("dev", v.Dev)
	pair("table", v.Table)
	pair("proto", v.Protocol)
	pair("scope", v.Scope)
	pair("src", v.PrefSrc)
	if v.Metric != nil {
		pair("metric", fmt.Sprint(*v.Metric))
	}
	for _, f := range v.Flags {
		b.WriteString(f + " ")
	}
	if v.Mark != 0 {
		pair("mark", fmt.Sprintf(map[bool]string{true: "%d", false: "%#x"}[v.Mark < 16], v.Mark))
	}
	if v.UID != nil {
		pair("uid", fmt.Sprint(*v.UID))
	}
	if v.Cache != nil {
		b.WriteString("\n    cache ")
		if len(*v.Cache) > 0 {
			b.WriteString("<" + strings.Join(*v.Cache, ",") + "> ")
		}
	}
	if v.Expires != 0 {
		pair("expires", fmt.Sprintf("%dsec", v.Expires))
	}
	for _, m := range v.Metrics {
		for name, n := range m {
			pair(name, fmt.Sprint(n))
		}
	}
	pair("iif", v.In)
	for _, h := range v.Nexthops {
		b.WriteString(h.text())
	}
	if v.Pref != "" {
		b.WriteString("pref " + v.Pref)
	}
	return b.String() + "\n"
}

func (h hopView) text() string {
	s := "\n\tnexthop "
	if h.Via != nil {
		s += "via " + h.Via.Family + " " + h.Via.Host + " "
	}
	if h.Gateway != "" {
		s += "via " + h.Gateway + " "
	}
	s += fmt.Sprintf("dev %s weight %d ", h.Dev, h.Weight)
	for _, f := range h.Flags {
		s += f + " "
	}
	return s
}
