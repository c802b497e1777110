package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// An Error is what went wrong with a registry, in one line.
type Error struct {
	Text   string // names the registry, and holds no secret
	Help   string // what may help; empty when nothing is known
	Status int    // of the answer; 0 when there was none
	Err    error  // what it comes from; may be nil

	who        string        // gave the answer
	said       string        // its status in words
	codes      []string      // of the API
	retryAfter time.Duration // what it asked for
	lost       bool          // there was a connection before
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.Err }

// Hint says what may help; it may be empty.
func (e *Error) Hint() string { return e.Help }

// IsNotFound reports whether the registry says that it does not have it.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// IsUnreachable reports whether the registry could not be connected to. The hint
// of such an error is for who wants an image from it.
func IsUnreachable(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Help == offline
}

const offline = "without a network an image can come from a file: `minictr load -i ARCHIVE`, `minictr import ROOTFS.tar NAME`, or `minictr run --rootfs DIR`"

// explain turns an error of net/http into one line that says what it means for a
// user. host is the one that the error is about.
func explain(host string, err error) error {
	var known *Error
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &known):
		return known
	}
	for _, row := range meanings {
		if words, help, ok := row(host, err); ok {
			return &Error{Text: words, Help: help, Err: err}
		}
	}
	return &Error{Text: fmt.Sprintf("registry %s: %v", host, innermost(err)), Err: err}
}

// explain names the host that the error is about: the registry, or what it has
// redirected to.
func (r *Repository) explain(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		if at, parseErr := url.Parse(failed.URL); parseErr == nil && at.Host != "" && at.Host != r.host {
			return explain(at.Host, err)
		}
	}
	return explain(r.shown, err)
}

// meanings are what an error may be, the most telling first.
var meanings = []func(host string, err error) (words, help string, ok bool){
	unknownAuthority, wrongName, expired, otherCertificate, refusedByTLS, notTLS,
	unknownHost, unreachable, silent, closed, circles,
}

func certsHelp(host string) string {
	return "put the certificate of its authority into /etc/containers/certs.d/" + host + "/ca.crt"
}

func unknownAuthority(host string, err error) (string, string, bool) {
	var e x509.UnknownAuthorityError
	if !errors.As(err, &e) {
		return "", "", false
	}
	by := ""
	if e.Cert != nil {
		by = fmt.Sprintf(" %q", e.Cert.Issuer.String())
	}
	return fmt.Sprintf("cannot trust registry %s: its certificate is signed by an unknown authority%s", host, by), certsHelp(host), true
}

func wrongName(host string, err error) (string, string, bool) {
	var e x509.HostnameError
	if !errors.As(err, &e) {
		return "", "", false
	}
	names := append([]string(nil), e.Certificate.DNSNames...)
	for _, ip := range e.Certificate.IPAddresses {
		names = append(names, ip.String())
	}
	of := "no name at all"
	if len(names) > 0 {
		of = strings.Join(names, ", ")
	}
	return fmt.Sprintf("cannot trust registry %s: its certificate is for %s", host, of), "use a name that is in the certificate", true
}

func expired(host string, err error) (string, string, bool) {
	var e x509.CertificateInvalidError
	if !errors.As(err, &e) || e.Reason != x509.Expired {
		return "", "", false
	}
	when := "has expired on " + e.Cert.NotAfter.UTC().Format(time.DateTime)
	if time.Now().Before(e.Cert.NotBefore) {
		when = "is not valid before " + e.Cert.NotBefore.UTC().Format(time.DateTime)
	}
	return fmt.Sprintf("cannot trust registry %s: its certificate %s UTC", host, when), "look at this machine's clock (`date -u`); if it is right, the registry needs a new certificate", true
}

func otherCertificate(host string, err error) (string, string, bool) {
	var e *tls.CertificateVerificationError
	if !errors.As(err, &e) {
		return "", "", false
	}
	return fmt.Sprintf("cannot trust registry %s: %s", host, strings.TrimPrefix(innermost(err).Error(), "x509: ")), certsHelp(host), true
}

