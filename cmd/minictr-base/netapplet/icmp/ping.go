package icmp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/flags"
)

// Ping is ping.
func Ping() applet.Applet {
	return applet.Applet{
		Name:  "ping",
		Usage: "[-46bnq] [-c COUNT] [-i SECONDS] [-w SECONDS] [-W SECONDS] [-s BYTES] [-t TTL] [-I INTERFACE|ADDRESS] HOST",
		Short: "ask a host for echoes, and say who answers and how fast",
		Run:   ping,
	}
}

// A pinger is one run of ping, and what came of it.
type pinger struct {
	*applet.Call
	host                      string
	to                        netip.Addr
	from                      netip.Addr
	device                    string
	only4, only6              bool
	quiet, wide, numeric      bool
	count, size, ttl          int
	interval, patience, limit time.Duration

	sock  *socket
	begun time.Time
	sent  map[uint16]time.Time // by sequence number, not yet answered
	seq   int
	score score
}

type score struct {
	transmitted, received, duplicates, errors int
	min, max, sum                             time.Duration
	squares                                   float64 // of seconds
}

const (
	defaultPayload  = 56
	defaultPatience = 10 * time.Second // for the last answer, as iputils has it
	leastPatience   = time.Second      // when others have been answered
)

func ping(c *applet.Call) error {
	p := &pinger{Call: c, size: defaultPayload, interval: time.Second, patience: defaultPatience, sent: map[uint16]time.Time{}}
	if err := p.options(); err != nil {
		return err
	}
	err := p.prepare()
	if err == nil {
		defer p.sock.close()
		err = p.run()
	}
	if err != nil {
		c.Warn(err)
		return applet.ExitError(2)
	}
	fmt.Fprint(c.Out, p.summary())
	if p.score.received == 0 || p.limit > 0 && p.score.received < p.count {
		return applet.ExitError(1)
	}
	return nil
}

func (p *pinger) options() error {
	set := flags.New(p.Call)
	set.On(&p.only4, "ipv4", "4")
	set.On(&p.only6, "ipv6", "6")
	set.On(&p.quiet, "quiet", "q")
	set.On(&p.wide, "broadcast", "b")
	set.On(&p.numeric, "numeric", "n")
	set.Number(&p.count, "count", "c")
	set.Number(&p.size, "size", "s")
	set.Number(&p.ttl, "ttl", "t")
	set.Seconds(&p.interval, "interval", "i")
	set.Seconds(&p.patience, "timeout", "W")
	set.Seconds(&p.limit, "deadline", "w")
	set.Text(&p.device, "interface", "I")
	if err := set.Parse(p.Call); err != nil {
		return err
	}
	if set.NArg() != 1 {
		return applet.UsageError("one host is needed")
	}
	p.host = set.Arg(0)
	switch {
	case set.Changed("count") && p.count < 1:
		return applet.UsageError("-c: a count from 1 on")
	case set.Changed("ttl") && (p.ttl < 1 || p.ttl > 255):
		return applet.UsageError("-t: a number from 1 to 255")
	case p.size < 0 || p.size > 65507-echoHeaderBytes:
		return applet.UsageError("-s: a number of bytes from 0 to 65499")
	}
	if a, err := netip.ParseAddr(p.device); err == nil {
		p.from, p.device = a, ""
	}
	return nil
}

func (p *pinger) prepare() error {
	var err error
	if p.to, err = resolve(p.host, p.only4, p.only6); err != nil {
		return err
	}
	if p.numeric {
		p.host = p.to.String()
	}
	p.sock, err = open(spec{v6: p.to.Is6(), ttl: p.ttl, device: p.device, source: p.from, id: uint16(os.Getpid()), wide: p.wide})
	if err != nil {
		return err
	}
	from := ""
	if p.from.IsValid() || p.device != "" {
		from = " from " + map[bool]string{true: p.from.String(), false: ""}[p.from.IsValid()] + p.device + ":"
	}
	if p.to.Is6() {
		fmt.Fprintf(p.Out, "PING %s(%s)%s %d data bytes\n", p.host, p.to, from, p.size)
	} else {
		fmt.Fprintf(p.Out, "PING %s (%s)%s %d(%d) bytes of data.\n", p.host, p.to, from, p.size, p.size+echoHeaderBytes+ip4HeaderBytes)
	}
	return nil
}

// run sends and listens by turns until all are answered, the time is over, or the
// user has had enough.
func (p *pinger) run() error {
	enough, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	context.AfterFunc(enough, func() { _ = p.sock.file.SetReadDeadline(time.Unix(1, 0)) }) // wakes receive
	p.begun = time.Now()
	next, end := p.begun, time.Time{}
	if p.limit > 0 {
		end = p.begun.Add(p.limit)
	}
	for enough.Err() == nil {
		now := time.Now()
		if !end.IsZero() && !now.Before(end) {
			return nil
		}
		more := p.count == 0 || p.seq < p.count
		if more && !now.Before(next) {
			if err := p.send(); err != nil {
				return err
			}
			next = next.Add(p.interval)
			if next.Before(now) {
				next = now
			}
			continue
		}
		wake := next
		if !more {
			if wake = p.lastMoment(next); len(p.sent) == 0 || !now.Before(wake) {
				return nil
			}
		}
		if !end.IsZero() && end.Before(wake) {
			wake = end
		}
		p.listen(enough, wake)
	}
	return nil
}

