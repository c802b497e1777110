package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A sniffed packet is a line of sniff --json.
type sniffed struct {
	Direction, Text, Before, After string
	Places                         []struct{ Name, Role string }
}

// places is where it was seen: "container host".
func (s sniffed) places() string {
	var roles []string
	for _, p := range s.Places {
		roles = append(roles, p.Role)
	}
	return strings.Join(roles, " ")
}

// sniff runs sniff while traffic makes packets, until the number of them is there.
func (l *lab) sniff(count int, traffic func(), args ...string) (list []sniffed) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	c := l.command(ctx, append([]string{"sniff", "--json"}, args...)...)
	out, err := c.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	errs, err := c.StderrPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.host.do(c.Start); err != nil {
		l.t.Fatal(err)
	}
	said := bufio.NewScanner(errs)
	for said.Scan() && !strings.HasPrefix(said.Text(), "listening on ") {
		l.t.Log(said.Text())
	}
	traffic()
	lines := bufio.NewScanner(out)
	for len(list) < count && lines.Scan() {
		var s sniffed
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			l.t.Fatal(err)
		}
		list = append(list, s)
	}
	if err := c.Process.Signal(unix.SIGINT); err != nil {
		l.t.Error(err)
	}
	for said.Scan() {
		if strings.Contains(said.Text(), "dropped by kernel at") {
			l.t.Error(said.Text())
		}
	}
	if err := c.Wait(); err != nil {
		l.t.Errorf("sniff: %v", err)
	}
	return list
}

// Each packet is seen where it passes, and told in the form that it has there: on its
// way out with the host's address, on its way in from a published port; also of a
// connection that is refused, which conntrack forgets at once. What others send through
// the uplink is not the container's.
func TestSniff(t *testing.T) {
	l := newLab(t, require(t))
	c := l.run("web", "-p", "8080:80")
	l.run("other")
	web := c.on["bridge"].IPAddress
	l.internet.serve(t, internetAddress+":99")
	c.serve(t, ":80")
	ports := regexp.MustCompile(`\.\d{5}\b`)
	forms := func(list []sniffed) (lines []string) {
		for _, s := range list {
			text, _, _ := strings.Cut(s.Text, ",")
			line := s.Direction + " " + s.places() + " " + strings.TrimSuffix(text, ": Flags [S]")
			if s.Before != "" {
				line += " | " + s.Before + " | " + s.After
			}
			line = strings.NewReplacer(web, "WEB", hostAddress, "HOST", internetAddress, "NET").Replace(ports.ReplaceAllString(line, ".N"))
			lines = append(lines, line)
		}
		slices.Sort(lines) // the order is that of time, of which nothing is sure between two places
		return lines
	}
	for _, test := range []struct {
		name, filter string
		traffic      func()
		want         []string
	}{
		{"out", "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn and dst port 99", func() {
			l.must("exec", "other", "nc", "-w", "1", internetAddress, "99")
			l.must("exec", "web", "nc", "-w", "1", internetAddress, "99")
		}, []string{"out container host IP WEB.N > NET.99 | WEB.N > NET.99 | HOST.N > NET.99", "out uplink IP HOST.N > NET.99 | WEB.N > NET.99 | HOST.N > NET.99"}},
		{"refused", "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn and dst port 98", func() {
			_, _, _ = l.try("exec", "web", "nc", "-w", "1", internetAddress, "98") // it fails, as it should
		}, []string{"out container host IP WEB.N > NET.98 | WEB.N > NET.98 | HOST.N > NET.98", "out uplink IP HOST.N > NET.98 | WEB.N > NET.98 | HOST.N > NET.98"}},
		{"in", "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn and dst port 80", func() {
			if got := (question{from: l.internet, protocol: "tcp", to: addrPort(hostAddress, 8080)}).ask(patient); got == "" {
				t.Error("nobody answers at the published port")
			}
		}, []string{"in host container IP NET.N > WEB.80 | NET.N > HOST.8080 | NET.N > WEB.80", "in uplink IP NET.N > HOST.8080 | NET.N > HOST.8080 | NET.N > WEB.80"}},
	} {
		got := forms(l.sniff(len(test.want), test.traffic, "-n", "--uplink", "web", test.filter))
		if !slices.Equal(got, test.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", test.name, got, test.want)
		}
	}
}
