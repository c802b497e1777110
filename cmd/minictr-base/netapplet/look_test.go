package netapplet

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/test/kernel"
)

// fields makes of a table its words, for the width of columns is not the point.
func fields(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		list = append(list, strings.Join(strings.Fields(line), " "))
	}
	slices.Sort(list)
	return list
}

func TestSsShowsWhatSsShows(t *testing.T) {
	a, b := newPair(t)
	kernel.RequireCommand(t, "ss")
	b.start("", "nc", "-kl", "8000")
	b.start("", "nc", "-kl", "-4", "127.0.0.1", "8001")
	b.start("", "nc", "-kl", "fd00:1::2", "8002")
	b.start("", "nc", "-klu", "-4", "5353")
	b.listens("8000")
	b.listens("8001")
	b.listens("8002")
	connected, err := dialFrom(t, a, "10.0.1.2:8000")
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	for _, args := range []string{"-tlnH", "-tanH", "-tlnpH", "-ulnH", "-tnH", "-4tlnH", "-6tlnH", "-tulnpH"} {
		kernel.Eventually(t, 5*time.Second, func() error {
			want, got := b.real("ss", args), b.run("ss", args)
			if diff := cmp.Diff(fields(want.out), fields(got.out)); diff != "" || got.code != 0 {
				return fmt.Errorf("ss %s: -ss +ours: %s\n%s", args, diff, got.err)
			}
			return nil
		})
	}
	if got := b.ok("ss", "-tln"); !strings.HasPrefix(got, "State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n") {
		t.Errorf("the head: %s", got)
	}
	if r := b.run("ss", "-s"); r.code != 0 || !strings.Contains(r.out, "TCP:   4 (") {
		t.Errorf("-s: %+v", r)
	}
}

func dialFrom(t *testing.T, h *host, address string) (conn net.Conn, err error) {
	fd := -1
	h.Do(t, func() { fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) })
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), address)
	defer file.Close()
	to := netip.MustParseAddrPort(address)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		return nil, err
	}
	return net.FileConn(file)
}

// sorted are the lines in an order of their own: that of IPv6 addresses in procfs is a hash's.
func sorted(text string) []string { return slices.Sorted(strings.Lines(text)) }

// net-tools print addresses, not names, with -n.
func TestClassicAgreesWithNetTools(t *testing.T) {
	a, _ := newPair(t)
	kernel.RequireCommand(t, "arp", "route", "ifconfig", "netstat")
	a.ok("route", "add", "default", "gw", "10.0.1.2")
	a.ok("route", "add", "-net", "10.77.0.0", "netmask", "255.255.0.0", "gw", "10.0.1.2", "metric", "5")
	a.ok("route", "add", "-host", "10.78.0.1", "dev", "eth0")
	a.ok("arp", "-s", "10.0.1.9", "02:00:00:00:00:09")
	a.ok("ip", "neigh", "add", "10.0.1.8", "lladdr", "02:00:00:00:00:08", "dev", "eth0", "nud", "stale")
	a.start("", "nc", "-kl", "8000")
	a.start("", "nc", "-klu", "5353")
	a.listens("8000")
	for _, command := range []string{
		"arp -n", "arp -an", "arp -n 10.0.1.9", "arp -n -i eth0", "route -n", "ifconfig", "ifconfig eth0", "ifconfig -a",
		"netstat -tln", "netstat -tulpn", "netstat -tan", "netstat -rn",
	} {
		args := strings.Fields(command)
		kernel.Eventually(t, 5*time.Second, func() error {
			want, got := a.real(args[0], args[1:]...), a.run(args[0], args[1:]...)
			if diff := cmp.Diff(sorted(want.out), sorted(got.out)); diff != "" || want.code != got.code {
				return fmt.Errorf("%s: exit codes %d and %d: -net-tools +ours: %s\n%s", command, want.code, got.code, diff, got.err)
			}
			return nil
		})
	}
	a.ok("ifconfig", "eth0", "10.9.9.1", "netmask", "255.255.255.0", "mtu", "1400")
	if got := a.ok("ip", "addr", "show", "eth0"); !strings.Contains(got, "inet 10.9.9.1/24 brd 10.9.9.255") || !strings.Contains(got, "mtu 1400") {
		t.Errorf("after ifconfig: %s", got)
	}
	a.ok("arp", "-d", "10.0.1.9")
	if r := a.run("arp", "-n", "10.0.1.9"); r.out != "10.0.1.9 (10.0.1.9) -- no entry\n" {
		t.Errorf("after arp -d: %+v", r)
	}
	a.ok("route", "del", "-net", "10.77.0.0", "netmask", "255.255.0.0")
	if got := a.ok("route", "-n"); strings.Contains(got, "10.77.0.0") {
		t.Errorf("after route del: %s", got)
	}
}

