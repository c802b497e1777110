// Package nc is the applet nc: it connects standard input and output with a TCP,
// UDP or Unix socket, as a client or as a server.
package nc

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/flags"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/neterr"
)

// Applet is nc.
func Applet() applet.Applet {
	return applet.Applet{
		Name:  "nc",
		Usage: "[-46klnuUvz] [-p PORT] [-s ADDRESS] [-w SECONDS] [HOST] PORT[-PORT]",
		Short: "connect standard input and output with a socket; -l waits for a client, -z looks whether a port is open",
		Run:   run,
	}
}

// A netcat is one run of nc.
type netcat struct {
	*applet.Call
	only4, only6, keep, listen, numeric, udp, unix, verbose, zero bool
	port, source                                                  string
	wait                                                          time.Duration
	host                                                          string
	first, last                                                   int // ports
}

func run(c *applet.Call) error {
	n := &netcat{Call: c}
	set := flags.New(c)
	set.On(&n.only4, "ipv4", "4")
	set.On(&n.only6, "ipv6", "6")
	set.On(&n.keep, "keep", "k")
	set.On(&n.listen, "listen", "l")
	set.On(&n.numeric, "numeric", "n")
	set.On(&n.udp, "udp", "u")
	set.On(&n.unix, "unix", "U")
	set.On(&n.verbose, "verbose", "v")
	set.On(&n.zero, "zero", "z")
	set.On(new(bool), "shutdown", "N") // which we do anyway
	set.Text(&n.port, "port", "p")
	set.Text(&n.source, "source", "s")
	set.Seconds(&n.wait, "wait", "w")
	if err := set.Parse(c); err != nil {
		return err
	}
	if err := n.operands(set.Args()); err != nil {
		return err
	}
	switch {
	case n.listen && n.udp:
		return n.serveUDP()
	case n.listen:
		return n.serve()
	}
	return n.connectAll()
}

func (n *netcat) operands(args []string) error {
	if n.unix {
		if len(args) != 1 {
			return applet.UsageError("-U: the path of a socket is needed")
		}
		n.host = args[0]
		return nil
	}
	if n.listen && n.port != "" {
		args = append(args, n.port)
	}
	if n.listen && len(args) == 1 {
		args = []string{n.source, args[0]}
	}
	if len(args) != 2 {
		return applet.UsageError("a host and a port are needed; with -l, a port")
	}
	n.host = args[0]
	low, high, isRange := strings.Cut(args[1], "-")
	var err error
	if n.first, err = n.portNumber(low); err != nil {
		return err
	}
	n.last = n.first
	if isRange {
		if n.last, err = n.portNumber(high); err != nil {
			return err
		}
		if n.last < n.first || n.listen {
			return applet.UsageError("port " + strconv.Quote(args[1]) + ": not a range to connect to")
		}
	}
	return nil
}

// portNumber reads a number, or the name of a service.
func (n *netcat) portNumber(word string) (int, error) {
	if port, err := net.LookupPort(n.network(), word); err == nil && !n.numeric {
		return port, nil
	}
	return flags.Port(word)
}

func (n *netcat) protocol() string {
	if n.udp {
		return "udp"
	}
	return "tcp"
}

func (n *netcat) network() string {
	if n.unix {
		return "unix"
	}
	suffix := ""
	if n.only4 {
		suffix = "4"
	}
	if n.only6 {
		suffix = "6"
	}
	return n.protocol() + suffix
}

func (n *netcat) say(format string, args ...any) {
	if n.verbose {
		fmt.Fprintf(n.Err, format+"\n", args...)
	}
}

// connectAll tries the ports in turn. One that answers is success.
func (n *netcat) connectAll() error {
	code := applet.ExitError(1)
	for port := n.first; port <= n.last; port++ {
		err := n.connect(port)
		if err != nil {
			n.Warn(err)
			continue
		}
		code = 0
	}
	if code != 0 {
		return code
	}
	return nil
}

func (n *netcat) connect(port int) error {
	address, where := net.JoinHostPort(n.host, strconv.Itoa(port)), fmt.Sprintf("%s port %d (%s)", n.host, port, n.protocol())
	if n.unix {
		address, where = n.host, n.host
	}
	dialer := net.Dialer{Timeout: n.wait}
	if err := n.bind(&dialer); err != nil {
		return err
	}
	conn, err := dialer.Dial(n.network(), address)
	if err == nil && n.zero && n.udp {
		err = refuses(conn)
	}
	if err != nil {
		return fmt.Errorf("connect to %s: %w", where, neterr.Cause(err))
	}
	defer conn.Close() //nolint:errcheck // all is sent, or its error is known
	if n.zero && !n.verbose {
		return nil
	}
	n.say("Connection to %s succeeded!", where)
	if n.zero {
		return nil
	}
	return n.exchange(conn)
}

// bind makes the client's own address and port what was asked for.
func (n *netcat) bind(dialer *net.Dialer) error {
	if n.port == "" && n.source == "" {
		return nil
	}
	port := 0
	if n.port != "" {
		var err error
		if port, err = n.portNumber(n.port); err != nil {
			return err
		}
	}
	ip := net.ParseIP(n.source)
	if n.source != "" && ip == nil {
		return applet.UsageError("-s " + n.source + ": not an address")
	}
	dialer.LocalAddr = &net.TCPAddr{IP: ip, Port: port}
	if n.udp {
		dialer.LocalAddr = &net.UDPAddr{IP: ip, Port: port}
	}
	return nil
}

const udpPatience = time.Second // for an answer that may never come

// refuses sends an empty datagram and hears whether somebody is there to take it:
// silence means that.
func refuses(conn net.Conn) error {
	if _, err := conn.Write([]byte{}); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(udpPatience)); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

// exchange copies both ways. The end of standard input closes our half of the
// connection; the end of the connection ends us, once what is at hand is sent.
func (n *netcat) exchange(conn net.Conn) error {
	up := &upload{conn: conn, done: make(chan struct{})}
	go n.send(up)
	_, err := io.Copy(n.Out, idle{conn, n.wait})
	if errors.Is(err, os.ErrDeadlineExceeded) || n.udp && errors.Is(err, net.ErrClosed) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("receive: %w", neterr.Cause(err))
	}
	up.settle()
	return nil
}

// An upload is standard input on its way into a connection.
type upload struct {
	conn net.Conn
	sent atomic.Int64
	done chan struct{} // closed at the end of the input
}

func (u *upload) Write(b []byte) (int, error) {
	n, err := u.conn.Write(b)
	u.sent.Add(int64(n))
	return n, err
}

// settle returns when all is sent, or when nothing has been for a while: somebody
// at a terminal may never end his input.
func (u *upload) settle() {
	const quiet = 300 * time.Millisecond
	for {
		before := u.sent.Load()
		select {
		case <-u.done:
			return
		case <-time.After(quiet):
			if u.sent.Load() == before {
				return
			}
		}
	}
}

func (n *netcat) send(up *upload) {
	defer close(up.done)
	_, err := io.Copy(up, n.In)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		n.Warn(fmt.Errorf("send: %w", neterr.Cause(err)))
	}
	if half, ok := up.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the peer may have gone
		return
	}
	time.Sleep(max(n.wait, udpPatience))
	_ = up.conn.Close() // nobody answers any more
}

// idle is a connection of which no read may last longer than a time.
type idle struct {
	net.Conn
	wait time.Duration
}

func (i idle) Read(b []byte) (int, error) {
	if i.wait > 0 {
		if err := i.SetReadDeadline(time.Now().Add(i.wait)); err != nil {
			return 0, err
		}
	}
	return i.Conn.Read(b)
}
