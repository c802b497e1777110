// Package web is the applets httpd and wget: a server that shows who asks, and a
// client that shows what it is told.
package web

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/flags"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/neterr"
	"github.com/minictr/minictr/network/packet"
)

// Httpd is httpd.
func Httpd() applet.Applet {
	return applet.Applet{
		Name:  "httpd",
		Usage: "[-q] [-p [ADDRESS:]PORT] [-h DIRECTORY] [-m MESSAGE]",
		Short: "serve a directory, or say hello, and log who asked: a client behind NAT is seen by its new address",
		Run:   httpd,
	}
}

const (
	headerPatience = 10 * time.Second
	drainPatience  = time.Second
)

// A server is one run of httpd.
type server struct {
	*applet.Call
	address, directory, message string
	quiet                       bool
	files                       http.Handler
}

func httpd(c *applet.Call) error {
	s := &server{Call: c, address: "80"}
	set := flags.New(c)
	set.Text(&s.address, "port", "p")
	set.Text(&s.directory, "home", "h")
	set.Text(&s.message, "message", "m")
	set.On(&s.quiet, "quiet", "q")
	set.On(new(bool), "foreground", "f") // as BusyBox has it; there is nothing else
	if err := set.Parse(c); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return applet.UsageError("unexpected " + strconv.Quote(set.Arg(0)))
	}
	if !strings.Contains(s.address, ":") {
		if _, err := flags.Port(s.address); err != nil {
			return err
		}
		s.address = ":" + s.address
	}
	if s.directory != "" {
		if info, err := os.Stat(s.directory); err != nil || !info.IsDir() {
			return errors.Join(err, map[bool]error{true: fmt.Errorf("%s: not a directory", s.directory)}[err == nil])
		}
		s.files = http.FileServer(http.Dir(s.directory))
	}
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.address, neterr.Cause(err))
	}
	return s.serve(listener)
}

// serve ends with SIGINT or SIGTERM, when the requests at hand are answered.
func (s *server) serve(listener net.Listener) error {
	server := &http.Server{Handler: s, ReadHeaderTimeout: headerPatience, ErrorLog: log.New(s.Err, s.Name+": ", 0)}
	enough, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	stopped := make(chan error, 1)
	context.AfterFunc(enough, func() {
		patience, cancel := context.WithTimeout(context.Background(), drainPatience)
		defer cancel()
		stopped <- server.Shutdown(patience)
	})
	err := server.Serve(listener)
	if errors.Is(err, http.ErrServerClosed) {
		err = <-stopped
		if errors.Is(err, context.DeadlineExceeded) {
			return server.Close() // somebody reads slowly, or never
		}
	}
	return err
}

// ServeHTTP answers a request and writes a line about it.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := &counted{ResponseWriter: w, code: http.StatusOK}
	if s.files != nil {
		s.files.ServeHTTP(answer, r)
	} else {
		s.hello(answer, r)
	}
	if !s.quiet {
		fmt.Fprintf(s.Out, "%s %s %s %s %d %d\n", time.Now().Format("15:04:05.000"), r.RemoteAddr, r.Method, packet.Visible(r.URL.RequestURI()), answer.code, answer.bytes)
	}
}

// hello tells the client by which addresses the two see each other.
func (s *server) hello(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if s.message != "" {
		fmt.Fprintln(w, s.message)
		return
	}
	name, err := os.Hostname()
	if err != nil {
		name = "somewhere"
	}
	fmt.Fprintf(w, "hello from %s: I am %v, you are %s\n", name, r.Context().Value(http.LocalAddrContextKey), r.RemoteAddr)
}

// A counted answer knows what was answered.
type counted struct {
	http.ResponseWriter
	code  int
	bytes int64
}

func (c *counted) WriteHeader(code int) {
	c.code = code
	c.ResponseWriter.WriteHeader(code)
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.bytes += int64(n)
	return n, err
}
