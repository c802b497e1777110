package icmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/flags"
)

// Traceroute is traceroute.
func Traceroute() applet.Applet {
	return applet.Applet{
		Name:  "traceroute",
		Usage: "[-46In] [-f FIRST] [-m HOPS] [-q PROBES] [-w SECONDS] [-p PORT] [-i INTERFACE] [-s ADDRESS] HOST [BYTES]",
		Short: "show the routers on the way to a host: each discards a packet whose time to live is over, and says so",
		Run:   traceroute,
	}
}

// A tracer is one run of traceroute.
type tracer struct {
	*applet.Call
	host                            string
	to                              netip.Addr
	from                            string
	only4, only6                    bool
	echo, numeric                   bool
	first, hops, probes, port, size int
	device                          string
	wait                            time.Duration
}

// A hop is what a probe with a limited reach brought: who answered, when.
type hop struct {
	answer
	took time.Duration
	name string
	err  error
}

const (
	tooLong     = 300 * time.Millisecond
	firstPort   = 33434
	traceBytes  = 60
	udpHeader   = 8
	nameTimeout = time.Second
)

func traceroute(c *applet.Call) error {
	t := &tracer{Call: c, first: 1, hops: 30, probes: 3, port: firstPort, size: traceBytes, wait: 5 * time.Second}
	set := flags.New(c)
	set.On(&t.only4, "ipv4", "4")
	set.On(&t.only6, "ipv6", "6")
	set.On(&t.echo, "icmp", "I")
	set.On(&t.numeric, "numeric", "n")
	set.Number(&t.first, "first", "f")
	set.Number(&t.hops, "max-hops", "m")
	set.Number(&t.probes, "queries", "q")
	set.Number(&t.port, "port", "p")
	set.Seconds(&t.wait, "wait", "w")
	set.Text(&t.device, "interface", "i")
	set.Text(&t.from, "source", "s")
	if err := set.Parse(c); err != nil {
		return err
	}
	if set.NArg() != 1 && set.NArg() != 2 {
		return applet.UsageError("one host is needed")
	}
	t.host = set.Arg(0)
	if set.NArg() == 2 {
		if _, err := fmt.Sscan(set.Arg(1), &t.size); err != nil {
			return applet.UsageError("the packet's length must be a number of bytes")
		}
	}
	if t.hops < 1 || t.hops > 255 || t.first < 1 || t.first > t.hops || t.probes < 1 || t.probes > 10 || t.port < 1 || t.port > 65535 || t.size > 65000 {
		return applet.UsageError("-f, -m: hops from 1 to 255; -q: 1 to 10 probes; -p: a port")
	}
	var err error
	if t.to, err = resolve(t.host, t.only4, t.only6); err != nil {
		return err
	}
	return t.run()
}

// run starts the probes of one hop after the other and prints what comes in order.
func (t *tracer) run() error {
	least := echoHeaderBytes + map[bool]int{true: ip6HeaderBytes, false: ip4HeaderBytes}[t.to.Is6()]
	t.size = max(t.size, least)
	fmt.Fprintf(t.Out, "traceroute to %s (%s), %d hops max, %d byte packets\n", t.host, t.to, t.hops, t.size)
	arrived := make(chan struct{})
	defer close(arrived)
	for ttl, answers := range t.start(arrived) {
		fmt.Fprintf(t.Out, "%2d ", t.first+ttl)
		var line hopLine
		final := false
		for _, answer := range answers {
			h := <-answer
			if h.err != nil {
				fmt.Fprintln(t.Out)
				return h.err
			}
			fmt.Fprint(t.Out, line.add(h, t.numeric))
			final = final || h.final(t)
		}
		fmt.Fprintln(t.Out)
		if final {
			return nil
		}
	}
	return nil
}

// start sends the probes, and returns for each hop where their answers will be. The
// next hop's turn is when all have answered, or have taken long: routers answer
// only so many a second, and the silent ones shall not stop the rest.
func (t *tracer) start(arrived <-chan struct{}) [][]chan hop {
	answers := make([][]chan hop, t.hops-t.first+1)
	for i := range answers {
		for range t.probes {
			answers[i] = append(answers[i], make(chan hop, 1))
		}
	}
	go func() {
		for i := range answers {
			var all sync.WaitGroup
			for j := range t.probes {
				all.Go(func() { answers[i][j] <- t.probe(t.first+i, i*t.probes+j) })
			}
			complete := make(chan struct{})
			go func() { all.Wait(); close(complete) }()
			select {
			case <-complete:
			case <-time.After(tooLong):
			case <-arrived:
				return
			}
		}
	}()
	return answers
}

