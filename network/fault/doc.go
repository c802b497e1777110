// Package fault breaks one thing of a container's networking on purpose, and puts it
// back exactly: for people who learn, for those who teach, and for the tests of the
// doctor.
//
//	List ──► Fault ──Resolve──► []Change ──► Record ──► RUNROOT/faults/ID.json
//	 table    name,  reads what  data: what     written before the first
//	          story  will be     it was, what   change, so that any process
//	                 changed     it becomes     can take it back, at any time
//	                                │
//	                                ▼ Apply, Undo, Check, Words, String (package step)
//
// A Change is a thing that is put there or taken away. A thing is an address, a route,
// a rule, a table of a firewall, a queue that throws packets away; or a setting that
// has another value than before: a flag of a link, a sysctl, a file. Each thing asks
// the kernel whether it is there before it acts, so Undo may come after half an Apply,
// twice, or when somebody has healed the fault by hand.
//
// What the kernel takes away by itself with a thing, as the routes of a link that is
// switched off, the change remembers as the kernel's own messages (Layer3), and Undo
// gives them back, as ip-address(8) and ip-route(8) do with save and restore.
//
// Reversal is exact in what ip(8), bridge(8), nft(8) and sysctl(8) list: links with
// their indexes and hardware addresses, addresses, routes, rules, queues, tables, values.
// It is not in what nobody can set: handles of nftables rules, counters, ages, what
// the kernel has learnt (FDB, neighbours), and the order of the addresses of a link
// that has more than one.
package fault