// refusedByTLS is an alert of the other side (RFC 8446, 6.2), which crypto/tls
// reports as an error of the network.
func refusedByTLS(host string, err error) (string, string, bool) {
	var e *net.OpError
	if !errors.As(err, &e) || e.Op != "remote error" {
		return "", "", false
	}
	return fmt.Sprintf("registry %s refuses the connection: %s", host, strings.TrimPrefix(e.Err.Error(), "tls: ")),
		"if it wants a client certificate, put it into /etc/containers/certs.d/" + host + "/client.cert, its key into client.key", true
}

func notTLS(host string, err error) (string, string, bool) {
	var e tls.RecordHeaderError
	switch {
	case errors.As(err, &e):
	case errors.Is(err, http.ErrSchemeMismatch):
	default:
		return "", "", false
	}
	return fmt.Sprintf("registry %s does not speak TLS", host), insecureHelp(host), true
}

func insecureHelp(host string) string {
	return fmt.Sprintf("if you trust the network, allow it in /etc/minictr/registries.conf: [[registry]] location = %q, insecure = true", host)
}

func unknownHost(host string, err error) (string, string, bool) {
	var e *net.DNSError
	if !errors.As(err, &e) {
		return "", "", false
	}
	return fmt.Sprintf("cannot reach registry %s: look up %s: %s", host, e.Name, e.Err), offline, true
}

func unreachable(host string, err error) (string, string, bool) {
	var e *net.OpError
	if !errors.As(err, &e) || e.Op != "dial" && e.Op != "proxyconnect" {
		return "", "", false
	}
	words := e.Op
	if e.Addr != nil {
		words += " " + e.Addr.String()
	}
	return fmt.Sprintf("cannot reach registry %s: %s: %v", host, words, innermost(e.Err)), offline, true
}

func silent(host string, err error) (string, string, bool) {
	if !isSilence(err) {
		return "", "", false
	}
	return fmt.Sprintf("registry %s has gone silent", host), "", true
}

// isSilence is about a host that is there: one to which there is no connection
// is something else.
func isSilence(err error) bool {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return false
	}
	var e net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &e) && e.Timeout()
}

func closed(host string, err error) (string, string, bool) {
	if !isBroken(err) {
		return "", "", false
	}
	return fmt.Sprintf("registry %s closed the connection", host), "", true
}

func circles(host string, err error) (string, string, bool) {
	if !errors.Is(err, errCircles) {
		return "", "", false
	}
	return fmt.Sprintf("registry %s redirects in circles", host), "", true
}

// errCircles ends a chain of redirects.
var errCircles = errors.New("too many redirects")

// innermost skips the wrapping of net/http, which repeats the request, and with
// it what may be a secret in its URL.
func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// maxAnswerBytes bounds what is read of an answer that is only words.
const maxAnswerBytes = 1 << 20

// answered is the error that an answer stands for.
func answered(who string, r *http.Response) *Error {
	text := fmt.Sprintf("%d %s", r.StatusCode, http.StatusText(r.StatusCode))
	codes := codesOf(r)
	for _, code := range codes {
		text += ": " + code
	}
	return &Error{
		Text: fmt.Sprintf("%s answers %s", who, text), Status: r.StatusCode,
		who: who, said: text, codes: codes, retryAfter: retryAfter(r.Header, time.Now()),
	}
}

// meaning is the answer with what it means in front: "no such image in registry
// docker.io (404 Not Found)".
func (e *Error) meaning(words, help string) *Error {
	e.Text, e.Help = fmt.Sprintf("%s %s (%s)", words, e.who, e.said), help
	return e
}

// codesOf reads the codes of an answer (OCI distribution-spec, "Error Codes").
// What it says beside them is not for one line.
func codesOf(r *http.Response) []string {
	var body struct {
		Errors []struct{ Code string }
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxAnswerBytes))
	if err != nil || json.Unmarshal(raw, &body) != nil {
		return nil
	}
	var codes []string
	for _, e := range body.Errors {
		if e.Code != "" && len(codes) < 3 {
			codes = append(codes, e.Code)
		}
	}
	return codes
}

// elsewhere is "host (redirected to other)" when the answer is from another host
// than was asked.
func elsewhere(host, shown string, at *url.URL) string {
	if at == nil || at.Host == host {
		return shown
	}
	return shown + " (redirected to " + at.Host + ")"
}
