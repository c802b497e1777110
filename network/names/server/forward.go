package server

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/names"
)

// An asker of a passing gives up after five seconds, as glibc, musl and Go do, so it
// hears of a failure before. A server that says nothing for retryAfter is not given
// up: the next one is asked beside it, and the first answer counts.
const (
	patience   = 4500 * time.Millisecond
	retryAfter = time.Second
	rounds     = 4 // at most one try for each retryAfter
)

// A passing is a question on its way to other servers.
type passing struct {
	query   query
	servers []netip.Addr
	tcp     bool
}

// A reply is how one try ended. Its packet is nil when nothing came back.
type reply struct {
	server  netip.Addr
	packet  []byte
	opinion opinion
}

// run asks the servers, and returns the answer for the asker: in any case one.
func (p *passing) run() []byte {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	replies := make(chan reply, rounds*len(p.servers))
	queue := slices.Repeat(p.servers, rounds)
	var failed []netip.Addr
	var worst []byte
	waiting := 0
	retry := time.NewTicker(retryAfter)
	defer retry.Stop()
	for {
		// The next of those that have not said that they cannot.
		if next := slices.IndexFunc(queue, func(a netip.Addr) bool { return !slices.Contains(failed, a) }); next >= 0 {
			server := queue[next]
			queue = queue[next+1:]
			waiting++
			go func() { replies <- p.try(ctx, server) }()
		} else if queue = nil; waiting == 0 {
			return p.finish(worst)
		}
		select {
		case r := <-replies:
			waiting--
			if r.opinion == final {
				return p.finish(r.packet)
			}
			failed = append(failed, r.server)
			if r.packet != nil {
				worst = r.packet
			}
		case <-retry.C: // ask another one beside it
		case <-ctx.Done():
			return p.finish(worst)
		}
	}
}

// finish makes an answer for the asker of what a server has said.
func (p *passing) finish(packet []byte) []byte {
	if packet == nil {
		return p.query.fail(dnsmessage.RCodeServerFailure)
	}
	if len(packet) > p.query.limit {
		return p.query.truncated()
	}
	binary.BigEndian.PutUint16(packet, p.query.header.ID)
	return packet
}

// try asks one server once, from a port and with a number that nobody can guess.
func (p *passing) try(ctx context.Context, server netip.Addr) reply {
	var id [2]byte
	if _, err := unix.Getrandom(id[:], 0); err != nil {
		return reply{server: server}
	}
	packet := slices.Clone(p.query.packet)
	copy(packet, id[:])
	conn, err := p.dial(ctx, server)
	if err != nil {
		return reply{server: server}
	}
	defer conn.Close() //nolint:errcheck // the answer was read, or nobody wants it
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if p.tcp {
		packet = append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	}
	if _, err := conn.Write(packet); err != nil {
		return reply{server: server}
	}
	for {
		packet, err := p.receive(conn)
		if err != nil {
			return reply{server: server}
		}
		if o := p.query.judge(packet, binary.BigEndian.Uint16(id[:])); o != foreign {
			return reply{server, packet, o}
		}
		if p.tcp {
			return reply{server: server}
		}
	}
}

// dial connects, so that the kernel passes on only what comes from this server, and
// tells at once when nobody is there (ICMP).
func (p *passing) dial(ctx context.Context, server netip.Addr) (net.Conn, error) {
	to := netip.AddrPortFrom(server, names.Port)
	if !p.tcp {
		return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", to.String())
}

// receive reads one message. One that is longer than the buffer is longer than the
// asker may be told by UDP, too.
func (p *passing) receive(conn net.Conn) ([]byte, error) {
	if p.tcp {
		return readMessage(conn, maxTCP)
	}
	b := make([]byte, p.query.limit+1)
	n, err := conn.Read(b)
	return b[:n], err
}

var errLength = errors.New("a message of this length is not taken")

// readMessage reads a message behind its length, RFC 1035, 4.2.2.
func readMessage(r io.Reader, limit int) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > limit || n < headerBytes {
		return nil, errLength
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}
