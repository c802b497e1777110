package speed

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minictr/minictr/cmd/minictr-base/netapplet/neterr"
)

const (
	connectPatience = 10 * time.Second
	reportPatience  = 5 * time.Second // beyond the length of the test
)

// A control is the connection on which the two ends agree.
type control struct {
	net.Conn
	in *json.Decoder
}

func newControl(conn net.Conn) *control {
	return &control{conn, json.NewDecoder(bufio.NewReader(conn))}
}

func (c *control) say(v any) error { return json.NewEncoder(c.Conn).Encode(v) }

// hear waits for a report; what the other end calls an error is one.
func (c *control) hear(patience time.Duration) (r report, err error) {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return r, err
	}
	if err := c.in.Decode(&r); err != nil {
		return r, neterr.Cause(err)
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

// measure is the client.
func (t *tester) measure() error {
	address := net.JoinHostPort(t.host, strconv.Itoa(t.port))
	conn, err := net.DialTimeout("tcp", address, connectPatience)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", address, neterr.Cause(err))
	}
	c := newControl(conn)
	defer c.Close() //nolint:errcheck // all that counts has been said
	t.plan.Token = rand.Uint64()
	if err := c.say(t.plan); err != nil {
		return fmt.Errorf("ask %s: %w", address, neterr.Cause(err))
	}
	if _, err := c.hear(connectPatience); err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	fmt.Fprintf(t.Out, "connected to %s from %s\n%s", conn.RemoteAddr(), conn.LocalAddr(), head)
	own, err := t.exchange(conn.RemoteAddr().String())
	if err != nil {
		return fmt.Errorf("measure to %s: %w", address, neterr.Cause(err))
	}
	if err := c.say(own); err != nil {
		return fmt.Errorf("report to %s: %w", address, neterr.Cause(err))
	}
	other, err := c.hear(t.plan.duration() + reportPatience)
	if err != nil {
		return fmt.Errorf("%s reports nothing: %w", address, err)
	}
	fmt.Fprint(t.Out, t.plan.summary(own, other))
	return nil
}

// summary is the last two lines: what was sent, and what of it arrived.
func (p plan) summary(own, other report) string {
	sent, received := own, other
	if p.Reverse {
		sent, received = other, own
	}
	if p.UDP {
		received.Lost = max(0, sent.Packets-received.Packets)
	}
	span := func(r report) time.Duration { return time.Duration(r.Seconds * float64(time.Second)) }
	more := ""
	if p.UDP {
		more = "  " + received.datagrams()
	}
	return "---\n" + line(0, span(sent), sent.Bytes, "sent") + line(0, span(received), received.Bytes, "received"+more)
}

// exchange moves the data and returns what this end saw of it.
func (t *tester) exchange(address string) (report, error) {
	if t.plan.UDP {
		conn, err := net.Dial("udp", address)
		if err != nil {
			return report{}, err
		}
		defer conn.Close() //nolint:errcheck // datagrams are gone or not
		if t.plan.Reverse {
			return t.receiveDatagrams(conn)
		}
		var sent atomic.Int64
		return t.watched(&sent, func() (report, error) { return sendDatagrams(conn, t.plan, &sent) })
	}
	var streams []net.Conn
	defer func() {
		for _, s := range streams {
			_ = s.Close() // all is said
		}
	}()
	for range t.plan.Streams {
		s, err := net.DialTimeout("tcp", address, connectPatience)
		if err != nil {
			return report{}, err
		}
		streams = append(streams, s)
		if err := json.NewEncoder(s).Encode(plan{Token: t.plan.Token, Stream: t.plan.Token}); err != nil {
			return report{}, err
		}
	}
	var bytes atomic.Int64
	return t.watched(&bytes, func() (report, error) { return t.plan.flow(streams, t.plan.Reverse, &bytes) })
}

// watched runs a transfer and prints a line each second.
func (t *tester) watched(bytes *atomic.Int64, transfer func() (report, error)) (report, error) {
	done := make(chan struct{})
	var printer sync.WaitGroup
	printer.Go(func() { t.printIntervals(bytes, done) })
	r, err := transfer()
	close(done)
	printer.Wait()
	return r, err
}

func (t *tester) printIntervals(bytes *atomic.Int64, done <-chan struct{}) {
	begun := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var at time.Duration
	var before int64
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		now, total := time.Since(begun), bytes.Load()
		fmt.Fprint(t.Out, line(at, now, total-before, ""))
		at, before = now, total
	}
}

const blockBytes = 128 << 10

// flow sends or receives on all streams at once, and returns the sum.
func (p plan) flow(streams []net.Conn, receive bool, bytes *atomic.Int64) (report, error) {
	begun := time.Now()
	failures := make(chan error, len(streams))
	for _, s := range streams {
		go func() {
			if receive {
				failures <- drain(s, begun.Add(p.duration()+reportPatience), bytes)
			} else {
				failures <- fill(s, begun.Add(p.duration()), bytes)
			}
		}()
	}
	var first error
	for range streams {
		if err := <-failures; err != nil && first == nil {
			first = err
		}
	}
	return report{Bytes: bytes.Load(), Seconds: time.Since(begun).Seconds()}, first
}

// fill writes until the time is over, and says that it was all.
func fill(s net.Conn, end time.Time, bytes *atomic.Int64) error {
	block := make([]byte, blockBytes)
	if err := s.SetWriteDeadline(end); err != nil {
		return err
	}
	for time.Now().Before(end) {
		n, err := s.Write(block)
		bytes.Add(int64(n))
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			break
		}
		if err != nil {
			return err
		}
	}
	if half, ok := s.(*net.TCPConn); ok {
		return half.CloseWrite()
	}
	return nil
}
