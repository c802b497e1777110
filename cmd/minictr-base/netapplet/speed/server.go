package speed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/neterr"
)

const receiveBytes = 8 << 20

// drain reads to the end.
func drain(s net.Conn, patience time.Time, bytes *atomic.Int64) error {
	if err := s.SetReadDeadline(patience); err != nil {
		return err
	}
	block := make([]byte, blockBytes)
	for {
		n, err := s.Read(block)
		bytes.Add(int64(n))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// A server knows the tests that are under way.
type server struct {
	*tester
	udp   *net.UDPConn
	mu    sync.Mutex
	tests map[uint64]*test
}

// A test is one client's.
type test struct {
	plan
	streams chan net.Conn
	packets *packetCounter
	from    chan net.Addr // of a client that waits for datagrams
}

func (t *tester) serve() error {
	address := ":" + strconv.Itoa(t.port)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen on port %d: %w", t.port, neterr.Cause(err))
	}
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return errors.Join(fmt.Errorf("listen on UDP port %d: %w", t.port, neterr.Cause(err)), listener.Close())
	}
	_ = packets.(*net.UDPConn).SetReadBuffer(receiveBytes) // as much of it as net.core.rmem_max allows
	s := &server{tester: t, udp: packets.(*net.UDPConn), tests: map[uint64]*test{}}
	fmt.Fprintf(t.Out, "listening on port %d\n", t.port)
	enough, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	context.AfterFunc(enough, func() { _ = listener.Close() }) // ends Accept
	defer s.udp.Close()                                        //nolint:errcheck // datagrams are gone or not
	go s.receiveAll()
	for {
		conn, err := listener.Accept()
		if enough.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait for a client: %w", neterr.Cause(err))
		}
		go func() {
			if s.welcome(conn) && t.once {
				stop()
			}
		}()
	}
}

// welcome reads what a connection is for. It tells whether a test was made.
func (s *server) welcome(conn net.Conn) bool {
	c := newControl(conn)
	var p plan
	err := conn.SetReadDeadline(time.Now().Add(connectPatience))
	if err == nil {
		err = c.in.Decode(&p)
	}
	if err != nil {
		s.refuse(c, fmt.Errorf("not a client of speed: %w", err))
		return false
	}
	if p.Stream != 0 {
		s.join(conn, c, p.Stream)
		return false
	}
	defer c.Close() //nolint:errcheck // all that counts has been said
	if err := p.check(); err != nil {
		s.refuse(c, err)
		return false
	}
	if err := s.test(c, p); err != nil {
		s.Warn(fmt.Errorf("test of %s: %w", conn.RemoteAddr(), neterr.Cause(err)))
	}
	return true
}

func (s *server) refuse(c *control, err error) {
	s.Warn(fmt.Errorf("%s: %w", c.RemoteAddr(), err))
	_ = c.say(report{Error: err.Error()}) // who is no client does not care
	_ = c.Close()
}

func (s *server) find(token uint64) *test {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tests[token]
}

// join gives a data connection to its test, with what came along with its line.
func (s *server) join(conn net.Conn, c *control, token uint64) {
	t := s.find(token)
	if t == nil {
		s.refuse(c, errors.New("a stream of no test"))
		return
	}
	select {
	case t.streams <- conn: // the rest of the JSON decoder's buffer is data: a few bytes, not counted
	default:
		s.refuse(c, errors.New("a stream too many"))
	}
}

func (s *server) test(c *control, p plan) error {
	t := &test{plan: p, streams: make(chan net.Conn, p.Streams), packets: &packetCounter{}, from: make(chan net.Addr, 1)}
	s.mu.Lock()
	if s.tests[p.Token] != nil {
		s.mu.Unlock()
		return errors.New("its token is taken")
	}
	s.tests[p.Token] = t
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.tests, p.Token)
		s.mu.Unlock()
	}()
	fmt.Fprintf(s.Out, "test of %s\n%s", c.RemoteAddr(), head)
	if err := c.say(report{}); err != nil {
		return err
	}
	own, err := s.exchange(t)
	if err != nil {
		_ = c.say(report{Error: err.Error()}) // it may be gone
		return err
	}
	other, err := s.hearOther(c, t)
	if err != nil {
		return err
	}
	if p.UDP && !p.Reverse {
		time.Sleep(lastPackets)
		own = t.packets.report()
	}
	p.Reverse = !p.Reverse // seen from here
	fmt.Fprint(s.Out, p.summary(own, other))
	return c.say(own)
}

// hearOther waits for what the client has to say, and meanwhile shows the datagrams
// that come.
func (s *server) hearOther(c *control, t *test) (report, error) {
	hear := func() (report, error) { return c.hear(t.duration() + reportPatience) }
	if t.UDP && !t.Reverse {
		return s.watched(&t.packets.bytes, hear)
	}
	return hear()
}

// exchange moves the data of a test. What datagrams have come is known when the
// client has said that it is done.
func (s *server) exchange(t *test) (report, error) {
	if t.UDP && !t.Reverse {
		return report{}, nil
	}
	if t.UDP {
		select {
		case to := <-t.from:
			var sent atomic.Int64
			return s.watched(&sent, func() (report, error) { return sendDatagrams(&connected{s.udp, to}, t.plan, &sent) })
		case <-time.After(connectPatience):
			return report{}, errors.New("the client's datagrams do not arrive")
		}
	}
	var streams []net.Conn
	defer func() {
		for _, stream := range streams {
			_ = stream.Close() // all is sent, or its error is known
		}
	}()
	for range t.Streams {
		select {
		case stream := <-t.streams:
			streams = append(streams, stream)
		case <-time.After(connectPatience):
			return report{}, errors.New("the client's streams do not arrive")
		}
	}
	var bytes atomic.Int64
	return s.watched(&bytes, func() (report, error) { return t.flow(streams, !t.Reverse, &bytes) })
}
