package pcapfilter

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/packet/frames"
)

// named tells which of the frames pass.
func named(t *testing.T, expression string, resolve Resolve) (names []string) {
	t.Helper()
	program, err := Compile(expression, resolve)
	if err != nil {
		t.Errorf("%v", err)
		return nil
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range frames.All() {
		n, err := vm.Run(f.Bytes)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
		}
		if n > 0 {
			names = append(names, f.Name)
		}
	}
	return names
}

// What tcpdump does not take, or what reads like a lesson.
func TestFilter(t *testing.T) {
	resolve := func(name string) ([]netip.Addr, error) {
		if name != "web" {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("fd00::b")}, nil
	}
	for expression, want := range map[string][]string{
		"tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn": {"syn"},
		"tcp[13] = 2 and host 10.0.0.1":                {"syn"},
		"web":                                          {"reset", "padded", "neighbor advertisement"},
		"ip host web":                                  {"reset", "padded"},
		"10.0.0.3":                                     {"reset", "padded"},
		"src 10.0.0.2 and tcp":                         {"syn ack"},
		"dst 224.0.0.0/3 or dst ff02::1":               {"dhcp", "router advertisement"},
		"tcp port 80 or udp port 53 and dst port 53":   {"dns query"},
		"icmp[icmptype] = icmp-echo":                   {"echo request"},
		"icmp6[icmp6type] = icmp6-neighborsolicit":     {"neighbor solicitation"},
		"vlan and udp":                                 {"vlan"},
		"-1 = 4294967295 and arp and less 20":          {"arp cut"},
	} {
		if diff := cmp.Diff(want, named(t, expression, resolve)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", expression, diff)
		}
	}
	if got := named(t, " ", nil); len(got) != len(frames.All()) {
		t.Errorf("the empty filter takes %v", got)
	}
}

func TestFilterRefuses(t *testing.T) {
	for expression, want := range map[string]string{
		"nosuch":                        `filter "nosuch": at "nosuch": not the address of a host`,
		"port":                          `filter "port": at the end: a value is missing`,
		"port 65536":                    `filter "port 65536": at "65536": not a port`,
		"port nosuchport":               `filter "port nosuchport": at "nosuchport": no port of that name is in /etc/services`,
		"port 1-2":                      `filter "port 1-2": at "-2": this was not expected here`,
		"portrange 1-x":                 `filter "portrange 1-x": at "1-x": not a range of ports such as 8000-8100`,
		"net 10.0.0.1/8":                `filter "net 10.0.0.1/8": at "10.0.0.1/8": bits of a host are set: the network is 10.0.0.0/8`,
		"net 10.0.0.0/33":               `filter "net 10.0.0.0/33": at "33": a prefix is at most /32 long`,
		"net 10.0.0.0 mask 255.0.255.0": `filter "net 10.0.0.0 mask 255.0.255.0": at "255.0.255.0": a mask with holes`,
		"(tcp":                          `filter "(tcp": at the end: a parenthesis is not closed`,
		"tcp)":                          `filter "tcp)": at ")": this was not expected here`,
		"tcp and":                       `filter "tcp and": at the end: it ends too early`,
		"or tcp":                        `filter "or tcp": at "or tcp": this was not expected here`,
		"80":                            `filter "80": at "80": a number alone says nothing: port, net, proto or the like is missing before it`,
		"icmp port 80":                  `filter "icmp port 80": at "80": icmp has no ports: tcp, udp and sctp have`,
		"ip host fd00::1":               `filter "ip host fd00::1": at "fd00::1": ip has no such addresses`,
		"tcp[0":                         `filter "tcp[0": at the end: a bracket is not closed`,
		"tcp[0:3] = 1":                  `filter "tcp[0:3] = 1": at "3] = 1": a size is 1, 2 or 4`,
		"tcp[0] = ":                     `filter "tcp[0] = ": at the end: neither a number nor a value such as tcp[13]`,
		"tcp[99999] = 1":                `filter "tcp[99999] = 1": at "tcp[99999] = 1": no packet is so long`,
		"len / 0 = 1":                   `filter "len / 0 = 1": at "/ 0 = 1": a division by zero`,
		"len << 32 = 1":                 `filter "len << 32 = 1": at "<< 32 = 1": a shift by more than 31 bits`,
		"ether port 80":                 `filter "ether port 80": at "80": ether has no ports: tcp, udp and sctp have`,
		"ip broadcast":                  `filter "ip broadcast": at "ip broadcast": which addresses of IP are broadcast depends on the network: write dst host and the address`,
		"inbound":                       `filter "inbound": at "inbound": inbound: the list shows each direction; name the source or the destination`,
		"vlan 4096":                     `filter "vlan 4096": at "4096": not a number of 12 bits`,
		"tcp\x00":                       `filter "tcp\x00": at "\x00": this character means nothing here`,
	} {
		if program, err := Compile(expression, nil); err == nil || err.Error() != want || program != nil {
			t.Errorf("%s:\ngot  %v\nwant %s", expression, err, want)
		}
	}
	for _, deep := range []string{strings.Repeat("(", 5000), strings.Repeat("not ", 5000), strings.Repeat("-", 5000) + "1 = 1", "host " + strings.Repeat("(", 5000)} {
		if _, err := Compile(deep, nil); err == nil {
			t.Errorf("%.20q… is not too deep", deep)
		}
	}
	if _, err := Compile("port 1"+strings.Repeat(" or 1", 5000), nil); err == nil || !strings.Contains(err.Error(), errTooLong.Error()) {
		t.Errorf("a program that no kernel takes: %v", err)
	}
}

// Jumps farther than a byte holds lead where they should, and the kernel takes it all.
func TestLongFilter(t *testing.T) {
	for _, expression := range []string{"host 10.9.9.9" + strings.Repeat(" or 10.9.9.9", 100) + " or host 10.0.0.3", "not (host 10.0.0.1" + strings.Repeat(" or 10.9.9.9", 100) + ") and ip"} {
		program, err := Compile(expression, nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := bpf.Assemble(program)
		if err != nil {
			t.Fatal(err)
		}
		attach(t, raw)
	}
	want := []string{"reset", "padded"}
	if got := named(t, "host 10.9.9.9"+strings.Repeat(" or 10.9.9.9", 100)+" or host 10.0.0.3", nil); !cmp.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// attach gives the program to a socket, as anybody may.
func attach(t *testing.T, raw []bpf.RawInstruction) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		t.Errorf("the kernel refuses %d instructions: %v", len(raw), err)
	}
}

// An expression is a program or an error, and a program is one that the kernel would
// take and that ends on any packet.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{"tcp port 80 and not host 10.0.0.1", "(src net 10.0.0.0/8 or dst port 53) && udp", "portrange 1-2", "vlan 5 and tcp[(tcp[12]&0xf0)>>2] = 71", "not", "(((", "port 80 or 443", "ether host 1:2:3:4:5:6", "fd00::/8", "less 5", "-1 + -len = 4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		program, err := Compile(s, func(string) ([]netip.Addr, error) { return nil, errors.New("no names") })
		if (program == nil) != (err != nil) {
			t.Fatalf("%q: both or neither: %v", s, err)
		}
		if err != nil {
			return
		}
		if _, err := bpf.Assemble(program); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		for _, frame := range frames.All() {
			if _, err := vm.Run(frame.Bytes); err != nil {
				t.Fatalf("%q: %v", s, err)
			}
		}
	})
}