func TestBrctl(t *testing.T) {
	a, _ := newPair(t)
	a.ok("brctl", "addbr", "br0")
	a.ok("ip", "link", "set", "br0", "address", "02:00:00:00:00:99")
	a.ok("brctl", "addif", "br0", "eth0")
	a.ok("brctl", "stp", "br0", "on")
	want := "bridge name\tbridge id\t\tSTP enabled\tinterfaces\nbr0\t\t8000.020000000099\tyes\t\teth0\n"
	if got := a.ok("brctl", "show"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	a.ok("brctl", "delif", "br0", "eth0")
	a.ok("brctl", "delbr", "br0")
	if r := a.run("brctl", "show", "br0"); r.code != 1 || r.err != "brctl: br0: no such interface\n" {
		t.Errorf("after delbr: %+v", r)
	}
}

func TestNslookup(t *testing.T) {
	a, b := newPair(t)
	serveNames(t, b)
	for args, want := range map[string]string{
		"-type=a www.example.com":     "Name:\twww.example.com\nAddress: 192.0.2.1\n",
		"www.example.com":             "Name:\twww.example.com\nAddress: 192.0.2.1\nName:\twww.example.com\nAddress: 2001:db8::1\n",
		"-type=TXT www.example.com":   "www.example.com\ttext = \"one two\" \"three\"\n",
		"-type=mx example.com":        "example.com\tmail exchanger = 10 mail.example.com.\n",
		"-type=cname example.com":     "example.com\tcanonical name = www.example.com.\n",
		"192.0.2.1":                   "1.2.0.192.in-addr.arpa\tname = www.example.com.\n",
		"2001:db8::1":                 "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa\tname = www.example.com.\n",
		"-vc -type=a www.example.com": "Name:\twww.example.com\nAddress: 192.0.2.1\n",
		"-type=ns long.example.com":   strings.Repeat("long.example.com\tnameserver = "+strings.Repeat("n", 60)+".example.com.\n", 60), // by TCP
	} {
		r := a.run("nslookup", append(strings.Fields(args), "10.0.1.2")...)
		if want = "Server:\t\t10.0.1.2\nAddress:\t10.0.1.2#53\n\n" + want; r.code != 0 || r.out != want {
			t.Errorf("nslookup %s: exit code %d %s\n%s", args, r.code, r.err, cmp.Diff(want, r.out))
		}
	}
	for args, want := range map[string]string{
		"-type=a nosuch.example.com 10.0.1.2": "** server can't find nosuch.example.com: NXDOMAIN\n",
		"-type=soa www.example.com 10.0.1.2":  "*** Can't find www.example.com: No answer\n",
	} {
		if r := a.run("nslookup", strings.Fields(args)...); r.code != 1 || !strings.HasSuffix(r.out, want) {
			t.Errorf("nslookup %s: %+v", args, r)
		}
	}
	if r := a.run("nslookup", "-timeout=0.1", "x", "10.0.1.1"); r.code != 1 || r.err != "nslookup: ask 10.0.1.1 for x: connection refused\nnslookup: no name server answered\n" {
		t.Errorf("nobody there: %+v", r)
	}
}

// serveNames is a name server on port 53 of the host, by UDP and TCP.
func serveNames(t *testing.T, h *host) {
	t.Helper()
	var packets net.PacketConn
	var listener net.Listener
	h.Do(t, func() {
		var err error
		if packets, err = net.ListenPacket("udp", ":53"); err != nil {
			t.Fatal(err)
		}
		if listener, err = net.Listen("tcp", ":53"); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() {
		packets.Close()
		listener.Close()
	})
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := packets.ReadFrom(b)
			if err != nil {
				return
			}
			packets.WriteTo(namesAnswer(b[:n], 1232), from)
		}
	}()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 4096)
			n, _ := c.Read(b)
			answer := namesAnswer(b[2:n], 65535)
			c.Write(append([]byte{byte(len(answer) >> 8), byte(len(answer))}, answer...))
			c.Close()
		}
	}()
}

