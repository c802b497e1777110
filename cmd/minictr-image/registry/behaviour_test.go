package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAnswers: one row for each thing that a registry may answer. again is how
// often it is asked in all.
func TestAnswers(t *testing.T) {
	later := time.Now().Add(3 * time.Hour).UTC().Format(http.TimeFormat)
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		want    string // HOST is the registry
		again   int
	}{
		{"not found", answer(404, nil, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"secret"}]}`), "no such image in registry HOST (404 Not Found: MANIFEST_UNKNOWN)\nhint: check name and tag", 1},
		{"not found, in words", answer(404, nil, "<html>404"), "no such image in registry HOST (404 Not Found)\nhint: check name and tag", 1},
		{"unauthorized", answer(401, nil, ""), "no access to this repository of registry HOST (401 Unauthorized)\nhint: the repository may be private, or not exist: check the name, or `minictr login HOST`", 1},
		{"forbidden", answer(403, nil, `{"errors":[{"code":"DENIED"}]}`), "no access to this repository of registry HOST (403 Forbidden: DENIED)\nhint: the repository may be private, or not exist: check the name, or `minictr login HOST`", 1},
		{"too many", answer(429, nil, ""), "too many requests for registry HOST (429 Too Many Requests)\nhint: with an account there may be more for you: `minictr login HOST`", 4},
		{"too many, for hours", answer(429, map[string]string{"Retry-After": "7200"}, ""), "too many requests for registry HOST (429 Too Many Requests), and wants to be left alone for 2h0m0s\nhint: with an account there may be more for you: `minictr login HOST`", 1},
		{"too many, until then", answer(429, map[string]string{"Retry-After": later}, ""), "too many requests for registry HOST (429 Too Many Requests), and wants to be left alone for 3h0m0s\nhint: with an account there may be more for you: `minictr login HOST`", 1},
		{"too many, nonsense", answer(429, map[string]string{"Retry-After": "soon"}, ""), "too many requests for registry HOST (429 Too Many Requests)\nhint: with an account there may be more for you: `minictr login HOST`", 4},
		{"broken", answer(500, nil, ""), "registry HOST answers 500 Internal Server Error", 4},
		{"bad gateway", answer(502, nil, ""), "registry HOST answers 502 Bad Gateway", 4},
		{"unavailable", answer(503, nil, ""), "registry HOST answers 503 Service Unavailable", 4},
		{"teapot", answer(418, nil, ""), "registry HOST answers 418 I'm a teapot", 1},
		{"empty success", answer(204, nil, ""), "registry HOST answers 204 No Content", 1},
		{"circles", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/" {
				http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
			}
		}, "registry HOST redirects in circles", 11},
		{"to plain http", answer(307, map[string]string{"Location": "http://198.51.100.7/x"}, ""), "registry HOST sends us to 198.51.100.7 in plain HTTP, which is refused\nhint: if you trust the network, allow it in /etc/minictr/registries.conf: [[registry]] location = \"198.51.100.7\", insecure = true", 1},
		{"closes", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/" {
				panic(http.ErrAbortHandler)
			}
		}, "registry HOST closed the connection", 5}, // one of them by net/http
		{"closes in the middle", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/" {
				w.Header().Set("Content-Length", "1000")
				_, _ = io.WriteString(w, "{")
			}
		}, "registry HOST closed the connection", 4},
		{"hangs", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/" {
				<-r.Context().Done()
			}
		}, "registry HOST has gone silent", 3}, // one of them by net/http
		{"hangs in the middle", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/" {
				w.Header().Set("Content-Length", "1000")
				_, _ = io.WriteString(w, "{")
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}
		}, "registry HOST has gone silent", 2},
		{"never ends", func(w http.ResponseWriter, r *http.Request) {
			for r.URL.Path != "/v2/" && r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 1<<20))
			}
		}, "manifest from registry HOST is larger than 4194304 bytes", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, c.handler)
			client, said := quick(t)
			_, got := manifestOf(t, client, s.host+"/some/image")
			if want := strings.ReplaceAll(c.want, "HOST", s.host); got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
			if n := s.times("/v2/some/image/manifests/latest"); n != c.again {
				t.Errorf("asked %d times, want %d", n, c.again)
			}
			if c.again > 1 && c.name != "circles" && !strings.Contains(said.String(), "; trying again in ") {
				t.Errorf("nobody was told: %q", said.String())
			}
			if strings.Contains(got, "secret") {
				t.Error("the registry's own words are in the error")
			}
		})
	}
}

// TestRetryAfter: what the registry asks for is waited for and said, as seconds
// or as a date.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "-5": 0, "7": 7 * time.Second, "Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second,
		"Fri, 02 Jan 2026 03:04:00 GMT": 0, "soon": 0, "99999999999999999999": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	first := true
	s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		if first {
			first = false
			answer(503, map[string]string{"Retry-After": "1"}, "")(w, r)
			return
		}
		_, _ = io.WriteString(w, "{}")
	})
	client, said := quick(t)
	begin := time.Now()
	if _, text := manifestOf(t, client, s.host+"/x/y"); text != "" {
		t.Error(text)
	}
	if d := time.Since(begin); d < time.Second || d > 3*time.Second {
		t.Errorf("waited %v", d)
	}
	if want := "registry " + s.host + " answers 503 Service Unavailable; trying again in 1s"; said.String() != want {
		t.Errorf("said %q, want %q", said, want)
	}
}

// TestTLS: each way in which a registry may not be trusted has its words.
func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	good, clientCert, clientKey := ours.sign(t, nil)
	wrongName, _, _ := ours.sign(t, func(c *x509.Certificate) { c.DNSNames = []string{"other.test"}; c.IPAddresses = nil })
	noName, _, _ := ours.sign(t, func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, nil })
	old, _, _ := ours.sign(t, func(c *x509.Certificate) { c.NotAfter = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC) })
	young, _, _ := ours.sign(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Date(2120, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2121, 1, 1, 0, 0, 0, 0, time.UTC)
	})
	notForServers, _, _ := ours.sign(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	foreign, _, _ := theirs.sign(t, nil)
	ok := answer(200, nil, "{}")
	serve := func(c tls.Certificate) string { return startTLS(t, c, ok).host }
	wantsClient := newServer(ok)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ours.pem)
	wantsClient.TLS = &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	wantsClient.StartTLS()
	t.Cleanup(wantsClient.Close)
	clientHost := wantsClient.Listener.Addr().String()
	plain := startServer(t, ok).host
	gibberish := onTCP(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n"); time.Sleep(time.Second) })
	mute := onTCP(t, func(c net.Conn) { time.Sleep(5 * time.Second) })
	trust := "\nhint: put the certificate of its authority into /etc/containers/certs.d/NAME/ca.crt"
	clock := "\nhint: look at this machine's clock (`date -u`); if it is right, the registry needs a new certificate"
	allow := "\nhint: if you trust the network, allow it in /etc/minictr/registries.conf: [[registry]] location = \"NAME\", insecure = true"
	for _, c := range []struct {
		name, host, certs, want string
		insecure                bool
	}{
		{"trusted", serve(good), "ca", "", false},
		{"unknown authority", serve(foreign), "ca", `cannot trust registry NAME: its certificate is signed by an unknown authority "CN=test authority"` + trust, false},
		{"no authority at all", serve(good), "", `cannot trust registry NAME: its certificate is signed by an unknown authority "CN=test authority"` + trust, false},
		{"wrong name", serve(wrongName), "ca", "cannot trust registry NAME: its certificate is for other.test\nhint: use a name that is in the certificate", false},
		{"no name", serve(noName), "ca", "cannot trust registry NAME: its certificate is for no name at all\nhint: use a name that is in the certificate", false},
		{"expired", serve(old), "ca", "cannot trust registry NAME: its certificate has expired on 2020-01-02 03:04:05 UTC" + clock, false},
		{"not yet", serve(young), "ca", "cannot trust registry NAME: its certificate is not valid before 2120-01-02 03:04:05 UTC" + clock, false},
		{"not for servers", serve(notForServers), "ca", "cannot trust registry NAME: certificate specifies an incompatible key usage" + trust, false},
		{"insecure: unknown authority", serve(foreign), "", "", true},
		{"insecure: wrong name", serve(wrongName), "", "", true},
		{"insecure: expired", serve(old), "", "", true},
		{"client certificate missing", clientHost, "ca", "registry NAME refuses the connection: certificate required\nhint: if it wants a client certificate, put it into /etc/containers/certs.d/NAME/client.cert, its key into client.key", false},
		{"client certificate", clientHost, "ca client", "", false},
		{"plain HTTP", plain, "ca", "registry NAME does not speak TLS" + allow, false},
		{"insecure: plain HTTP", plain, "", "", true},
		{"something else", gibberish, "", "registry NAME does not speak TLS" + allow, false},
		{"mute", mute, "", "registry NAME has gone silent", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, _ := quick(t)
			dir := t.TempDir()
			_, port, _ := net.SplitHostPort(c.host)
			host := "registry.test:" + port // not loopback, for which plain HTTP would be tried
			client.at(map[string]string{host: c.host})
			client.Config.certs = []string{dir + "/none", dir + "/certs.d"}
			if strings.Contains(c.certs, "ca") {
				write(t, dir+"/certs.d/"+host+"/ca.crt", string(ours.pem))
			}
			if strings.Contains(c.certs, "client") {
				write(t, dir+"/certs.d/"+host+"/client.cert", string(clientCert))
				write(t, dir+"/certs.d/"+host+"/client.key", string(clientKey))
			}
			if c.insecure {
				client.Config.rules = []rule{{Prefix: host, Location: host, Insecure: true}}
			}
			_, got := manifestOf(t, client, host+"/x/y")
			if want := strings.ReplaceAll(c.want, "NAME", host); got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
}

// TestTLSOnLoopback: plain HTTP is tried where no network can be listened to,
// but a certificate that is wrong is wrong there, too.
func TestTLSOnLoopback(t *testing.T) {
	foreign, _, _ := newAuthority(t).sign(t, nil)
	client, _ := quick(t)
	s := startTLS(t, foreign, answer(200, nil, "{}"))
	if _, got := manifestOf(t, client, s.host+"/x/y"); !strings.HasPrefix(got, "cannot trust registry "+s.host+": its certificate is signed by an unknown authority") {
		t.Error(got)
	}
	if n := s.times("/"); n != 0 {
		t.Errorf("it got %d requests", n)
	}
	plain := startServer(t, answer(200, nil, "{}"))
	if _, got := manifestOf(t, client, plain.host+"/x/y"); got != "" {
		t.Error(got)
	}
}

func TestBadCertificateFiles(t *testing.T) {
	_, cert, key := newAuthority(t).sign(t, nil)
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no PEM":   {map[string]string{"ca.crt": "x"}, "DIR/ca.crt: holds no certificate in PEM form"},
		"no key":   {map[string]string{"a.cert": string(cert)}, "client certificate DIR/a.cert with a.key: no such file or directory"},
		"no cert":  {map[string]string{"a.key": string(key)}, "client key DIR/a.key: has no a.cert beside it"},
		"bad pair": {map[string]string{"a.cert": "x", "a.key": string(key)}, "client certificate DIR/a.cert with a.key: tls: failed to find any PEM data in certificate input"},
		"others":   {map[string]string{"README": "x"}, ""},
	} {
		dir := t.TempDir()
		for file, text := range c.files {
			write(t, dir+"/h.test/"+file, text)
		}
		_, err := (&Config{certs: []string{dir}}).tlsConfig("h.test", false)
		if want := strings.ReplaceAll(c.want, "DIR", dir+"/h.test"); lines(err) != want {
			t.Errorf("%s:\n got %v\nwant %s", name, err, want)
		}
	}
}

// TestMirrors: they are tried in order, and an error names all that failed.
func TestMirrors(t *testing.T) {
	down := onTCP(t, func(net.Conn) {})
	missing := startServer(t, answer(404, nil, ""))
	good := startServer(t, answer(200, nil, "{}"))
	client, said := quick(t)
	file := write(t, t.TempDir()+"/registries.conf", sprint("[[registry]]\nprefix='a.b'\nlocation='%s/main'\n[[registry.mirror]]\nlocation='%s/m'\n[[registry.mirror]]\nlocation='%s'\n", good.host, down, missing.host))
	config, err := LoadConfig(file)
	check(t, err)
	client.Config = *config
	if m, got := manifestOf(t, client, "a.b/x/y:1"); got != "" || string(m.Raw) != "{}" {
		t.Errorf("%s, %s", m.Raw, got)
	}
	for _, want := range []string{"registry " + down + " closed the connection; trying " + missing.host + "/x/y", "no such image in registry " + missing.host + " (404 Not Found); trying " + good.host + "/main/x/y"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("%q lacks %q", said, want)
		}
	}
	if good.times("GET /v2/main/x/y/manifests/1") != 1 || missing.times("GET /v2/x/y/manifests/1") != 1 {
		t.Errorf("asked %q and %q", good.asked, missing.asked)
	}
	client.Config.rules[0].Location = missing.host + "/main"
	_, got := manifestOf(t, client, "a.b/x/y:1")
	want := "registry " + down + " closed the connection; no such image in registry " + missing.host + " (404 Not Found); no such image in registry " + missing.host + " (404 Not Found)\nhint: check name and tag"
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// TestInterruptedWait: ^C ends a pause, and no further attempt is made.
func TestInterruptedWait(t *testing.T) {
	s := startServer(t, answer(503, map[string]string{"Retry-After": "50"}, ""))
	client, _ := quick(t)
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	client.Notify = func(string) { cancel(stop) }
	begin := time.Now()
	_, _, err := client.Find(ctx, parseReference(t, s.host+"/x/y"))
	if !errors.Is(err, stop) || time.Since(begin) > 10*time.Second || s.times("/manifests/") != 1 {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

// TestBlob: from the beginning, from an offset, and from a server that does not
// know offsets.
func TestBlob(t *testing.T) {
	const content = "0123456789"
	digest := "sha256:" + strings.Repeat("1", 64)
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		offset  int64
		body    string
		start   int64
		want    string
	}{
		"whole": {func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
		}, 0, content, 0, ""},
		"rest": {func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
		}, 4, "456789", 4, ""},
		"no ranges": {answer(200, nil, content), 4, content, 0, ""},
		"too far": {func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
		}, 10, content, 0, ""},
		"lies":    {answer(206, map[string]string{"Content-Range": "bytes 3-9/10"}, content[3:]), 4, "", 0, `registry HOST answers with the range "bytes 3-9/10" of blob ` + digest + ", where byte 4 was asked for"},
		"missing": {answer(404, nil, ""), 0, "", 0, "registry HOST does not have blob " + digest},
		"breaks": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "0123")
		}, 0, "0123", 0, "registry HOST closed the connection"},
		"stalls": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "0123")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, 0, "0123", 0, "registry HOST has gone silent"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v2/" {
					c.handler(w, r)
				}
			})
			client, _ := quick(t)
			repository, err := client.open(context.Background(), newEndpoint(s.host+"/x/y", false))
			check(t, err)
			body, start, err := repository.Blob(context.Background(), digest, 10, c.offset)
			var data []byte
			if err == nil {
				data, err = io.ReadAll(body)
				check(t, body.Close())
				if err != nil && !MayRetry(err) {
					t.Error("a broken download cannot be resumed")
				}
			}
			if want := strings.ReplaceAll(c.want, "HOST", s.host); lines(err) != want || string(data) != c.body || start != c.start {
				t.Errorf("%q from %d, %v; want %q from %d, %s", data, start, err, c.body, c.start, want)
			}
		})
	}
}

// TestSlowIsNotSilent: what goes on goes on for as long as it takes, in both
// directions.
func TestSlowIsNotSilent(t *testing.T) {
	s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		for range 10 {
			_, _ = io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	})
	client, _ := quick(t)
	if m, got := manifestOf(t, client, s.host+"/x/y"); got != "" || len(m.Raw) != 10 {
		t.Error(got)
	}
}

// TestRestart: a registry that goes away in the middle is waited for a little; one
// that was never there is not.
func TestRestart(t *testing.T) {
	s := startServer(t, answer(200, nil, "{}"))
	client, said := quick(t)
	dials, down := 0, 0
	client.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials++; down > 0 {
			down--
			return nil, &net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}, Err: syscall.ECONNREFUSED}
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	repository, err := client.open(context.Background(), newEndpoint(s.host+"/x/y", false))
	check(t, err)
	_, err = repository.Manifest(context.Background(), "1")
	check(t, err)
	time.Sleep(100 * time.Millisecond) // until the connection is one that is kept
	client.Close()                     // so that another must be made
	down = 2
	if _, err = repository.Manifest(context.Background(), "1"); err != nil || strings.Count(said.String(), "connection refused; trying again in ") != 2 {
		t.Errorf("%v, %q", err, said)
	}
	dials, down = 0, 100
	if _, got := manifestOf(t, client, "elsewhere.test/x/y"); !strings.HasPrefix(got, "cannot reach registry elsewhere.test: dial 192.0.2.1:443: connection refused") || dials != 1 {
		t.Errorf("%s after %d attempts", got, dials)
	}
}

func TestNoHost(t *testing.T) {
	client, _ := quick(t)
	client.dial = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "nowhere.test", IsNotFound: true}}
	}
	if _, got := manifestOf(t, client, "nowhere.test/x/y"); got != "cannot reach registry nowhere.test: look up nowhere.test: no such host\nhint: "+offline {
		t.Error(got)
	}
	client.dial = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}, Err: os.ErrDeadlineExceeded}
	}
	if _, got := manifestOf(t, client, "far.test/x/y"); got != "cannot reach registry far.test: dial 192.0.2.1:443: i/o timeout\nhint: "+offline {
		t.Error(got)
	}
}
