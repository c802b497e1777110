package trace

import (
	"net/netip"
	"time"
)

// A Journey is the way of one packet and of its answer.
type Journey struct {
	Static   bool          `json:"static"`
	Protocol string        `json:"protocol"` // "tcp", "udp", "icmp"
	From     End           `json:"from"`
	To       End           `json:"to"`
	Verdict  Verdict       `json:"verdict"`
	Hops     []Hop         `json:"hops"`
	Notes    []string      `json:"notes,omitempty"` // what could not be found out, and why
	Took     time.Duration `json:"took_ns,omitempty"`
}

// An End is one end of the journey.
type End struct {
	Name    string     `json:"name"` // of the place, or the address as text
	Address netip.Addr `json:"address"`
	Port    uint16     `json:"port,omitempty"` // of an ICMP echo: its identifier
}

// A Direction is there or back.
type Direction string

// The directions of a hop.
const (
	There Direction = "there"
	Back  Direction = "back"
)

// An Event is what happens to the packet at a hop.
type Event string

// The events.
const (
	Sent       Event = "sent"       // a socket made it
	In         Event = "in"         // it came in at a link
	Switched   Event = "switched"   // a bridge passed it on between its ports
	Filtered   Event = "filtered"   // the chains of a hook saw it
	Routed     Event = "routed"     // a route was chosen
	Translated Event = "translated" // an address was rewritten
	Out        Event = "out"        // it went out of a link
	Delivered  Event = "delivered"  // it reached its place
	Dropped    Event = "dropped"    // its way ends here
)

// A Hop is one station of the way.
type Hop struct {
	Direction   Direction    `json:"direction"`
	Place       string       `json:"place"`
	Netns       uint64       `json:"netns"` // inode of the network namespace
	Event       Event        `json:"event"`
	Words       string       `json:"words"` // the hop in plain words
	Link        string       `json:"link,omitempty"`
	Hook        string       `json:"hook,omitempty"` // "bridge prerouting", "forward", …
	Chain       *Chain       `json:"chain,omitempty"`
	Route       *Route       `json:"route,omitempty"`
	Translation *Translation `json:"translation,omitempty"`
	Reason      string       `json:"reason,omitempty"` // the kernel's word for a drop: NEIGH_FAILED, …
}

// A Chain is one pass through a base chain of nf_tables.
type Chain struct {
	Family   string `json:"family"`
	Table    string `json:"table"`
	Name     string `json:"name"`
	Owner    string `json:"owner"` // minictr, Docker, …; see firewall.Owner
	Priority int32  `json:"priority"`
	Rules    []Rule `json:"rules,omitempty"` // those that matched, in their order
	Policy   string `json:"policy,omitempty"`
	Result   string `json:"result"` // "accept", "drop"
}

// A Rule is one that matched.
type Rule struct {
	Chain   string `json:"chain"`
	Handle  uint64 `json:"handle"`
	Text    string `json:"text,omitempty"` // in nft's language
	Comment string `json:"comment,omitempty"`
	Owner   string `json:"owner"`
	Verdict string `json:"verdict"` // "accept", "drop", "jump web", "continue", …
}

// A Route is what the routing tables chose.
type Route struct {
	Type    string     `json:"type"` // "unicast", "local", "blackhole", …
	To      string     `json:"to,omitempty"`
	Gateway netip.Addr `json:"gateway,omitzero"`
	Link    string     `json:"link,omitempty"`
	Source  netip.Addr `json:"source,omitzero"`
	Table   string     `json:"table,omitempty"`
	Rule    string     `json:"rule,omitempty"` // the policy rule, unless it is one that every machine has
	Error   string     `json:"error,omitempty"`
}

// A Translation is the packet's addresses before and after.
type Translation struct {
	Kind      string `json:"kind"` // "source" or "destination"
	Before    Flow   `json:"before"`
	After     Flow   `json:"after"`
	Conntrack string `json:"conntrack,omitempty"` // the connection as conntrack -L prints its two tuples
}

// A Flow is who speaks to whom.
type Flow struct {
	Source      netip.AddrPort `json:"source"`
	Destination netip.AddrPort `json:"destination"`
}

// reversed is the flow of the answers.
func (f Flow) reversed() Flow { return Flow{f.Destination, f.Source} }

// An Outcome is how a journey ends.
type Outcome string

// The outcomes.
const (
	Answered     Outcome = "answered"
	Refused      Outcome = "refused"     // by the kernel of the other end: nobody listens
	Rejected     Outcome = "rejected"    // by an answer of somebody on the way
	DroppedByUs  Outcome = "dropped"     // in a namespace that we see
	Unanswered   Outcome = "no answer"   // it left, and nothing came back
	Undeliver    Outcome = "unreachable" // no route, no neighbour
	Passes       Outcome = "passes"      // Static: nothing that we see holds it up
	NotCertain   Outcome = "not certain" // Static: something is not known
	DeliveredEnd Outcome = "delivered"   // UDP: it reached the socket, which said nothing
)

// A Verdict says how the journey ended.
type Verdict struct {
	Outcome Outcome `json:"outcome"`
	Words   string  `json:"words"`
	Place   string  `json:"place,omitempty"` // where it ended
	Chain   *Chain  `json:"chain,omitempty"` // that dropped it
	Rule    *Rule   `json:"rule,omitempty"`  // of Chain; none: its policy
	Reason  string  `json:"reason,omitempty"`
}

// Good tells whether the packet was answered, or would pass.
func (v Verdict) Good() bool {
	return v.Outcome == Answered || v.Outcome == Passes || v.Outcome == DeliveredEnd
}
