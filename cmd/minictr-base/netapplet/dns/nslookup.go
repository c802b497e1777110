// Package dns is the applet nslookup: it asks a name server, shows which one, and
// what it said. It speaks DNS itself instead of asking the system's resolver, so
// that what is shown is what was on the wire.
package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/flags"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/neterr"
	"github.com/minictr/minictr/network/packet"
)

// Applet is nslookup.
func Applet() applet.Applet {
	return applet.Applet{
		Name:  "nslookup",
		Usage: "[-type=A|AAAA|CNAME|MX|NS|PTR|SOA|SRV|TXT|ANY] [-port=PORT] [-timeout=SECONDS] [-vc] [-debug] NAME|ADDRESS [SERVER]",
		Short: "ask a name server",
		Run:   run,
	}
}

// kinds are the records that can be asked for.
var kinds = map[string]dnsmessage.Type{
	"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "CNAME": dnsmessage.TypeCNAME, "MX": dnsmessage.TypeMX, "NS": dnsmessage.TypeNS,
	"PTR": dnsmessage.TypePTR, "SOA": dnsmessage.TypeSOA, "SRV": dnsmessage.TypeSRV, "TXT": dnsmessage.TypeTXT, "ANY": dnsmessage.TypeALL,
}

// A lookup is one run of nslookup.
type lookup struct {
	*applet.Call
	client
	name   string
	kinds  []dnsmessage.Type
	debug  bool
	config config
}

func run(c *applet.Call) error {
	l := &lookup{Call: c, client: client{port: "53", timeout: defaultTimeout}}
	if err := l.options(); err != nil {
		return err
	}
	server, answers, err := l.ask()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "Server:\t\t%s\nAddress:\t%s#%s\n\n", server, server, l.port)
	return l.show(answers)
}

// options accepts nslookup's one-dash long options beside the usual two.
func (l *lookup) options() error {
	for i, arg := range l.Args {
		if strings.HasPrefix(arg, "-") && len(arg) > 2 && arg[1] != '-' {
			l.Args[i] = "-" + arg
		}
	}
	kind := ""
	set := flags.New(l.Call)
	set.Text(&kind, "type", "t")
	set.StringVar(&kind, "querytype", "", "")
	set.StringVar(&kind, "query", "", "")
	set.Text(&l.port, "port", "p")
	set.Seconds(&l.timeout, "timeout", "w")
	set.On(&l.tcp, "vc", "T")
	set.On(&l.debug, "debug", "d")
	if err := set.Parse(l.Call); err != nil {
		return err
	}
	if set.NArg() != 1 && set.NArg() != 2 {
		return applet.UsageError("a name is needed")
	}
	l.name = set.Arg(0)
	if _, err := flags.Port(l.port); err != nil {
		return err
	}
	l.kinds = []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA}
	if a, err := netip.ParseAddr(l.name); err == nil && kind == "" {
		l.name, l.kinds = reverse(a), []dnsmessage.Type{dnsmessage.TypePTR}
	}
	if kind != "" {
		k, ok := kinds[strings.ToUpper(kind)]
		if !ok {
			return applet.UsageError("unknown type " + kind)
		}
		l.kinds = []dnsmessage.Type{k}
	}
	return l.servers(set.Arg(1))
}

// servers are the one that was named, or those of the system.
func (l *lookup) servers(named string) error {
	var err error
	if l.config, err = readConfig("/etc/resolv.conf"); err != nil && named == "" {
		return err
	}
	if named != "" {
		address, err := resolveServer(named)
		if err != nil {
			return err
		}
		l.config.servers = []netip.Addr{address}
	}
	return nil
}

// ask sends the questions for each name that the search list makes of the one
// given, until one exists, to the first server that answers.
func (l *lookup) ask() (server netip.Addr, answers []dnsmessage.Message, err error) {
	for _, server = range l.config.servers {
		if answers, err = l.askServer(server); err == nil {
			return server, answers, nil
		}
		l.Warn(err)
	}
	return server, nil, errors.New("no name server answered")
}

