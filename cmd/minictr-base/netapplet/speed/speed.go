// Package speed is the applet speed: it measures how much a network carries, from
// one end to the other, as iperf does, in a protocol of its own.
//
// The client opens a control connection and says in one line of JSON what it wants.
// Data goes by TCP connections to the same port, which name the test in a line of
// theirs, or by UDP datagrams that begin with its token. At the end the two tell
// each other, on the control connection, what they have sent or received.
//
//	client                          server
//	{"Token":7,"Seconds":10,…} ───► makes a test
//	◄──────────────────────────────  {}
//	{"Stream":7} and data ═════════► counts            (or the other way, -R)
//	{"Packets":n} ─────────────────► waits for the last ones
//	◄──────────────────────────────  {"Bytes":…,"Lost":…,"Jitter":…}
package speed

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/flags"
)

// Applet is speed.
func Applet() applet.Applet {
	return applet.Applet{
		Name:  "speed",
		Usage: "-s [-1] [-p PORT] | -c HOST [-p PORT] [-t SECONDS] [-P STREAMS] [-R] [-u [-b RATE] [-l BYTES]]",
		Short: "measure what a network carries, by TCP or UDP (-u), between a server (-s) and a client (-c)",
		Run:   run,
	}
}

const (
	defaultPort   = 5201
	defaultLength = 10 * time.Second
	defaultRate   = 1_000_000 // bit/s of UDP, as iperf has it
	defaultBytes  = 1448      // of a datagram: they fit an Ethernet frame
	greatestBytes = 65507
)

// A plan is what the client wants.
type plan struct {
	Token   uint64  // by which the test's data is known
	Stream  uint64  `json:",omitempty"` // the token: this connection bears data
	Seconds float64 `json:",omitempty"`
	Streams int     `json:",omitempty"`
	UDP     bool    `json:",omitempty"`
	Reverse bool    `json:",omitempty"` // the server sends
	Rate    float64 `json:",omitempty"` // bit/s, 0: all that goes
	Bytes   int     `json:",omitempty"` // of a datagram
}

func (p plan) duration() time.Duration { return time.Duration(p.Seconds * float64(time.Second)) }

// A report is what one end has seen.
type report struct {
	Error      string  `json:",omitempty"`
	Bytes      int64   `json:",omitempty"`
	Seconds    float64 `json:",omitempty"`
	Packets    int64   `json:",omitempty"` // sent, or received
	Lost       int64   `json:",omitempty"`
	OutOfOrder int64   `json:",omitempty"`
	Jitter     float64 `json:",omitempty"` // milliseconds
}

// A tester is one run of speed.
type tester struct {
	*applet.Call
	host   string
	port   int
	once   bool
	plan   plan
	length time.Duration
}

func run(c *applet.Call) error {
	t := &tester{Call: c, port: defaultPort, length: defaultLength, plan: plan{Streams: 1, Bytes: defaultBytes}}
	server, rate := false, strconv.Itoa(defaultRate)
	set := flags.New(c)
	set.On(&server, "server", "s")
	set.On(&t.once, "one-off", "1")
	set.Text(&t.host, "client", "c")
	set.Number(&t.port, "port", "p")
	set.Seconds(&t.length, "time", "t")
	set.Number(&t.plan.Streams, "parallel", "P")
	set.On(&t.plan.Reverse, "reverse", "R")
	set.On(&t.plan.UDP, "udp", "u")
	set.Text(&rate, "bitrate", "b")
	set.Number(&t.plan.Bytes, "length", "l")
	if err := set.Parse(c); err != nil {
		return err
	}
	var err error
	if t.plan.Rate, err = bitrate(rate); err != nil {
		return err
	}
	t.plan.Seconds = t.length.Seconds()
	switch {
	case set.NArg() > 0:
		return applet.UsageError("unexpected " + strconv.Quote(set.Arg(0)))
	case server == (t.host != ""):
		return applet.UsageError("either -s or -c HOST is needed")
	case t.port < 1 || t.port > 65535:
		return applet.UsageError("-p: a port from 1 to 65535")
	case set.Changed("bitrate") && !t.plan.UDP:
		return applet.UsageError("-b goes with -u")
	case t.plan.UDP && t.plan.Streams != 1:
		return applet.UsageError("-P goes without -u")
	}
	if err := t.plan.check(); err != nil {
		return applet.UsageError(err.Error())
	}
	if server {
		return t.serve()
	}
	return t.measure()
}

// check is what both ends ask of a plan.
func (p plan) check() error {
	const longest = 24 * time.Hour
	switch {
	case !(p.Seconds > 0) || p.Seconds > longest.Seconds(): // NaN is neither
		return fmt.Errorf("a test lasts up to %v", longest)
	case p.Streams < 1 || p.Streams > 128:
		return fmt.Errorf("a test has from 1 to 128 streams")
	case p.Bytes < packetHeader || p.Bytes > greatestBytes:
		return fmt.Errorf("a datagram has from %d to %d bytes", packetHeader, greatestBytes)
	case !(p.Rate >= 0):
		return fmt.Errorf("a rate is not negative")
	}
	return nil
}

// bitrate reads "10M": bit/s, in powers of 1000.
func bitrate(word string) (float64, error) {
	factor := 1.0
	number := word
	for suffix, f := range map[string]float64{"K": 1e3, "M": 1e6, "G": 1e9} {
		if n, ok := strings.CutSuffix(strings.ToUpper(word), suffix); ok {
			number, factor = n, f
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n >= 0) || n > 1e12 {
		return 0, applet.UsageError("-b " + word + `: not a rate such as "10M"`)
	}
	return n * factor, nil
}

// line is an interval of a test.
func line(from, to time.Duration, bytes int64, more string) string {
	rate := float64(bytes) * 8 / max((to-from).Seconds(), 1e-9)
	return strings.TrimRight(fmt.Sprintf("%6.2f-%-6.2f s  %s  %s  %s", from.Seconds(), to.Seconds(), scaled(float64(bytes), "Byte"), scaled(rate, "bit/s"), more), " ") + "\n"
}

const head = "    interval         transfer        bitrate\n"

// scaled is a number with a prefix, in powers of 1000.
func scaled(n float64, unit string) string {
	for _, prefix := range []string{" ", "k", "M", "G"} {
		if n < 1000 {
			return fmt.Sprintf("%6.*f %s%s", digits(n), n, prefix, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%6.*f T%s", digits(n), n, unit)
}

func digits(n float64) int {
	switch {
	case n >= 100:
		return 0
	case n >= 10:
		return 1
	}
	return 2
}

// datagrams says what became of them.
func (r report) datagrams() string {
	total := r.Packets + r.Lost
	text := fmt.Sprintf("jitter %.3f ms  lost %d/%d (%.2g%%)", r.Jitter, r.Lost, total, 100*float64(r.Lost)/float64(max(total, 1)))
	if r.OutOfOrder > 0 {
		text += fmt.Sprintf("  out of order %d", r.OutOfOrder)
	}
	return text
}
