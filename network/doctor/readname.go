package doctor

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/names"
)

// A question is a DNS question that was sent, and the socket its answer comes to.
type question struct {
	server int // which of f.Names
	conn   net.Conn
	sent   time.Time
}

// query is a DNS question for the records of the kind.
func query(name string, kind dnsmessage.Type) ([]byte, error) {
	n, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 0x6d63, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: kind, Class: dnsmessage.ClassINET}},
	}
	return m.Pack()
}

// send sends a question from the namespace of the calling thread.
func send(to netip.Addr, name string, kind dnsmessage.Type) (net.Conn, error) {
	message, err := query(name, kind)
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("udp", netip.AddrPortFrom(to, names.Port).String())
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(message); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// receive waits for the answer, and closes the socket.
func receive(conn net.Conn, until time.Time) (m dnsmessage.Message, err error) {
	defer conn.Close() //nolint:errcheck // a datagram socket: nothing is lost with it
	if err := conn.SetReadDeadline(until); err != nil {
		return m, err
	}
	const most = 1500
	b := make([]byte, most)
	n, err := conn.Read(b)
	if err != nil {
		return m, err
	}
	return m, m.Unpack(b[:n])
}

// patience is how long a name server of ours, which is on this machine, is waited for;
// upstreamPatience the same of one that may be far away.
const (
	patience         = 300 * time.Millisecond
	upstreamPatience = 300 * time.Millisecond
)

// askNames asks the name server of each network for the container itself. It must run
// in the container's namespace; the answers are waited for at once, since they come
// within a millisecond.
func (f *Facts) askNames() {
	var sent []question
	for _, e := range f.Network.Endpoints {
		if e.Network.Driver == network.MacvlanDriver {
			continue
		}
		s := Server{Network: e.Network.Name, Address: e.Network.Gateway.Addr()}
		kind := dnsmessage.TypeA
		if !s.Address.IsValid() {
			s.Address, kind = e.Network.Gateway6.Addr(), dnsmessage.TypeAAAA
		}
		conn, err := send(s.Address, f.Network.Netns.Name+"."+e.Network.Name+".", kind)
		s.Err = err
		f.Names = append(f.Names, s)
		if err == nil {
			sent = append(sent, question{len(f.Names) - 1, conn, time.Now()})
		}
	}
	for _, q := range sent {
		s := &f.Names[q.server]
		m, err := receive(q.conn, q.sent.Add(patience))
		s.Err, s.Answered, s.Took = err, err == nil, time.Since(q.sent)
		if err == nil {
			s.judge(m, f.Network)
		} else {
			s.find(f.Host.Inode)
		}
	}
}

// find looks for the process of a server that does not answer, and what it does. It is in
// the namespace of the host: other hosts have networks of the same name.
func (s *Server) find(host uint64) {
	directories, _ := filepath.Glob("/proc/[1-9]*") // the pattern is well-formed
	for _, directory := range directories {
		pid, err := strconv.Atoi(filepath.Base(directory))
		if err != nil {
			continue
		}
		text, err := network.CommandLine(pid)
		words := strings.Split(string(text), "\x00")
		if err != nil || len(words) < 5 || filepath.Base(words[0]) != "minictr-dns" || words[1] != "serve" || words[4] != s.Network {
			continue
		}
		if inode, err := network.Inode(directory + "/ns/net"); err != nil || inode != host {
			continue
		}
		stat, err := os.ReadFile(directory + "/stat")
		if err == nil {
			_, rest, _ := strings.Cut(string(stat), ") ")
			s.Pid, s.Stopped = pid, strings.HasPrefix(rest, "T")
		}
		return
	}
}

// judge compares the answer with what the container's addresses are.
func (s *Server) judge(m dnsmessage.Message, cfg *network.Config) {
	e := cfg.Endpoint(s.Network)
	for _, a := range m.Answers {
		var said netip.Addr
		switch body := a.Body.(type) {
		case *dnsmessage.AResource:
			said = netip.AddrFrom4(body.A)
		case *dnsmessage.AAAAResource:
			said = netip.AddrFrom16(body.AAAA)
		default:
			continue
		}
		if said != e.Interface.Address.Addr() && said != e.Interface.Address6.Addr() {
			s.Wrong = said.String()
		}
		return
	}
	s.Wrong = "nothing"
}

// askUpstream asks the resolvers that the name server asks, from where it does so; the
// answers are collected at the end. One that cannot even be asked has its error.
func askUpstream(f *Facts, r Request) []question {
	var servers []netip.Addr
	if f.Network != nil {
		servers = f.servers(r)
	}
	switch {
	case f.Name != "" && (f.Network == nil || len(f.Network.NameServers()) == 0):
		return nil
	case servers == nil && r.NoUpstream:
		f.Upstream.Left = true
		return nil
	case servers == nil:
		var host network.ResolvRequest
		if err := host.ReadResolvConf("/"); err != nil {
			f.Upstream.Err = err
			return nil
		}
		servers = network.ParseResolvConf(host.Host).Servers
	}
	f.Upstream.Servers = servers[:min(len(servers), 3)]
	var sent []question
	for _, a := range f.Upstream.Servers {
		conn, err := send(a, ".", dnsmessage.TypeNS)
		if err != nil {
			f.Upstream.Err = err
			continue
		}
		f.Upstream.Asked = true
		sent = append(sent, question{conn: conn, sent: time.Now()})
	}
	return sent
}

// servers are the container's own resolvers, as its record has them.
func (f *Facts) servers(r Request) []netip.Addr {
	for _, e := range f.Network.Endpoints {
		record, err := names.Read(filepath.Join(names.Directory(r.Runroot, e.Network.Name), e.Lease.Owner))
		if err == nil && len(record.Servers) > 0 {
			f.Upstream.Recorded = !slices.Equal(record.Servers, f.Network.Servers)
			f.Upstream.Own = true
			return record.Servers
		}
	}
	return nil
}

// collect waits for the first answer of a resolver.
func (f *Facts) collect(sent []question) {
	for _, q := range sent {
		if f.Upstream.Answered {
			_ = q.conn.Close() // nobody waits for it any more
			continue
		}
		if _, err := receive(q.conn, q.sent.Add(upstreamPatience)); err != nil {
			f.Upstream.Err = err
			continue
		}
		f.Upstream.Answered = true
	}
}

// read reads what the container's resolv.conf(5) and hosts(5) say.
func (r *Resolv) read(p Patient) {
	file, err := openIn(p.Pid, "etc/resolv.conf", unix.O_RDONLY)
	if err != nil {
		r.Missing, r.Err = errors.Is(err, unix.ENOENT), err
	} else {
		text, err := readSome(file)
		r.Err, r.Servers = err, network.ParseResolvConf(text).Servers
	}
	if p.Network == nil {
		return
	}
	r.Want, r.Custom = p.Network.NameServers(), p.Resolv
	if file, err = openIn(p.Pid, "etc/hosts", unix.O_RDONLY); err != nil { // without one nothing is hidden
		return
	}
	text, err := readSome(file)
	if err == nil {
		r.Hosts = wrongHosts(string(text), p)
	}
}

// wrongHosts are the lines that give a name of the container's own an address that it
// does not have, and are the first to do so.
func wrongHosts(text string, p Patient) (wrong []string) {
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		said, _, _ := strings.Cut(line, "#")
		words := strings.Fields(said)
		if len(words) < 2 {
			continue
		}
		a, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		for _, name := range words[1:] {
			key := name + map[bool]string{true: " 4"}[a.Unmap().Is4()]
			if !slices.Contains(p.Hostnames, name) || seen[key] {
				continue
			}
			seen[key] = true
			if !a.IsLoopback() && !ownAddress(p.Network, a) {
				wrong = append(wrong, line)
			}
		}
	}
	return slices.Compact(wrong)
}

func ownAddress(cfg *network.Config, a netip.Addr) bool {
	return slices.ContainsFunc(cfg.Endpoints, func(e network.Endpoint) bool {
		return e.Interface.Address.Addr() == a || e.Interface.Address6.Addr() == a
	})
}
