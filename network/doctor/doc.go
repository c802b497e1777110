// Package doctor finds the one cause why a container's network does not work.
//
//	Read ──► Facts ──► Diagnose ──► Report: an answer to every check, one cause
//	the kernel         pure                 │
//	                                        └─ Finding.Repair: steps and commands
//
// Checks lists the questions in the order in which a person would ask them: from the
// container's process by its namespace, its end of the cable and the bridge to the host
// and out of it, then names, and what filters packets on the way.
//
// # One cause
//
// One fault makes many things wrong: without an address there is no route, without a
// route nobody answers. Each check therefore says whose faults explain its own
// (Check.Because); what is explained by another fault that is there is a consequence,
// and the first fault in the chain that nothing explains is the cause. What is not in
// the way, but worth knowing, is a warning: a published port at which nobody listens
// yet, a resolver of the host that does not answer.
//
// # What is read
//
// Links, addresses, routes, rules and neighbours of both namespaces come from package
// survey; routing decisions from the kernel itself, which is asked as "ip route get"
// does; nf_tables from package firewall, through which sample packets are taken. The
// steps that set the network up (package network) check themselves, and their words and
// commands explain and cure what they are about. What minictr remembers is only what it
// gave the container: its Config. Reading changes nothing. It sends a question to each
// name server of the container's networks and to the resolvers behind them, and the
// probe of --to; where the hardware address of the host's gateway was set by hand, it
// asks for that.
//
// What nobody can read is not guessed: a rule whose outcome hangs on what a sample does
// not tell is a warning, a BPF program on the cgroup or a link is a fault by its being
// there, since minictr attaches none.
package doctor
