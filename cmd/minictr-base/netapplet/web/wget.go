package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/flags"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/neterr"
	"github.com/minictr/minictr/network/packet"
)

// Wget is wget.
func Wget() applet.Applet {
	return applet.Applet{
		Name:  "wget",
		Usage: "[-qS] [-O FILE] [-T SECONDS] [--header LINE] [--post-data DATA] [-U AGENT] [--spider] [--no-check-certificate] [--ca-certificate FILE] URL…",
		Short: "fetch what is at a URL",
		Run:   wget,
	}
}

// The exit codes of wget(1).
const (
	exitFile   = 3
	exitNet    = 4
	exitTLS    = 5
	exitServer = 8
)

// A coded error ends wget with its code.
type coded struct {
	error
	code int
}

// A fetcher is one run of wget.
type fetcher struct {
	*applet.Call
	output, post, agent, ca    string
	headers                    []string
	quiet, show, blind, spider bool
	timeout                    time.Duration
	client                     *http.Client
	progress                   bool
	again                      int // how -O is opened: emptied, then appended to
}

const defaultTimeout = 15 * time.Minute // as wget has it

func wget(c *applet.Call) error {
	f := &fetcher{Call: c, agent: "minictr-wget", timeout: defaultTimeout, again: os.O_TRUNC}
	set := flags.New(c)
	set.Text(&f.output, "output-document", "O")
	set.Text(&f.agent, "user-agent", "U")
	set.On(&f.quiet, "quiet", "q")
	set.On(&f.show, "server-response", "S")
	set.Seconds(&f.timeout, "timeout", "T")
	set.StringArrayVar(&f.headers, "header", nil, "")
	set.StringVar(&f.post, "post-data", "", "")
	set.StringVar(&f.ca, "ca-certificate", "", "")
	set.BoolVar(&f.blind, "no-check-certificate", false, "")
	set.BoolVar(&f.spider, "spider", false, "")
	if err := set.Parse(c); err != nil {
		return err
	}
	if set.NArg() == 0 {
		return applet.UsageError("a URL is needed")
	}
	method := http.MethodGet
	if set.Changed("post-data") {
		method = http.MethodPost
	}
	if err := f.prepare(); err != nil {
		return f.end(err)
	}
	var last error
	for _, address := range set.Args() {
		if err := f.fetch(method, address); err != nil {
			last = f.end(err)
		}
	}
	return last
}

// end prints an error and turns it into its code.
func (f *fetcher) end(err error) error {
	f.Warn(err)
	var c coded
	if errors.As(err, &c) {
		return applet.ExitError(c.code)
	}
	return applet.ExitError(1)
}

func (f *fetcher) prepare() error {
	f.progress = !f.quiet && f.onTerminal()
	security := &tls.Config{InsecureSkipVerify: f.blind} //nolint:gosec // asked for by name
	if f.ca != "" {
		text, err := os.ReadFile(f.ca)
		if err != nil {
			return coded{err, exitFile}
		}
		security.RootCAs = x509.NewCertPool()
		if !security.RootCAs.AppendCertsFromPEM(text) {
			return coded{fmt.Errorf("%s: no certificate in it", f.ca), exitFile}
		}
	}
	dialer := &net.Dialer{Timeout: f.timeout}
	f.client = &http.Client{
		Transport: &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			TLSClientConfig: security, ForceAttemptHTTP2: true, DisableCompression: true, ResponseHeaderTimeout: f.timeout,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dialer.DialContext(ctx, network, address)
				if err == nil {
					f.say("Connecting to %s (%s)", address, conn.RemoteAddr())
				}
				return conn, err
			},
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			const most = 20 // as wget has it
			if len(via) >= most {
				return fmt.Errorf("%d redirections exceeded", most)
			}
			f.say("Location: %s", packet.Visible(r.URL.String()))
			return nil
		},
	}
	return nil
}