func (l *lookup) askServer(server netip.Addr) (answers []dnsmessage.Message, err error) {
	names := []string{strings.TrimSuffix(l.name, ".") + "."}
	if l.kinds[0] != dnsmessage.TypePTR {
		names = l.config.candidates(l.name)
	}
	for _, name := range names {
		answers = nil
		for _, kind := range l.kinds {
			m, err := l.query(server, name, kind)
			if err != nil {
				return nil, fmt.Errorf("ask %s for %s: %w", server, strings.TrimSuffix(name, "."), neterr.Cause(err))
			}
			answers = append(answers, m)
			if m.RCode != dnsmessage.RCodeSuccess {
				break
			}
		}
		if answers[0].RCode != dnsmessage.RCodeNameError {
			break
		}
	}
	return answers, nil
}

var codes = map[dnsmessage.RCode]string{
	dnsmessage.RCodeFormatError: "FORMERR", dnsmessage.RCodeServerFailure: "SERVFAIL", dnsmessage.RCodeNameError: "NXDOMAIN",
	dnsmessage.RCodeNotImplemented: "NOTIMP", dnsmessage.RCodeRefused: "REFUSED",
}

func (l *lookup) show(answers []dnsmessage.Message) error {
	lines, failed := 0, dnsmessage.RCodeSuccess
	for _, m := range answers {
		if l.debug {
			fmt.Fprintln(l.Out, m.GoString())
		}
		if failed == dnsmessage.RCodeSuccess {
			failed = m.RCode
		}
		if !m.Authoritative && len(m.Answers) > 0 && lines == 0 {
			fmt.Fprintln(l.Out, "Non-authoritative answer:")
		}
		for _, r := range m.Answers {
			fmt.Fprintln(l.Out, recordText(r))
			lines++
		}
	}
	name := strings.TrimSuffix(l.name, ".")
	if failed != dnsmessage.RCodeSuccess {
		code, ok := codes[failed]
		if !ok {
			code = fmt.Sprintf("code %d", failed)
		}
		fmt.Fprintf(l.Out, "** server can't find %s: %s\n", name, code)
		return applet.ExitError(1)
	}
	if lines == 0 {
		fmt.Fprintf(l.Out, "*** Can't find %s: No answer\n", name)
		return applet.ExitError(1)
	}
	return nil
}

// recordText is a record in nslookup's words.
func recordText(r dnsmessage.Resource) string {
	name := packet.Visible(strings.TrimSuffix(r.Header.Name.String(), "."))
	switch b := r.Body.(type) {
	case *dnsmessage.AResource:
		return fmt.Sprintf("Name:\t%s\nAddress: %s", name, netip.AddrFrom4(b.A))
	case *dnsmessage.AAAAResource:
		return fmt.Sprintf("Name:\t%s\nAddress: %s", name, netip.AddrFrom16(b.AAAA))
	case *dnsmessage.CNAMEResource:
		return fmt.Sprintf("%s\tcanonical name = %s", name, packet.Visible(b.CNAME.String()))
	case *dnsmessage.PTRResource:
		return fmt.Sprintf("%s\tname = %s", name, packet.Visible(b.PTR.String()))
	case *dnsmessage.NSResource:
		return fmt.Sprintf("%s\tnameserver = %s", name, packet.Visible(b.NS.String()))
	case *dnsmessage.MXResource:
		return fmt.Sprintf("%s\tmail exchanger = %d %s", name, b.Pref, packet.Visible(b.MX.String()))
	case *dnsmessage.SRVResource:
		return fmt.Sprintf("%s\tservice = %d %d %d %s", name, b.Priority, b.Weight, b.Port, packet.Visible(b.Target.String()))
	case *dnsmessage.TXTResource:
		return fmt.Sprintf("%s\ttext = %s", name, quoted(b.TXT))
	case *dnsmessage.SOAResource:
		return fmt.Sprintf("%s\n\torigin = %s\n\tmail addr = %s\n\tserial = %d\n\trefresh = %d\n\tretry = %d\n\texpire = %d\n\tminimum = %d",
			name, packet.Visible(b.NS.String()), packet.Visible(b.MBox.String()), b.Serial, b.Refresh, b.Retry, b.Expire, b.MinTTL)
	}
	return fmt.Sprintf("%s\t%s", name, r.Header.Type)
}

func quoted(parts []string) string {
	var list []string
	for _, p := range parts {
		list = append(list, fmt.Sprintf("%q", p))
	}
	return strings.Join(list, " ")
}
