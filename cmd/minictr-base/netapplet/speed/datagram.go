package speed

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A datagram begins with the token of the test, its number from 1 on, and the
// sender's clock in nanoseconds; number 0 only shows where the client is.
const (
	packetHeader = 24
	lastPackets  = 300 * time.Millisecond // for those still under way
)

// A connected is a socket for everybody, bound to one peer for writing.
type connected struct {
	*net.UDPConn
	to net.Addr
}

func (c *connected) Write(b []byte) (int, error) { return c.WriteTo(b, c.to) }

// sendDatagrams sends at the plan's rate until the time is over.
func sendDatagrams(conn interface{ Write([]byte) (int, error) }, p plan, bytes *atomic.Int64) (report, error) {
	b := make([]byte, p.Bytes)
	binary.BigEndian.PutUint64(b, p.Token)
	begun := time.Now()
	var r report
	for {
		elapsed := time.Since(begun)
		if elapsed >= p.duration() {
			break
		}
		if p.Rate > 0 {
			due := int64(p.Rate*elapsed.Seconds()/8)/int64(p.Bytes) + 1
			if r.Packets >= due {
				time.Sleep(min(time.Duration(float64(p.Bytes)*8/p.Rate*float64(time.Second)), p.duration()-elapsed))
				continue
			}
		}
		binary.BigEndian.PutUint64(b[8:], uint64(r.Packets+1))
		binary.BigEndian.PutUint64(b[16:], uint64(time.Now().UnixNano()))
		n, err := conn.Write(b)
		if errors.Is(err, unix.ENOBUFS) {
			continue // the queue is full: this one was not sent
		}
		if err != nil {
			return r, err
		}
		r.Packets++
		bytes.Add(int64(n))
	}
	r.Bytes, r.Seconds = bytes.Load(), time.Since(begun).Seconds()
	return r, nil
}

// A packetCounter counts what arrives, and how evenly. The zero value is ready.
type packetCounter struct {
	mu          sync.Mutex
	bytes       atomic.Int64
	packets     int64
	late        int64
	greatest    uint64
	begun, last time.Time
	transit     float64 // seconds, of the packet before; the clocks need not agree
	jitter      float64 // seconds
}

func (c *packetCounter) add(b []byte, now time.Time) {
	number, sent := binary.BigEndian.Uint64(b[8:]), int64(binary.BigEndian.Uint64(b[16:]))
	if number == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	transit := float64(now.UnixNano()-sent) / 1e9
	if c.packets == 0 {
		c.begun = now
	} else {
		c.jitter += (math.Abs(transit-c.transit) - c.jitter) / 16 // RFC 3550, 6.4.1
	}
	if number < c.greatest {
		c.late++
	}
	c.greatest, c.transit, c.last = max(c.greatest, number), transit, now
	c.packets++
	c.bytes.Add(int64(len(b)))
}

func (c *packetCounter) report() report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return report{
		Bytes: c.bytes.Load(), Seconds: c.last.Sub(c.begun).Seconds(), Packets: c.packets,
		OutOfOrder: c.late, Jitter: c.jitter * 1e3,
	}
}

// receiveAll gives each datagram to its test.
func (s *server) receiveAll() {
	b := make([]byte, 1<<16)
	for {
		n, from, err := s.udp.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < packetHeader {
			continue
		}
		t := s.find(binary.BigEndian.Uint64(b))
		if t == nil {
			continue
		}
		if t.Reverse {
			select {
			case t.from <- from:
			default: // known already
			}
			continue
		}
		t.packets.add(b[:n], time.Now())
	}
}

// receiveDatagrams shows the server where the client is, through whatever NAT lies
// between, and counts what comes.
func (t *tester) receiveDatagrams(conn net.Conn) (report, error) {
	hello := make([]byte, packetHeader)
	binary.BigEndian.PutUint64(hello, t.plan.Token)
	counter := &packetCounter{}
	return t.watched(&counter.bytes, func() (report, error) {
		b := make([]byte, 1<<16)
		end := time.Now().Add(t.plan.duration() + connectPatience)
		for time.Now().Before(end) {
			if counter.packets == 0 {
				if _, err := conn.Write(hello); err != nil {
					return report{}, err
				}
			}
			if err := conn.SetReadDeadline(time.Now().Add(lastPackets)); err != nil {
				return report{}, err
			}
			n, err := conn.Read(b)
			var timeout net.Error
			switch {
			case errors.As(err, &timeout) && timeout.Timeout():
				if counter.packets > 0 && time.Since(counter.begun) >= t.plan.duration() {
					return counter.report(), nil
				}
			case err != nil:
				return report{}, err
			case n >= packetHeader && binary.BigEndian.Uint64(b) == t.plan.Token:
				counter.add(b[:n], time.Now())
			}
		}
		return counter.report(), nil
	})
}