func (f *fetcher) say(format string, args ...any) {
	if !f.quiet {
		fmt.Fprintf(f.Err, format+"\n", args...)
	}
}

func (f *fetcher) fetch(method, address string) error {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	request, err := f.request(method, address)
	if err != nil {
		return err
	}
	response, err := f.client.Do(request)
	if err != nil {
		return refused(address, err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end, or given up
	if f.show {
		fmt.Fprintf(f.Err, "  %s %s\n", response.Proto, packet.Visible(response.Status))
		f.showHeader(response.Header)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return coded{fmt.Errorf("%s: server returned error: %s %s", address, response.Proto, packet.Visible(response.Status)), exitServer}
	}
	if f.spider {
		f.say("remote file exists")
		return nil
	}
	return f.save(address, response)
}

func (f *fetcher) request(method, address string) (*http.Request, error) {
	if f.spider {
		method = http.MethodHead
	}
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(f.post)
	}
	request, err := http.NewRequest(method, address, body)
	if err != nil {
		return nil, fmt.Errorf("%s: not a URL", address)
	}
	if request.URL.Scheme != "http" && request.URL.Scheme != "https" {
		return nil, fmt.Errorf("%s: a URL begins with http:// or https://", address)
	}
	request.Header.Set("User-Agent", f.agent)
	if body != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, line := range f.headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, applet.UsageError("--header " + line + ": no colon in it")
		}
		request.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
		if strings.EqualFold(name, "Host") {
			request.Host = strings.TrimSpace(value)
		}
	}
	return request, nil
}

// refused says why there is no response, and with which code.
func refused(address string, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	if errors.As(err, &certificate) || errors.As(err, &record) {
		return coded{fmt.Errorf("%s: %w", address, err), exitTLS}
	}
	return coded{fmt.Errorf("%s: %w", address, neterr.Cause(err)), exitNet}
}

// showHeader prints what -S shows, in the order of the names.
func (f *fetcher) showHeader(header http.Header) {
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[name] {
			fmt.Fprintf(f.Err, "  %s: %s\n", name, packet.Visible(value))
		}
	}
}

// save writes the body into a file named after the URL, which must not be there
// yet, or into that of -O, which may; of several URLs the first makes it.
func (f *fetcher) save(address string, response *http.Response) error {
	name := f.output
	if name == "" {
		name = path.Base(response.Request.URL.Path)
		if name == "/" || name == "." || name == ".." {
			name = "index.html"
		}
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if f.output != "" {
		flags = os.O_WRONLY | os.O_CREATE | f.again
		f.again = os.O_APPEND
	}
	to := f.Out
	var file *os.File
	if name != "-" {
		var err error
		if file, err = os.OpenFile(name, flags, 0o666); err != nil {
			return coded{err, exitFile}
		}
		defer file.Close()
		to = file
	}
	if err := f.copy(to, response, name); err != nil {
		return coded{fmt.Errorf("%s: %w", address, neterr.Cause(err)), exitNet}
	}
	if file != nil {
		f.say("%q saved", name)
	}
	return nil
}

// copy moves the body. No part of it may take longer than the timeout.
func (f *fetcher) copy(to io.Writer, response *http.Response, name string) error {
	var done atomic.Int64
	body := &stalling{Reader: response.Body, done: &done, timer: time.AfterFunc(f.timeout, func() { _ = response.Body.Close() }), timeout: f.timeout}
	defer body.timer.Stop()
	finished := make(chan struct{})
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		if f.progress {
			f.showProgress(name, &done, response.ContentLength, finished)
		}
	}()
	_, err := io.Copy(to, body)
	close(finished)
	<-shown
	return err
}

// A stalling body pushes the end of patience on with every byte that comes.
type stalling struct {
	io.Reader
	done    *atomic.Int64
	timer   *time.Timer
	timeout time.Duration
}

func (s *stalling) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	s.done.Add(int64(n))
	s.timer.Reset(s.timeout)
	return n, err
}
