// Package diagram draws networks: what the kernel has, as a picture that a person can
// read.
//
// A network namespace is a room. In it are interfaces, one of which may be a
// bridge, a switch that stands in the room. A veth pair is a cable, whose two
// plugs may be in two rooms. Packets that leave by an uplink get another address
// on the way (masquerade), and some that come in are led to a room (published
// ports); both are arrows.
//
//	survey, firewall ──► Draw ──► Picture ──► Text, JSON, DOT, Mermaid, SVG
//	                                │
//	                                ├─► Collapse   equal rooms become one
//	                                └─► Way        one room's way to the outside
//
// All of it is pure: the same input gives the same output. Names come from
// whoever made the thing. They are escaped by the rules of each format, and no
// character that a terminal would act on is ever written.
package diagram
