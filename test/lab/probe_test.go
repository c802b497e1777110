package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

// A server answers every question with the address that it comes from.
type server struct {
	listener net.Listener
	packets  net.PacketConn

	mu   sync.Mutex
	seen []string // the bytes of every packet, for forged ones that nobody answers
}

// serve has a server for TCP and UDP at the address, until the test ends or it
// is closed.
func (p place) serve(t testing.TB, address string) *server {
	t.Helper()
	s := new(server)
	err := p.do(func() (err error) {
		if s.listener, err = net.Listen("tcp", address); err != nil {
			return err
		}
		s.packets, err = net.ListenPacket("udp", address)
		return err
	})
	if err != nil {
		t.Fatalf("serve in %s: %v", p.name, err)
	}
	t.Cleanup(s.close)
	go s.answerStreams()
	go s.answerPackets()
	return s
}

func (s *server) close() {
	s.listener.Close()
	s.packets.Close()
}

func (s *server) note(text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, string(text))
}

// saw tells whether bytes with the text have arrived.
func (s *server) saw(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seen := range s.seen {
		if bytes.Contains([]byte(seen), []byte(text)) {
			return true
		}
	}
	return false
}

func (s *server) answerStreams() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		fmt.Fprint(c, addressOf(c.RemoteAddr())) // the other side may be gone
		c.Close()
	}
}

func (s *server) answerPackets() {
	buffer := make([]byte, 2048)
	for {
		n, from, err := s.packets.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // of an answer before: nobody was there
		}
		s.note(buffer[:n])
		s.packets.WriteTo([]byte(addressOf(from)), from) // a forged sender may not take it
	}
}

func addressOf(a net.Addr) string {
	to, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return err.Error()
	}
	return to.Addr().Unmap().WithZone("").String()
}

// A question is one connection attempt.
type question struct {
	from     place
	protocol string // tcp or udp
	to       netip.AddrPort
}

func (q question) String() string {
	return fmt.Sprintf("%s from %s to %s", q.protocol, q.from.name, q.to)
}

// ask returns the address that the server saw, and "" without an answer: that
// it is refused and that nothing comes is the same to who asks.
func (q question) ask(limit time.Duration) (answer string) {
	var c net.Conn
	err := q.from.do(func() (err error) {
		c, err = net.DialTimeout(q.protocol, q.to.String(), limit)
		return err
	})
	if err != nil {
		return ""
	}
	defer c.Close()
	if q.protocol == "tcp" {
		c.SetDeadline(time.Now().Add(limit))
		text, _ := io.ReadAll(c)
		return string(text)
	}
	return askByPackets(c, limit)
}

// askByPackets asks by UDP, a few times within the limit: the first packet may
// be lost while a neighbour's address is looked for.
func askByPackets(c net.Conn, limit time.Duration) string {
	const tries = 3
	buffer := make([]byte, 100)
	for range tries {
		c.SetDeadline(time.Now().Add(limit / tries))
		if _, err := c.Write([]byte("?")); err != nil {
			continue
		}
		n, err := c.Read(buffer)
		if err == nil {
			return string(buffer[:n])
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return "" // refused
		}
	}
	return ""
}

const (
	quick   = 400 * time.Millisecond
	patient = 3 * time.Second // for an answer that is due, on a machine that is slow
	atOnce  = 96              // questions that are asked side by side
)

// askAll asks many questions side by side and returns the answers that are not as
// expected; an answer that is due is waited for.
func askAll(expected map[question]string) (wrong map[question]string) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	wrong = map[question]string{}
	slots := make(chan struct{}, atOnce)
	for q, want := range expected {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			got := q.ask(quick)
			if got == "" && want != "" {
				got = q.ask(patient)
			}
			if got != want {
				mu.Lock()
				defer mu.Unlock()
				wrong[q] = got
			}
		})
	}
	wg.Wait()
	return wrong
}

// connects tells whether somebody accepts a connection, of TCP.
func (q question) connects() bool {
	var c net.Conn
	err := q.from.do(func() (err error) {
		c, err = net.DialTimeout(q.protocol, q.to.String(), quick)
		return err
	})
	if err != nil {
		return false
	}
	return c.Close() == nil
}
