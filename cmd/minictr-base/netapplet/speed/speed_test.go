package speed

import (
	"encoding/binary"
	"testing"
	"time"
)

func TestBitrate(t *testing.T) {
	for word, want := range map[string]float64{"0": 0, "1000": 1000, "1.5k": 1500, "10M": 10e6, "2G": 2e9} {
		if got, err := bitrate(word); err != nil || got != want {
			t.Errorf("%s: %v, %v", word, got, err)
		}
	}
	for _, word := range []string{"", "M", "-1", "NaN", "1e30", "10X"} {
		if got, err := bitrate(word); err == nil {
			t.Errorf("%s: %v, want an error", word, got)
		}
	}
}

func TestLine(t *testing.T) {
	for _, c := range []struct {
		from, to time.Duration
		bytes    int64
		want     string
	}{
		{0, time.Second, 1_250_000_000, "  0.00-1.00   s    1.25 GByte    10.0 Gbit/s\n"},
		{time.Second, 3 * time.Second, 500, "  1.00-3.00   s     500  Byte    2.00 kbit/s\n"},
		{0, 0, 0, "  0.00-0.00   s    0.00  Byte    0.00  bit/s\n"},
	} {
		if got := line(c.from, c.to, c.bytes, ""); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// Two of five are lost, one comes late, and the transit varies by a known time.
func TestPacketCounter(t *testing.T) {
	c := &packetCounter{}
	at := time.Unix(1000, 0)
	for i, number := range []uint64{0, 1, 4, 3} {
		b := make([]byte, 100)
		binary.BigEndian.PutUint64(b[8:], number)
		sent := at.Add(time.Duration(i) * time.Second)
		binary.BigEndian.PutUint64(b[16:], uint64(sent.UnixNano()))
		c.add(b, sent.Add(time.Duration(i)*16*time.Millisecond))
	}
	r := c.report()
	r.Lost = 5 - r.Packets
	jitter := r.Jitter
	r.Jitter = 0
	if want := (report{Bytes: 300, Seconds: 2.032, Packets: 3, Lost: 2, OutOfOrder: 1}); r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
	if jitter < 1.93 || jitter > 1.94 { // 16 ms / 16, and again
		t.Errorf("jitter %v ms", jitter)
	}
	r.Jitter = jitter
	if got, want := r.datagrams(), "jitter 1.938 ms  lost 2/5 (40%)  out of order 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPlansThatAreRefused(t *testing.T) {
	good := plan{Seconds: 1, Streams: 1, Bytes: 1000}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*plan){
		"no time": func(p *plan) { p.Seconds = 0 }, "a year": func(p *plan) { p.Seconds = 3e7 }, "no stream": func(p *plan) { p.Streams = 0 },
		"streams": func(p *plan) { p.Streams = 1e6 }, "tiny": func(p *plan) { p.Bytes = 1 }, "huge": func(p *plan) { p.Bytes = 1 << 20 }, "rate": func(p *plan) { p.Rate = -1 },
	} {
		p := good
		change(&p)
		if p.check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
