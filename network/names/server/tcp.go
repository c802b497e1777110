package server

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// idle is how long a connection may say nothing, or not take its answer.
const idle = 10 * time.Second

// serveTCP takes connections until the listener is closed.
func (s *Server) serveTCP(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond) // want of descriptors, for one
			continue
		}
		asker := s.welcome(conn.RemoteAddr())
		if !asker.IsValid() || !s.conns.take(asker) {
			_ = conn.Close() // it is not wanted
			continue
		}
		go func() {
			defer s.conns.free(asker)
			defer conn.Close() //nolint:errcheck // all was written, or the peer is gone
			s.converse(conn, asker)
		}()
	}
}

// welcome returns the address of a peer that may ask: one in our subnet, for nobody
// else can have got an answer there, one on the bridge itself, or this host.
func (s *Server) welcome(peer net.Addr) netip.Addr {
	a := addressOf(peer)
	if a.Zone() == s.config.Bridge || a.Zone() == "" && (a.IsLoopback() || s.directory.isOwn(a)) {
		return a.WithZone("")
	}
	return netip.Addr{}
}

// converse answers one question after the other.
func (s *Server) converse(conn net.Conn, asker netip.Addr) {
	for {
		if conn.SetDeadline(time.Now().Add(idle)) != nil {
			return
		}
		packet, err := readMessage(conn, maxQuestion)
		if err != nil {
			return
		}
		answer, pass := s.respond(packet, asker, maxTCP)
		if pass != nil {
			answer = s.pass(pass, asker)
		}
		if answer == nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

func (s *Server) pass(p *passing, asker netip.Addr) []byte {
	if asker = s.payer(asker); !s.questions.take(asker) {
		return p.query.fail(dnsmessage.RCodeServerFailure)
	}
	defer s.questions.free(asker)
	return p.run()
}