// lastMoment is how long to wait for answers when nothing more is sent: where some
// came, the others should not take much longer.
func (p *pinger) lastMoment(next time.Time) time.Time {
	patience := p.patience
	if p.score.received > 0 && p.patience == defaultPatience {
		patience = max(2*p.score.max, p.interval, leastPatience)
	}
	return next.Add(patience - p.interval)
}

func (p *pinger) send() error {
	p.seq++
	payload := make([]byte, p.size)
	for i := range payload {
		payload[i] = byte(i)
	}
	seq := uint16(p.seq)
	p.sent[seq] = time.Now()
	err := p.sock.send(echo{p.sock.id, seq, payload}.request(p.to.Is6()), sockaddr(p.to, 0))
	p.score.transmitted++
	switch {
	case err == nil:
		return nil
	case p.score.transmitted > 1: // it worked before: say so and go on
		p.lost(seq)
		p.Warn(fmt.Errorf("send to %s: %w", p.to, err))
		return nil
	case errors.Is(err, unix.EACCES) && p.to.Is4():
		return fmt.Errorf("send to %s: %w: is it a broadcast address? Then -b", p.to, err)
	}
	return fmt.Errorf("send to %s: %w", p.to, err)
}

func (p *pinger) lost(seq uint16) {
	delete(p.sent, seq)
	p.score.errors++
}

// listen waits for one answer and prints it.
func (p *pinger) listen(enough context.Context, until time.Time) {
	a, err := p.sock.receive(until)
	if err != nil || enough.Err() != nil {
		return // the time is over
	}
	now := time.Now()
	sent, waiting := p.sent[a.seq]
	switch {
	case a.local != nil:
		p.lost(a.seq)
		p.Warn(fmt.Errorf("send to %s: %w", p.to, a.local))
	case !a.reply:
		if !waiting {
			return
		}
		p.lost(a.seq)
		if !p.quiet {
			fmt.Fprintf(p.Out, "From %s icmp_seq=%d %s\n", a.from, a.seq, a.words(p.to.Is6()))
		}
	default:
		p.replied(a, now.Sub(sent), waiting)
	}
}

func (p *pinger) replied(a answer, took time.Duration, first bool) {
	delete(p.sent, a.seq)
	if first {
		p.score.add(took)
	} else {
		p.score.duplicates++
	}
	if p.quiet {
		return
	}
	from := a.from.String()
	if a.from == p.to {
		from = named(p.host, p.to)
	}
	time, more := "", ""
	if first {
		time = " time=" + milliseconds(took) + " ms"
	} else {
		more = " (DUP!)"
	}
	fmt.Fprintf(p.Out, "%d bytes from %s: icmp_seq=%d ttl=%d%s%s\n", a.size, from, a.seq, a.ttl, time, more)
}

// milliseconds has three digits that count, at least.
func milliseconds(d time.Duration) string {
	ms := float64(d) / 1e6
	switch {
	case ms >= 100:
		return fmt.Sprintf("%.0f", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f", ms)
	case ms >= 1:
		return fmt.Sprintf("%.2f", ms)
	}
	return fmt.Sprintf("%.3f", ms)
}

func (s *score) add(took time.Duration) {
	s.received++
	if s.received == 1 || took < s.min {
		s.min = took
	}
	s.max = max(s.max, took)
	s.sum += took
	s.squares += took.Seconds() * took.Seconds()
}

func (p *pinger) summary() string {
	s := p.score
	text := fmt.Sprintf("\n--- %s ping statistics ---\n%d packets transmitted, %d received, ", p.host, s.transmitted, s.received)
	if s.duplicates > 0 {
		text += fmt.Sprintf("+%d duplicates, ", s.duplicates)
	}
	if s.errors > 0 {
		text += fmt.Sprintf("+%d errors, ", s.errors)
	}
	if s.transmitted > 0 {
		text += fmt.Sprintf("%.6g%% packet loss, ", 100*float64(s.transmitted-s.received)/float64(s.transmitted))
	}
	text += fmt.Sprintf("time %dms\n", time.Since(p.begun).Milliseconds())
	if s.received > 0 {
		mean := s.sum.Seconds() / float64(s.received)
		deviation := math.Sqrt(max(0, s.squares/float64(s.received)-mean*mean))
		text += fmt.Sprintf("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", s.min.Seconds()*1e3, mean*1e3, s.max.Seconds()*1e3, deviation*1e3)
	}
	return text
}
