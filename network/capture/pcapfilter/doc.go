// Package pcapfilter compiles the expressions of pcap-filter(7) for Ethernet, such as
// "tcp port 80 and not host 10.0.0.1", to classic BPF: the program that the kernel
// runs on each packet of a socket, see Documentation/networking/filter.rst.
//
//	text ──► words ──► tree of tests ──► instructions
//	         lex.go    parse.go,         code.go
//	                   primitive.go,
//	                   relation.go
//
// The grammar:
//
//	expression = factor { ("and" | "or") factor }        both bind equally, from the left
//	factor     = "not" factor | "(" expression ")" | primitive | relation
//	primitive  = [protocol] [direction] [kind] ids | protocol | "vlan" [number] | …
//	direction  = "src" | "dst" | "src or dst" | "src and dst"
//	kind       = "host" | "net" | "port" | "portrange" | "proto"
//	relation   = arithmetic (">" | "<" | ">=" | "<=" | "=" | "!=") arithmetic
//	arithmetic = number | "len" | protocol "[" arithmetic [":" size] "]" | …
//
// It selects what tcpdump selects: a test compares them. Like there, "vlan" moves what
// stands behind it to the other side of the tag; a read beyond a packet's end refuses
// the packet, whatever "not" and "or" stand around it; and tcp[…] means IPv4. Two things
// are here and not there: a host or a network alone, as in "10.0.0.1 or 10.1.0.0/16", and
// "^" and "%" that bind as they do in C.
package pcapfilter
