package pcapfilter

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/minictr/minictr/network/packet/frames"
	"github.com/minictr/minictr/test/kernel"
)

// population is the packets that filters choose from: one of each kind, and many that
// differ in what filters ask for.
func population(r *rand.Rand) (list [][]byte) {
	for _, f := range frames.All() {
		list = append(list, f.Bytes)
	}
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	port := func() uint16 { return []uint16{22, 53, 80, 443, 8080, 4000}[r.IntN(6)] }
	for range 120 {
		data := make([]byte, r.IntN(60))
		var protocol byte = 6
		body := frames.TCP(port(), port(), r.Uint32(), r.Uint32(), byte(r.IntN(64)), bytes.Repeat([]byte{1}, 4*r.IntN(3)), data)
		switch r.IntN(4) {
		case 0:
			protocol, body = 17, frames.UDP(port(), port(), data)
		case 1:
			protocol, body = []byte{1, 58}[r.IntN(2)], frames.ICMP([]byte{0, 3, 8, 11, 128, 135}[r.IntN(6)], byte(r.IntN(3)), r.Uint32(), data)
		case 2:
			protocol = []byte{6, 6, 132, 47, 51}[r.IntN(5)]
		}
		kind, inner := uint16(0x86dd), []byte(nil)
		if r.IntN(3) > 0 {
			kind, inner = 0x0800, frames.IPv4(protocol, pick("10.0.0.1", "10.0.0.2", "10.1.2.3", "192.168.1.9"), pick("10.0.0.1", "10.0.0.2", "224.0.0.1", "8.8.8.8"), body)
			if r.IntN(6) == 0 {
				inner[7] = byte(r.IntN(3)) // a fragment
			}
		} else {
			inner = frames.IPv6(protocol, pick("fd00::1", "fd00::2", "fe80::1"), pick("fd00::1", "ff02::1", "2001:db8::7"), body)
		}
		frame := frames.Ether(kind, inner)
		if r.IntN(6) == 0 {
			frame = frames.Ether(0x8100, frames.U16(uint16(r.IntN(3))), frames.U16(kind), inner)
		}
		if r.IntN(8) == 0 {
			copy(frame, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		}
		list = append(list, frame)
	}
	return list
}

// An author writes expressions at random.
type author struct{ *rand.Rand }

func (a author) pick(s ...string) string { return s[a.IntN(len(s))] }

func (a author) expression(depth int) string {
	if depth == 0 || a.IntN(4) == 0 {
		return a.primitive()
	}
	switch a.IntN(6) {
	case 0:
		return "not " + a.factor(depth-1)
	case 1:
		return "(" + a.expression(depth-1) + ")"
	}
	return a.expression(depth-1) + a.pick(" and ", " or ", " && ", " || ") + a.factor(depth-1)
}

func (a author) factor(depth int) string {
	if depth == 0 {
		return a.primitive()
	}
	return a.pick("", "not ", "! ") + "(" + a.expression(depth-1) + ")"
}

func (a author) primitive() string {
	way := a.pick("", "", "src ", "dst ", "src or dst ", "src and dst ")
	switch a.IntN(12) {
	case 0, 1:
		return a.pick("ip", "ip6", "arp", "rarp", "tcp", "udp", "icmp", "icmp6", "sctp", "igmp", "ah", "esp", "multicast", "broadcast", "ether multicast", "ip multicast", "ip6 multicast")
	case 2:
		return a.pick("", "ip ", "arp ") + way + "host " + a.pick("10.0.0.1", "10.0.0.2", "8.8.8.8", "(10.0.0.1 or 8.8.8.8)", "10.0.0.1 or 10.0.0.2 and not 8.8.8.8")
	case 3:
		return a.pick("", "ip6 ") + way + "host " + a.pick("fd00::1", "ff02::1", "fe80::a")
	case 4:
		return way + "net " + a.pick("10", "10.0.0.0/8", "10.0", "192.168.0.0/16", "fd00::/16", "10.0.0.0 mask 255.255.255.0", "0.0.0.0/0", "fe80::/64", "10.0.0.0/30")
	case 5, 6:
		return a.pick("", "tcp ", "udp ", "sctp ") + way + "port " + a.pick("80", "53", "443", "(80 or 443)", "80 or 53", "domain")
	case 7:
		return a.pick("", "tcp ") + way + "portrange " + a.pick("50-90", "80", "400-8080", "90-50")
	case 8:
		return a.pick("ip proto 6", "ip6 proto 17", `proto \tcp`, `ether proto \arp`, "ether proto 0x86dd", "proto 47", "less 60", "greater 90", "ether host 02:00:00:00:00:0a", "ether dst 2:0:0:0:0:b", "ether src 02:00:00:00:00:0b")
	case 9:
		return a.pick("vlan", "vlan 1", "vlan 2")
	}
	return a.arithmetic(2) + a.pick(" = ", " != ", " > ", " < ", " >= ", " <= ", "==") + a.arithmetic(2)
}

func (a author) arithmetic(depth int) string {
	if depth > 0 && a.IntN(2) == 0 {
		x, y := a.arithmetic(depth-1), a.arithmetic(depth-1)
		switch op := a.pick("+", "-", "*", "&", "|", "^", "/", "%", "<<", ">>"); op {
		case "/", "%", "<<", ">>":
			return "((" + x + ")" + op + a.pick("1", "2", "3") + ")"
		case "^": // in tcpdump's grammar it takes all that stands to its right
			return "((" + x + ") ^ (" + y + "))"
		default:
			return a.pick("("+x+" "+op+" "+y+")", x+" "+op+" "+y)
		}
	}
	return a.pick("len", "1", "2", "0x10", "443", "tcp[13]", "tcp[tcpflags] & (tcp-syn|tcp-ack)", "ip[8]", "ip[0]", "ip[2:2]", "ip6[4:2]", "ether[0]", "ether[12:2]", "udp[4:2]",
		"icmp[icmptype]", "icmp-echo", "icmp6[0]", "icmp6[icmp6type]", "arp[6:2]", "tcp[(tcp[12] & 0xf0) >> 2]", "ip[(ip[0]&0xf)*2]", "tcp[0:2]", "ip[12:4]")
}

// writePcap writes what tcpdump reads.
func writePcap(t *testing.T, list [][]byte) string {
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0)
	for i, p := range list {
		for _, n := range []int{i, 0, len(p), len(p)} {
			b = binary.LittleEndian.AppendUint32(b, uint32(n))
		}
		b = append(b, p...)
	}
	name := filepath.Join(t.TempDir(), "packets")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// tcpdump gives the numbers of the packets that it selects; they are their seconds.
func tcpdump(file, expression string) (selected []int, refused string) {
	var stderr bytes.Buffer
	c := exec.Command("tcpdump", "-O", "-r", file, "-w", "-", "--", expression)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return nil, stderr.String()
	}
	for b := out[24:]; len(b) >= 16; {
		selected = append(selected, int(binary.LittleEndian.Uint32(b)))
		b = b[16+binary.LittleEndian.Uint32(b[8:]):]
	}
	return selected, ""
}

