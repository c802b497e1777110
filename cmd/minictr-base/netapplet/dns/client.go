package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	defaultTimeout = 5 * time.Second
	attempts       = 2
	maxUDP         = 4096 // bytes, said by EDNS0
)

// A client sends questions, by UDP, and by TCP when the answer is too long for that.
type client struct {
	port    string
	timeout time.Duration
	tcp     bool
}

var (
	errTimeout  = errors.New("no answer")
	errMismatch = errors.New("an answer to another question")
)

// query asks one question of one server.
func (c *client) query(server netip.Addr, name string, kind dnsmessage.Type) (dnsmessage.Message, error) {
	packed, id, err := question(name, kind)
	if err != nil {
		return dnsmessage.Message{}, err
	}
	if !c.tcp {
		m, err := c.overUDP(server, packed, id)
		if err != nil || !m.Truncated {
			return m, err
		}
	}
	return c.overTCP(server, packed, id)
}

func question(name string, kind dnsmessage.Type) ([]byte, uint16, error) {
	n, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, 0, fmt.Errorf("name %q: %w", name, err)
	}
	var extended dnsmessage.ResourceHeader
	if err := extended.SetEDNS0(maxUDP, dnsmessage.RCodeSuccess, false); err != nil {
		return nil, 0, err
	}
	m := dnsmessage.Message{
		Header:      dnsmessage.Header{ID: uint16(rand.Uint32()), RecursionDesired: true},
		Questions:   []dnsmessage.Question{{Name: n, Type: kind, Class: dnsmessage.ClassINET}},
		Additionals: []dnsmessage.Resource{{Header: extended, Body: &dnsmessage.OPTResource{}}},
	}
	packed, err := m.Pack()
	return packed, m.ID, err
}

func (c *client) overUDP(server netip.Addr, packed []byte, id uint16) (dnsmessage.Message, error) {
	conn, err := net.Dial("udp", net.JoinHostPort(server.String(), c.port))
	if err != nil {
		return dnsmessage.Message{}, err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	b := make([]byte, 1<<16)
	for range attempts {
		if _, err := conn.Write(packed); err != nil {
			return dnsmessage.Message{}, err
		}
		if err := conn.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
			return dnsmessage.Message{}, err
		}
		for {
			n, err := conn.Read(b)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return dnsmessage.Message{}, err
			}
			if m, err := answer(b[:n], id); !errors.Is(err, errMismatch) {
				return m, err
			}
		}
	}
	return dnsmessage.Message{}, errTimeout
}

// overTCP sends and receives messages behind their length, RFC 1035, 4.2.2.
func (c *client) overTCP(server netip.Addr, packed []byte, id uint16) (dnsmessage.Message, error) {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(server.String(), c.port), c.timeout)
	if err != nil {
		return dnsmessage.Message{}, err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	if err := conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return dnsmessage.Message{}, err
	}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)); err != nil {
		return dnsmessage.Message{}, err
	}
	length := make([]byte, 2)
	if _, err := io.ReadFull(conn, length); err != nil {
		return dnsmessage.Message{}, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length))
	if _, err := io.ReadFull(conn, b); err != nil {
		return dnsmessage.Message{}, err
	}
	return answer(b, id)
}

// answer decodes a response. Records of kinds that dnsmessage does not know come
// as dnsmessage.UnknownResource.
func answer(b []byte, id uint16) (dnsmessage.Message, error) {
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		return m, fmt.Errorf("decode the answer: %w", err)
	}
	if m.ID != id || !m.Response {
		return m, errMismatch
	}
	return m, nil
}

// resolveServer finds the address of a server that was named.
func resolveServer(name string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return a, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(context.Background(), "ip", name)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the server %s: %w", name, err)
	}
	return found[0].Unmap(), nil
}
