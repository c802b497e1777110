package trace

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/minictr/minictr/test/kernel"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// What differs from run to run: ports that the kernel chose, handles, times,
// inodes.
var differing = []struct {
	pattern *regexp.Regexp
	to      string
}{
	{regexp.MustCompile(`(\d)\.\d+ ms|\d+ ms`), "… ms"},
	{regexp.MustCompile(`handle \d+`), "handle …"},
	{regexp.MustCompile(`:(3[2-9]|[45]\d|6\d)\d{3}\b`), ":PORT"},
}

func stable(text string) string {
	for _, d := range differing {
		text = d.pattern.ReplaceAllString(text, d.to)
	}
	return text
}

// A journey is one line of the goldens.
type journey struct {
	name     string
	from     func(*lab) *kernel.Netns
	to       string
	port     uint16
	protocol string
}

func journeys() []journey {
	return []journey{
		{"out", box, "203.0.113.1", 80, tcp},
		{"out-udp", box, "203.0.113.1", 80, udp},
		{"out-icmp", box, "203.0.113.1", 0, icmp},
		{"out6", box, "2001:db8::1", 80, tcp},
		{"neighbour", box, "172.17.0.2", 80, tcp},
		{"published", outside, "203.0.113.254", 8080, tcp},
		{"hairpin", box, "203.0.113.254", 8080, tcp},
		{"from-host", host, "172.17.0.2", 80, tcp},
		{"host-itself", host, "127.0.0.1", 99, tcp},
		{"host-published", host, "203.0.113.254", 8080, tcp},
		{"gateway", box, "172.17.0.1", 99, udp},
	}
}

// The whole text of the usual ways, as a person has reviewed it; and what --static
// says of the same ways ends in the same places.
func TestJourneys(t *testing.T) {
	l := newLab(t)
	for _, c := range journeys() {
		j := l.trace(c.from(l), c.to, c.port, c.protocol)
		s := l.static(c.from(l), c.to, c.port, c.protocol)
		golden(t, c.name, stable(j.text()+"\n"+s.text()))
		if j.Verdict.Good() != s.Verdict.Good() {
			t.Errorf("%s: sent: %s; static: %s", c.name, j.Verdict.Words, s.Verdict.Words)
		}
		if got, want := way(s, There), way(j, There); got != want {
			t.Errorf("%s: there, static says\n%s, and what was sent\n%s", c.name, got, want)
		}
	}
}

// With br_netfilter the rules of IP see what a bridge passes on, and translate it.
func TestBridgeFilter(t *testing.T) {
	l := newLab(t)
	if out, err := l.run(nil, "", "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1"); err != nil {
		t.Skipf("needs br_netfilter: %s", out)
	}
	for _, c := range []journey{{"bridge-filter", box, "172.17.0.2", 80, tcp}, {"bridge-filter-hairpin", box, "203.0.113.254", 8080, tcp}} {
		j, s := l.trace(c.from(l), c.to, c.port, c.protocol), l.static(c.from(l), c.to, c.port, c.protocol)
		golden(t, c.name, stable(j.text()+"\n"+s.text()))
	}
	l.nft(nil, base("inet", "guard", "forward", "0", `iifname minictr0 oifname minictr0 `+drop9))
	j, s := l.trace(l.box, "172.17.0.2", 80, tcp), l.static(l.box, "172.17.0.2", 80, tcp)
	for _, v := range []Verdict{j.Verdict, s.Verdict} {
		if v.Outcome != DroppedByUs || v.Rule == nil || v.Rule.Comment != "planted" {
			t.Errorf("%s\n%s", j.text(), s.text())
		}
	}
}

// way is what both kinds of journeys have in common: places, links, translations.
func way(j *Journey, d Direction) string {
	var b strings.Builder
	for _, h := range j.Hops {
		if h.Direction == d && (h.Event == In || h.Event == Out || h.Event == Delivered || h.Event == Translated) {
			fmt.Fprintf(&b, "%s %s %s", h.Event, h.Place, h.Link)
			if tr := h.Translation; tr != nil {
				fmt.Fprintf(&b, "%s to %s", tr.Kind, map[string]string{"destination": tr.After.Destination.String(), "source": tr.After.Source.Addr().String()}[tr.Kind])
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

// The translations of a journey are those that conntrack(8) lists.
func TestTranslationsAgreeWithConntrack(t *testing.T) {
	l := newLab(t)
	for _, c := range journeys() {
		if c.protocol == icmp || strings.Contains(c.to, ":") {
			continue
		}
		j := l.trace(c.from(l), c.to, c.port, c.protocol)
		listed, err := l.run(nil, "", "conntrack", "-L")
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range j.Hops {
			if h.Direction == There && h.Translation != nil {
				if h.Translation.Conntrack == "" || !hasConnection(listed, h.Translation.Conntrack) {
					t.Errorf("%s: %s: conntrack has no %q:\n%s", c.name, h.Words, h.Translation.Conntrack, listed)
				}
				if h.Place != "host" {
					t.Errorf("%s: translated in %s", c.name, h.Place)
				}
			}
		}
		if translated := strings.Contains(j.text(), "becomes"); translated != (c.name == "out" || c.name == "out-udp" || c.name == "published" || c.name == "hairpin" || c.name == "host-published") {
			t.Errorf("%s: translated: %v\n%s", c.name, translated, j.text())
		}
	}
}

// hasConnection looks for the two tuples in a line; between them stand flags.
func hasConnection(listed, tuples string) bool {
	half := strings.LastIndex(tuples, "src=")
	for line := range strings.Lines(listed) {
		i := strings.Index(line, strings.TrimSpace(tuples[:half]))
		if i >= 0 && strings.Contains(line[i+half-1:], tuples[half:]) {
			return true
		}
	}
	return false
}

// The JSON has the same fields whatever happens, and says what the text says.
func TestJSON(t *testing.T) {
	l := newLab(t)
	l.nft(nil, base("ip", "guard", "forward", "0", drop9))
	b, err := json.MarshalIndent(l.trace(l.box, "203.0.113.1", 80, tcp), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`"(netns|took_ns|port|handle)": \d+`).ReplaceAllString(string(b), `"$1": 0`)
	golden(t, "json", stable(text)+"\n")
}
