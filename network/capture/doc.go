// Package capture takes copies of packets where they pass, at several places at once,
// and tells which copies are of the same packet.
//
//	container              host
//	 eth0 ══ cable ══ veth12ab ── bridge ── forwarding, translation ── uplink
//	   │                 │                                               │
//	 socket            socket                                          socket    packet(7)
//	   └─────── Merger: same bytes, same way, soon after ┘               │
//	               │                                                     │
//	            Sighting of one packet, with the places that saw it  ◄───┘ by conntrack
//
// A packet that is seen at one end of a cable and not at the other was lost between. A
// packet socket takes its copies where tcpdump(8) does: of what a link sends, after
// traffic control; of what it receives, before anything else but XDP. No link becomes
// promiscuous: the ends of a cable and the bridge see what is theirs.
//
// What an uplink carries has the host's address; Tracker asks conntrack whose it is.
package capture

import (
	"time"
)

// A Place is a link where packets are looked at.
type Place struct {
	Name      string // the link's: "eth0"
	Role      Role
	Index     int    // of the link
	Namespace string // the path of its network namespace: /proc/PID/ns/net
	Inode     uint64 // of the namespace; 0: whatever is there
	Other     int    // the place at the other end of the cable; -1 for none
}

// A Role is what a place is to the container.
type Role string

// The roles.
const (
	Inside  Role = "container" // a link in the container's namespace
	Outside Role = "host"      // the other end of its cable
	Uplink  Role = "uplink"    // where its packets leave the host
	Shared  Role = "shared"    // a link of the host, whose network the container shares
)

// A Direction is where a packet goes, seen from the container.
type Direction string

// The directions.
const (
	Out Direction = "out"
	In  Direction = "in"
)

// A Copy is a packet as it was seen at one place.
type Copy struct {
	Place     int // index of the places
	At        time.Time
	Direction Direction
	Bytes     []byte // with its VLAN tag
	Length    int    // before it was cut to Bytes
}

// direction tells where a packet goes: what the container's end sends comes out of it,
// and so does what the host's end receives. An uplink sends what comes out.
func (r Role) direction(sends bool) Direction {
	if sends == (r != Outside) {
		return Out
	}
	return In
}