func selects(t *testing.T, list [][]byte, expression string) (selected []int) {
	program, err := Compile(expression, nil)
	if err != nil {
		t.Errorf("%v", err)
		return nil
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Errorf("%s: %v", expression, err)
		return nil
	}
	for i, p := range list {
		n, err := vm.Run(p)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
		}
		if n > 0 {
			selected = append(selected, i)
		}
	}
	return selected
}

// Of the same packets, tcpdump selects the same.
func TestAsTcpdump(t *testing.T) {
	kernel.RequireCommand(t, "tcpdump")
	const seed, expressions = 5, 400
	r := rand.New(rand.NewPCG(seed, seed))
	list := population(r)
	file := writePcap(t, list)
	compared, chosen := 0, 0
	for range expressions {
		expression := author{r}.expression(2)
		want, refused := tcpdump(file, expression)
		if strings.Contains(refused, "expression rejects all packets") {
			want = nil
		} else if refused != "" {
			t.Logf("tcpdump refuses %s: %s", expression, strings.TrimSpace(refused))
			continue
		}
		compared, chosen = compared+1, chosen+len(want)
		if got := selects(t, list, expression); !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %v\nwant %v", expression, got, want)
		}
	}
	t.Logf("%d expressions compared, which chose %d of %d packets", compared, chosen, compared*len(list))
	if compared < expressions*9/10 || chosen < compared*10 {
		t.Error("that is too little to say anything")
	}
}
