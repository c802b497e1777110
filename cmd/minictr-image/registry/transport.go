package registry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// A Client talks to registries. The zero value knows no configuration and no
// credentials.
type Client struct {
	Config      Config
	Credentials Credentials
	// Notify, if not nil, is told what takes time: a pause before another
	// attempt, a mirror that failed. It may be called from several goroutines.
	Notify func(text string)

	// Patience is how long a connection may be silent; 0 is a minute.
	Patience time.Duration

	pause time.Duration // before the second attempt; 0 is firstPause
	dial  func(ctx context.Context, network, address string) (net.Conn, error)

	mu         sync.Mutex
	transports map[string]*http.Transport
}

const (
	defaultPatience = 60 * time.Second
	dialTimeout     = 15 * time.Second
	maxRedirects    = 10
	maxConnsAlive   = 8
)

// transport returns the transport for a host, which knows its certificates.
func (c *Client) transport(host string, insecure bool) (*http.Transport, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := fmt.Sprint(host, " ", insecure)
	if t, ok := c.transports[key]; ok {
		return t, nil
	}
	config, err := c.Config.tlsConfig(host, insecure)
	if err != nil {
		return nil, &Error{Text: err.Error(), Err: err}
	}
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         c.dialImpatient,
		TLSClientConfig:     config,
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: maxConnsAlive,
		DisableCompression:  true, // the bytes of a blob are what has its digest
	}
	if c.transports == nil {
		c.transports = map[string]*http.Transport{}
	}
	c.transports[key] = t
	return t, nil
}

// Close ends the connections that are kept for more.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.transports {
		t.CloseIdleConnections()
	}
}

func (c *Client) dialImpatient(ctx context.Context, network, address string) (net.Conn, error) {
	dial := c.dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	conn, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	patience := c.Patience
	if patience == 0 {
		patience = defaultPatience
	}
	return impatient{conn, patience}, nil
}

// An impatient connection fails with os.ErrDeadlineExceeded when no byte passes
// in either direction for that long. A deadline for a request would end slow
// downloads too; one for reading only, slow uploads.
type impatient struct {
	net.Conn
	patience time.Duration
}

// Read waits for at most the patience.
func (c impatient) Read(b []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// Write waits for at most the patience. It prolongs a Read that waits for the
// answer.
func (c impatient) Write(b []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// A router sends each request through the transport of its host. It is for one
// registry, and what that redirects to. TLS may be missing or unverified for the
// registry itself when it is insecure, and otherwise where the configuration
// says so; a registry on loopback may redirect to loopback in plain HTTP.
type router struct {
	client   *Client
	host     string
	insecure bool
}

// RoundTrip sends the request.
func (t router) RoundTrip(r *http.Request) (*http.Response, error) {
	insecure := t.insecure && r.URL.Host == t.host || t.client.Config.insecureHost(r.URL.Host)
	onLoopback := isLoopback(t.host) && isLoopback(r.URL.Host)
	if r.URL.Scheme != "https" && !insecure && !onLoopback {
		return nil, &Error{
			Text: fmt.Sprintf("registry %s sends us to %s in plain HTTP, which is refused", t.host, r.URL.Host),
			Help: insecureHelp(r.URL.Host),
		}
	}
	transport, err := t.client.transport(r.URL.Host, insecure)
	if err != nil {
		return nil, err
	}
	return transport.RoundTrip(r)
}

func (t router) httpClient(next http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: next,
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return errCircles
			}
			return nil
		},
	}
}
