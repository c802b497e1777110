package nc

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/neterr"
)

// serve waits for one client, or with -k for one after the other.
func (n *netcat) serve() error {
	address := net.JoinHostPort(n.host, strconv.Itoa(n.first))
	if n.unix {
		address = n.host
	}
	listener, err := net.Listen(n.network(), address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, neterr.Cause(err))
	}
	defer listener.Close() //nolint:errcheck // nothing is lost with it
	n.say("Listening on %s", place(listener.Addr()))
	for {
		if t, ok := listener.(*net.TCPListener); ok && n.wait > 0 {
			if err := t.SetDeadline(time.Now().Add(n.wait)); err != nil {
				return err
			}
		}
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("wait for a client: %w", neterr.Cause(err))
		}
		n.say("Connection received on %s", place(conn.RemoteAddr()))
		err = n.exchange(conn)
		_ = conn.Close() // all is sent, or its error is known
		if !n.keep {
			return err
		}
		if err != nil {
			n.Warn(err)
		}
	}
}

// place is "ADDRESS PORT".
func place(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host + " " + port
}

// serveUDP prints what comes, and sends standard input to who sent the latest
// datagram. Without -k the first sender is the only one.
func (n *netcat) serveUDP() error {
	address := net.JoinHostPort(n.host, strconv.Itoa(n.first))
	packets, err := net.ListenPacket(n.network(), address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, neterr.Cause(err))
	}
	conn := packets.(*net.UDPConn)
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	n.say("Listening on %s", place(conn.LocalAddr()))
	var peer atomic.Pointer[netip.AddrPort]
	known := make(chan struct{})
	go n.answerUDP(conn, &peer, known)
	b := make([]byte, 1<<16)
	for {
		if n.wait > 0 {
			if err := conn.SetReadDeadline(time.Now().Add(n.wait)); err != nil {
				return err
			}
		}
		size, from, err := conn.ReadFromUDPAddrPort(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive: %w", neterr.Cause(err))
		}
		before := peer.Load()
		if before != nil && *before != from && !n.keep {
			continue
		}
		peer.Store(&from)
		if before == nil {
			close(known)
		}
		if before == nil || *before != from {
			n.say("Connection received on %s %d", from.Addr().Unmap(), from.Port())
		}
		if _, err := n.Out.Write(b[:size]); err != nil {
			return err
		}
	}
}

func (n *netcat) answerUDP(conn *net.UDPConn, peer *atomic.Pointer[netip.AddrPort], known <-chan struct{}) {
	<-known
	b := make([]byte, 1<<16)
	for {
		size, err := n.In.Read(b)
		if size > 0 {
			if _, err := conn.WriteToUDPAddrPort(b[:size], *peer.Load()); err != nil {
				n.Warn(fmt.Errorf("send: %w", neterr.Cause(err)))
			}
		}
		if err != nil {
			return
		}
	}
}
