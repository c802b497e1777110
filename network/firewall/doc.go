// Package firewall reads the packet filters that others have put into the
// kernel and says what they do to a packet. It changes nothing.
//
// In Linux every filter has its say. A packet goes through all base chains of a
// hook, in the order of their priorities, whatever table they are in; an accept
// ends only the chain that says it, a drop ends the packet. So a container's
// packets can be lost although every rule of ours accepts them: Docker, ufw and
// firewalld refuse what they do not know, and no table of ours can undo that.
// What can be done is to say so, by whom and with which cure:
//
//	findings, err := firewall.Advise(firewall.Question{
//		Bridge: "minictr0", Networks: []netip.Prefix{…}, Uplink: "eth0", Ports: …})
//
// Advise asks for sample packets (out of a container, its answers, to a
// published port, to the name server on the gateway) what becomes of them:
//
//	Read ──► Ruleset ──► Walk(hook, packet) ──► Verdict: accept, drop by a rule
//	                                            or policy, or unknown and why
//
// Walk is an interpreter of nf_tables: a rule is a list of expressions,
// instructions on registers, and what iptables-nft makes of its matches and
// targets is among them. A field of the packet that is not known (its length,
// say) is a register with unknown bits; a rule that hangs on one may match or
// not, and Walk follows both ways. It answers Accept or Drop only if both lead
// there.
package firewall
