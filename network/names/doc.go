// Package names lets containers find each other by name: it keeps what is known
// of them in small files, and starts the server that answers from those.
//
//	runroot/names/            0700
//	    bridge/               one directory a network; its flock(2) is the server's
//	        11ef586f61dd…     one Record a container, see text.go
//	    blue/
//	        11ef586f61dd…     the same container on a second network
//	    .blue.4f0c9d2e…       a record that is just being written
//
// A network with live containers has one process minictr-dns (package server is
// what it does), which listens on the gateway's addresses. Whoever starts a
// container adds its record (AddName) and then calls Start, in this order, and
// takes the record away at the end (Remove). Nobody waits for the server: the
// sockets are bound by Start, and what is asked before the server runs waits in
// them.
//
// # One server, and no record that nobody reads
//
// The server holds an exclusive flock on the network's directory from before it
// exists, by an open file that it inherits from Start, until it has died, of
// whatever cause. It goes some time after the last record has:
//
//	start of a container              server without a record
//	────────────────────              ───────────────────────
//	write the record          (1)     rmdir the directory     (A)
//	is the directory locked?  (2)       ENOTEMPTY: go on
//	  yes: a server will see (1)        else: exit            (B)
//	  no: bind, spawn         (3)
//
// (1) is a rename into the directory, and the kernel orders it and (A). When (1)
// comes first, (A) fails and the server stays. When (A) comes first, (1) finds no
// directory, makes a new one, and (2) finds that unlocked. A lock of a directory
// that has been removed meanwhile is no lock; (2) looks again. (3) may come before
// (B), and waits when the port is still another minictr-dns's.
//
// Those who only look whether there is a server take the lock shared, so that
// nobody takes them for one.
package names
