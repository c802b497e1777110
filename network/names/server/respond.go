package server

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/net/dns/dnsmessage"
)

// respond answers what is ours, at once. What is to be passed on comes back as a
// passing, and what deserves no answer as neither.
func (s *Server) respond(packet []byte, from netip.Addr, limit int) ([]byte, *passing) {
	q, err := parse(packet, limit)
	if code := codeError(0); errors.As(err, &code) {
		return q.fail(dnsmessage.RCode(code)), nil
	}
	if err != nil {
		return nil, nil
	}
	v := s.directory.look(from, q.question)
	if !v.forward {
		return q.answer(v), nil
	}
	servers := v.servers
	if len(servers) == 0 {
		servers = slices.DeleteFunc(s.upstream.current(), s.isOurs)
	}
	if len(servers) == 0 {
		return q.fail(dnsmessage.RCodeServerFailure), nil
	}
	return nil, &passing{query: q, servers: servers, tcp: limit == maxTCP}
}

// isOurs reports whether to ask the address would be to ask ourselves.
func (s *Server) isOurs(a netip.Addr) bool {
	return slices.Contains(s.addresses, a) || s.directory.isGateway(a)
}

// payer is whose share of the places a question takes. All who are not known have one
// together: a container can send from as many addresses as its subnet has.
func (s *Server) payer(asker netip.Addr) netip.Addr {
	if slices.Contains(s.addresses, asker) || s.directory.knows(asker) {
		return asker
	}
	return netip.Addr{}
}
