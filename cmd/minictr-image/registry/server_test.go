package registry

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// A badServer answers every request with one function and remembers what it was
// asked.
type badServer struct {
	*httptest.Server
	host string

	mu    sync.Mutex
	asked []string      // "GET /v2/x/manifests/latest"
	auth  []string      // the Authorization of each
	heads []http.Header // all headers of each
}

func startServer(t testing.TB, f http.HandlerFunc) *badServer {
	t.Helper()
	s := newServer(f)
	s.Start()
	s.host = s.Listener.Addr().String()
	t.Cleanup(s.Close)
	return s
}

func newServer(f http.HandlerFunc) *badServer {
	s := &badServer{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.Path)
		s.auth = append(s.auth, r.Header.Get("Authorization"))
		s.heads = append(s.heads, r.Header)
		s.mu.Unlock()
		f(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients try TLS on it, and break off
	return s
}

// times is how often the server was asked for the path.
func (s *badServer) times(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, a := range s.asked {
		if strings.Contains(a, path) {
			n++
		}
	}
	return n
}

// startTLS is a registry that speaks TLS with a certificate of the authority.
func startTLS(t testing.TB, certificate tls.Certificate, f http.HandlerFunc) *badServer {
	t.Helper()
	s := newServer(f)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s.StartTLS()
	s.host = s.Listener.Addr().String()
	t.Cleanup(s.Close)
	return s
}

// An authority signs certificates for tests.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	certificate, err := x509.ParseCertificate(der)
	check(t, err)
	return authority{certificate, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// sign makes a certificate for a server or a client.
func (a authority) sign(t testing.TB, change func(*x509.Certificate)) (certificate tls.Certificate, certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost", "registry.test"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	check(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	check(t, err)
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	certificate, err = tls.X509KeyPair(certPEM, keyPEM)
	check(t, err)
	return certificate, certPEM, keyPEM
}

// quick is a client that loses no time, and keeps its notices.
func quick(t testing.TB) (*Client, *notices) {
	t.Helper()
	n := &notices{}
	c := &Client{Notify: n.add, Patience: 150 * time.Millisecond, pause: time.Millisecond}
	t.Cleanup(c.Close)
	return c, n
}

type notices struct {
	mu   sync.Mutex
	list []string
}

func (n *notices) add(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, text)
}

func (n *notices) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.list, "\n")
}

// at makes the client find every host of that name at the server.
func (c *Client) at(names map[string]string) {
	c.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if there, ok := names[address]; ok {
			address = there
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
}

// credentials is a file with one password for each registry.
func credentials(t testing.TB, passwords map[string]string) Credentials {
	t.Helper()
	c := Credentials{Files: []string{t.TempDir() + "/config.json"}}
	for server, userPassword := range passwords {
		user, password, _ := strings.Cut(userPassword, ":")
		_, _, err := c.store(context.Background(), server, Credential{Username: user, Password: password})
		check(t, err)
	}
	return c
}

// manifestOf asks for the manifest of an image and returns what a user would
// read: the error and the hint.
func manifestOf(t testing.TB, c *Client, name string) (Manifest, string) {
	t.Helper()
	_, m, err := c.Find(context.Background(), parseReference(t, name))
	return m, lines(err)
}

func lines(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if h, ok := err.(interface{ Hint() string }); ok && h.Hint() != "" {
		text += "\nhint: " + h.Hint()
	}
	return text
}

func answer(status int, header map[string]string, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// onTCP is a server that does with each connection what f does.
func onTCP(t testing.TB, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); f(c) }()
		}
	}()
	return l.Addr().String()
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	check(t, err)
	return string(b)
}

func sprint(format string, args ...any) string { return fmt.Sprintf(format, args...) }

func chmod(t testing.TB, file string) {
	t.Helper()
	check(t, os.Chmod(file, 0o755))
}

func symlink(t testing.TB, to, file string) {
	t.Helper()
	check(t, os.Symlink(to, file))
}

func mode(t testing.TB, file string) os.FileMode {
	t.Helper()
	st, err := os.Stat(file)
	check(t, err)
	return st.Mode()
}

func isLink(t testing.TB, file string) bool {
	t.Helper()
	st, err := os.Lstat(file)
	check(t, err)
	return st.Mode()&os.ModeSymlink != 0
}

func entries(t testing.TB, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	check(t, err)
	return len(list)
}

func uid() int { return os.Getuid() }