// final tells that nobody is behind who answered.
func (h hop) final(t *tracer) bool {
	if !h.from.IsValid() {
		return false
	}
	return h.reply || h.from.WithZone("") == t.to.WithZone("") || !h.exceeded(t.to.Is6())
}

func (h hop) exceeded(v6 bool) bool {
	return !v6 && h.kind == exceeded4 || v6 && h.kind == exceeded6
}

// probe sends one packet that lives for ttl hops, and waits for what comes.
func (t *tracer) probe(ttl, number int) hop {
	s := spec{v6: t.to.Is6(), ttl: ttl, device: t.device, id: uint16(os.Getpid() + number)}
	if t.from != "" {
		a, err := netip.ParseAddr(t.from)
		if err != nil {
			return hop{err: fmt.Errorf("-s: %w", err)}
		}
		s.source = a
	}
	var h hop
	var sock *socket
	if t.echo {
		sock, h.err = open(s)
	} else {
		sock, h.err = s.open(map[bool]int{true: unix.AF_INET6, false: unix.AF_INET}[s.v6], unix.SOCK_DGRAM, unix.IPPROTO_UDP)
	}
	if h.err != nil {
		return h
	}
	defer sock.close()
	header := map[bool]int{true: ip6HeaderBytes, false: ip4HeaderBytes}[s.v6]
	payload := make([]byte, max(0, t.size-header-udpHeader))
	packet, port := payload, t.port+number
	if t.echo {
		packet, port = echo{s.id, uint16(number + 1), payload}.request(s.v6), 0
	}
	begun := time.Now()
	if err := sock.send(packet, sockaddr(t.to, port)); err != nil {
		return hop{err: fmt.Errorf("send to %s: %w", t.to, err)}
	}
	a, err := sock.receive(begun.Add(t.wait))
	h = hop{answer: a, took: time.Since(begun)}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return hop{}
	case err != nil:
		return hop{err: err}
	case a.local != nil:
		return hop{err: fmt.Errorf("send to %s: %w", t.to, a.local)}
	}
	if !t.numeric {
		h.name = nameOf(a.from)
	}
	return h
}

func nameOf(a netip.Addr) string {
	patience, stop := context.WithTimeout(context.Background(), nameTimeout)
	defer stop()
	names, err := net.DefaultResolver.LookupAddr(patience, a.String())
	if err != nil || len(names) == 0 {
		return a.String() // it has no name that we could find
	}
	return strings.TrimSuffix(names[0], ".")
}

// A hopLine names a router once for several answers of his.
type hopLine struct{ last netip.Addr }

func (l *hopLine) add(h hop, numeric bool) string {
	if !h.from.IsValid() {
		return " *"
	}
	text := ""
	if h.from != l.last {
		l.last = h.from
		text = " " + h.from.String()
		if !numeric {
			text = fmt.Sprintf(" %s (%s)", h.name, h.from)
		}
	}
	return text + fmt.Sprintf("  %.3f ms", h.took.Seconds()*1e3) + h.mark()
}

// mark is an annotation of traceroute(8): why it goes no further.
func (h hop) mark() string {
	v6 := h.from.Is6()
	if h.reply || h.exceeded(v6) {
		return ""
	}
	if v6 {
		if h.kind == tooLong6 {
			return fmt.Sprintf(" !F-%d", h.info)
		}
		return map[uint8]string{0: " !N", 1: " !X", 2: " !S", 3: " !H", 4: ""}[h.code]
	}
	switch h.code {
	case 3:
		return ""
	case 4:
		return fmt.Sprintf(" !F-%d", h.info&0xffff)
	}
	if m, ok := map[uint8]string{0: " !N", 1: " !H", 2: " !P", 5: " !S", 9: " !X", 10: " !X", 13: " !X"}[h.code]; ok {
		return m
	}
	return fmt.Sprintf(" !<%d>", h.code)
}
