// Package server is the name server of one network. Containers ask it on their
// gateway's address; it knows the containers, and passes other questions on.
//
//	question ──► parse ──► directory ──► ours: answered at once
//	UDP, TCP     message.go  lookup.go └► not ours: forward.go ──► upstream
//
// # Whose answer
//
// The asker is found by its address. A container sees the containers of every
// network that it is on, and no others; whoever else asks, the host for one, sees
// those of this network. A name that several networks have is the one of the
// asker's gateway first, of the others in the order of their names.
//
// NAME, an alias, the first 12 digits of the id, and each of these with .NETWORK
// behind it are ours, in any case of letters; the whole id is no name, since a label
// has at most 63 octets (RFC 1035, 2.3.4). A name of ours has no other data than
// its addresses: any other type is answered with nothing, and not passed on, or a
// stranger could add to it. Reverse names within our subnets are ours, too.
//
// Everything else is passed on, also a name without a dot. That tells the host's
// resolver a name that a container asked for, but it is the resolver to which the
// host itself would tell it, and those of a LAN do know such names. It is how
// Docker does it.
//
// On an internal network nothing is passed on, lest questions carry data out: what
// is not ours does not exist, NXDOMAIN. Docker refuses such questions, and musl's
// resolver takes a refusal for no answer and waits for five seconds. The exception
// is a --dns server on the network itself.
//
// # Trust
//
// Nobody but the containers of the network and the host is answered: UDP must have
// come in by the bridge or from the host itself (IP_PKTINFO), the peer of a TCP
// connection must be in the subnet. Questions in flight, connections, sizes and times
// are bounded, for each asker and in all. Answers count when they come from the
// server that was asked, to the port and with the number that were chosen at random,
// and repeat the question.
package server
