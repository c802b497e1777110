package trace

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/test/kernel"
)

// tracesForever is set for a copy of the test program that traces until it is
// killed: the paths of sender and host, with a comma.
const tracesForever = "MINICTR_TRACES_FOREVER"

func TestMain(m *testing.M) {
	if paths := os.Getenv(tracesForever); paths != "" {
		from, host, _ := strings.Cut(paths, ",")
		traceForever(Place{Name: "box", Path: from}, Place{Name: "host", Path: host})
	}
	os.Exit(m.Run())
}

func traceForever(from, host Place) {
	for {
		_, err := Run(Request{From: from, To: netip.MustParseAddr("203.0.113.1"), Port: 80, Protocol: tcp, Host: host, Timeout: 300 * time.Millisecond})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("traced")
	}
}

// state is all that a trace must not change.
func (l *lab) state() string {
	l.t.Helper()
	var b strings.Builder
	for _, n := range []*kernel.Netns{nil, l.web, l.box, l.outside} {
		b.WriteString(l.sh(n, `nft list ruleset; ip link; ip addr; ip route show table all; ip -6 route show table all; ip rule; bridge link
sysctl -a 2>/dev/null | grep ^net | grep -v -e nf_conntrack_count -e stable_secret`))
	}
	return withoutCounters(b.String())
}

// difference are the lines that only one of them has.
func difference(before, after string) string {
	var b strings.Builder
	for _, side := range []struct{ sign, a, b string }{{"-", before, after}, {"+", after, before}} {
		others := strings.Split(side.b, "\n")
		for line := range strings.SplitSeq(side.a, "\n") {
			if !slices.Contains(others, line) {
				b.WriteString(side.sign + line + "\n")
			}
		}
	}
	return b.String()
}

// A trace changes nothing, in no namespace, and does not switch connection
// tracking on where it was off.
func TestNothingChanges(t *testing.T) {
	l := newLab(t)
	l.nft(l.box, base("ip", "own", "output", "0", "counter"))
	l.nft(l.box, base("netdev", "own", `ingress device "eth0"`, "0", "counter"))
	l.nft(nil, base("bridge", "own", "forward", "0", "counter"))
	before := l.state()
	for _, c := range journeys() {
		l.trace(c.from(l), c.to, c.port, c.protocol)
		l.static(c.from(l), c.to, c.port, c.protocol)
	}
	if after := l.state(); after != before {
		t.Error(difference(before, after))
	}
	if listed := l.sh(l.box, "conntrack -C"); strings.TrimSpace(listed) != "0" {
		t.Errorf("connection tracking is on in a namespace where nobody asked for it: %s connections", listed)
	}
}

// Whenever it is killed, nothing stays.
func TestKilled(t *testing.T) {
	l := newLab(t)
	l.nft(l.box, base("ip", "own", "output", "0", "counter"))
	before := l.state()
	seen := 0
	for i := range 8 {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), fmt.Sprintf("%s=%s,%s", tracesForever, l.box.Path(), l.host.Path()))
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "traced\n" {
			t.Errorf("the child says %q, %v", line, err)
		}
		if i%2 == 0 { // at a moment when its table is there, else at any
			kernel.Eventually(t, 2*time.Second, func() error {
				if !strings.Contains(l.sh(nil, "nft list tables"), tablePrefix) {
					return fmt.Errorf("no table")
				}
				return nil
			})
			seen++
		} else {
			time.Sleep(time.Duration(17*i) * time.Millisecond)
		}
		if err := c.Process.Signal(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // killed
		kernel.Eventually(t, 2*time.Second, func() error {
			if after := l.state(); after != before {
				return errors.New(difference(before, after))
			}
			return nil
		})
	}
	if seen == 0 {
		t.Error("no table was ever seen")
	}
}

// What an older kernel keeps of a killed trace the next one takes away; it leaves
// that of one that lives.
func TestHeal(t *testing.T) {
	l := newLab(t)
	dead, alive := tablePrefix+"4194303-1", fmt.Sprintf("%s%d-1", tablePrefix, os.Getpid())
	l.nft(nil, fmt.Sprintf("table ip %s { }\ntable bridge %[1]s { }\ntable ip %s { }", dead, alive))
	l.trace(l.box, "203.0.113.1", 80, tcp)
	if tables := l.sh(nil, "nft list tables"); strings.Contains(tables, dead) || !strings.Contains(tables, alive) {
		t.Errorf("tables left: %s", tables)
	}
}

// Traces at once do not disturb each other, nor do they take each other's
// packets for their own.
func TestTwoAtOnce(t *testing.T) {
	l := newLab(t)
	l.nft(nil, base("ip", "guard", "forward", "0", drop9))
	hostPlace := Place{Name: "host", Path: l.host.Path()}
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			r := Request{
				From: l.place(l.box), To: netip.MustParseAddr("203.0.113.1"), Port: 80 + uint16(i%2), Protocol: tcp, Host: hostPlace,
				Others: []Place{l.place(l.web), l.place(l.outside)}, Timeout: 500 * time.Millisecond,
			}
			want := map[uint16]Outcome{80: DroppedByUs, 81: Refused}[r.Port]
			j, err := Run(r)
			if err != nil {
				t.Error(err)
				return
			}
			if j.Verdict.Outcome != want {
				t.Errorf("port %d: %s", r.Port, j.text())
			}
		})
	}
	all.Wait()
}