// namesAnswer answers a question from a table; what is longer than fits is cut.
func namesAnswer(question []byte, fits int) []byte {
	var q dnsmessage.Message
	if err := q.Unpack(question); err != nil {
		return nil
	}
	name := dnsmessage.MustNewName
	www, exampleCom := "www.example.com.", "example.com."
	var long []dnsmessage.ResourceBody
	for range 60 {
		long = append(long, &dnsmessage.NSResource{NS: name(strings.Repeat("n", 60) + ".example.com.")})
	}
	known := map[string]map[dnsmessage.Type][]dnsmessage.ResourceBody{
		www: {
			dnsmessage.TypeA:    {&dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}},
			dnsmessage.TypeAAAA: {&dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 1, 0xd, 0xb8, 15: 1}}},
			dnsmessage.TypeTXT:  {&dnsmessage.TXTResource{TXT: []string{"one two", "three"}}},
		},
		exampleCom: {
			dnsmessage.TypeMX:    {&dnsmessage.MXResource{Pref: 10, MX: name("mail.example.com.")}},
			dnsmessage.TypeCNAME: {&dnsmessage.CNAMEResource{CNAME: name(www)}},
		},
		"long.example.com.":       {dnsmessage.TypeNS: long},
		"1.2.0.192.in-addr.arpa.": {dnsmessage.TypePTR: {&dnsmessage.PTRResource{PTR: name(www)}}},
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.": {dnsmessage.TypePTR: {&dnsmessage.PTRResource{PTR: name(www)}}},
	}
	a := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, Authoritative: true, RecursionDesired: true}, Questions: q.Questions}
	records, ok := known[q.Questions[0].Name.String()]
	if !ok {
		a.RCode = dnsmessage.RCodeNameError
	}
	for _, body := range records[q.Questions[0].Type] {
		a.Answers = append(a.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 1}, Body: body})
	}
	packed, _ := a.Pack()
	if len(packed) > fits {
		a.Answers, a.Truncated = nil, true
		packed, _ = a.Pack()
	}
	return packed
}

// What is sniffed of a known exchange is what was exchanged.
func TestSniff(t *testing.T) {
	a, b := newPair(t)
	b.start("", "httpd", "-q")
	b.listens("80")
	a.ok("ping", "-c", "1", "fd00:1::2")
	capture := t.TempDir() + "/pcap"
	writer := a.start("", "sniff", "-i", "eth0", "-w", capture)
	printer := a.start("", "sniff", "-t", "-i", "any", "-c", "4", "icmp or arp")
	writer.until("listening on eth0, link-type EN10MB (Ethernet)")
	printer.until("listening on any, link-type LINUX_SLL")
	a.ok("ip", "neigh", "flush", "dev", "eth0")
	a.ok("ping", "-c", "1", "10.0.1.2")
	a.ok("wget", "-qO-", "10.0.1.2/path")
	mac := strings.Fields(b.ok("ip", "-br", "link", "show", "eth0"))[2]

	got := printer.wait()
	want := []string{
		"eth0 Out ARP, Request who-has 10.0.1.2 tell 10.0.1.1, length 28",
		"eth0 In  ARP, Reply 10.0.1.2 is-at " + mac + ", length 28",
		"eth0 Out IP 10.0.1.1 > 10.0.1.2: ICMP echo request, id 0, seq 1, length 64",
		"eth0 In  IP 10.0.1.2 > 10.0.1.1: ICMP echo reply, id 0, seq 1, length 64",
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(withoutID(got.out)), "\n")); diff != "" || got.code != 0 {
		t.Errorf("exit code %d, %s\n%s", got.code, got.err, diff)
	}
	if !strings.Contains(got.err, "4 packets captured\n0 packets dropped by kernel\n") {
		t.Errorf("its end: %q", got.err)
	}
	if r := writer.signal(syscall.SIGINT); r.code != 0 {
		t.Errorf("the writer: %+v", r)
	}
	tcp := a.ok("sniff", "-t", "-r", capture, "tcp and host 10.0.1.2 and port 80")
	for _, part := range []string{"Flags [S], seq ", "Flags [S.], seq ", ", ack 1, win ", "Flags [P.], seq 1:", ": HTTP: GET /path HTTP/1.1", ": HTTP: HTTP/1.1 200 OK", "Flags [F.]"} {
		if !strings.Contains(tcp, part) {
			t.Errorf("no %q in\n%s", part, tcp)
		}
	}
	if r := a.run("sniff", "-i", "nosuch"); r.code != 1 || !strings.Contains(r.err, "nosuch: no such interface") {
		t.Errorf("%+v", r)
	}
}

var identifier = regexp.MustCompile(`id [0-9]+`)

func withoutID(s string) string { return identifier.ReplaceAllString(s, "id 0") }
