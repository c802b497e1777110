package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/minictr/minictr/rootfs"
)

// A registry is one repository of a registry; it is a source.
type registry struct {
	repository name.Repository
	puller     *remote.Puller
}

// openRegistry prepares for the repository; nothing is sent yet. Credentials
// come from ~/.docker/config.json and its helpers.
func openRegistry(ref rootfs.Reference) (*registry, error) {
	var options []name.Option
	if isLoopback(hostOf(ref.Domain)) {
		options = append(options, name.Insecure)
	}
	repository, err := name.NewRepository(ref.Repository(), options...)
	if err != nil {
		return nil, err
	}
	puller, err := remote.NewPuller(
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithTransport(httpsOnly{newTransport()}),
		remote.WithUserAgent("minictr"),
		remote.WithRetryBackoff(remote.Backoff{Duration: 300 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: 3}),
	)
	return &registry{repository: repository, puller: puller}, err
}

// get returns the manifest that the reference names, which is verified when the
// reference has a digest.
func (r *registry) get(ctx context.Context, ref rootfs.Reference) ([]byte, error) {
	if ref.Digest != "" {
		digest, err := v1.NewHash(ref.Digest)
		if err != nil {
			return nil, err
		}
		return r.manifest(ctx, digest)
	}
	return r.getManifest(ctx, r.repository.Tag(ref.Tag))
}

func (r *registry) manifest(ctx context.Context, digest v1.Hash) ([]byte, error) {
	raw, err := r.getManifest(ctx, r.repository.Digest(digest.String()))
	if err == nil && digestOf(raw) != digest.String() {
		err = fmt.Errorf("manifest %s: %w: content is %s", digest, errMismatch, digestOf(raw))
	}
	return raw, err
}

func (r *registry) getManifest(ctx context.Context, ref name.Reference) ([]byte, error) {
	d, err := r.puller.Get(ctx, ref)
	if err != nil {
		return nil, r.explain(err)
	}
	if len(d.Manifest) > maxManifestBytes {
		return nil, fmt.Errorf("manifest is larger than %d bytes", maxManifestBytes)
	}
	return d.Manifest, nil
}

// blob opens a blob, from that byte on where the registry can.
func (r *registry) blob(ctx context.Context, blob v1.Descriptor, from int64) (body io.ReadCloser, begins int64, err error) {
	var answer *transport.Error
	if from > 0 {
		body, begins, err = r.rest(ctx, blob, from)
	}
	if from == 0 || errors.As(err, &answer) && answer.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		body, err = r.whole(ctx, blob.Digest)
	}
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return nil, 0, fmt.Errorf("registry %s does not have blob %s", r.repository.RegistryStr(), blob.Digest)
	}
	if err != nil {
		return nil, 0, r.explain(err)
	}
	return body, begins, nil
}

func (r *registry) whole(ctx context.Context, digest v1.Hash) (io.ReadCloser, error) {
	l, err := r.puller.Layer(ctx, r.repository.Digest(digest.String()))
	if err != nil {
		return nil, err
	}
	return l.Compressed()
}

// rest asks for a range (OCI distribution-spec, "Pulling blobs"), which a
// registry may answer with the whole.
func (r *registry) rest(ctx context.Context, blob v1.Descriptor, from int64) (io.ReadCloser, int64, error) {
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, r.repository)
	if err != nil {
		return nil, 0, err
	}
	t, err := transport.NewWithContext(ctx, r.repository.Registry, auth, httpsOnly{newTransport()}, []string{r.repository.Scope(transport.PullScope)})
	if err != nil {
		return nil, 0, err
	}
	url := fmt.Sprintf("%s://%s/v2/%s/blobs/%s", r.repository.Scheme(), r.repository.RegistryStr(), r.repository.RepositoryStr(), blob.Digest)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, blob.Size-1))
	answer, err := (&http.Client{Transport: t}).Do(request)
	if err != nil {
		return nil, 0, err
	}
	if answer.StatusCode == http.StatusPartialContent && strings.HasPrefix(answer.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", from)) {
		return answer.Body, from, nil
	}
	if answer.StatusCode == http.StatusOK {
		return answer.Body, 0, nil
	}
	defer func() { _ = answer.Body.Close() }() // it was only read
	return nil, 0, transport.CheckError(answer, http.StatusOK, http.StatusPartialContent)
}

// answers is what the status of an answer means for a pull.
var answers = map[int]struct{ words, hint string }{
	http.StatusNotFound:        {"no such image in registry", "check name and tag"},
	http.StatusUnauthorized:    {"no access to this repository of registry", "it does not exist, or is private: check the name; credentials are taken from ~/.docker/config.json, as `docker login` writes it"},
	http.StatusForbidden:       {"no access to this repository of registry", "it does not exist, or is private: check the name; credentials are taken from ~/.docker/config.json, as `docker login` writes it"},
	http.StatusTooManyRequests: {"too many requests for registry", "wait, or log in: credentials are taken from ~/.docker/config.json, as `docker login` writes it"},
}

// explain turns an error of the registry client into one line that says what it
// means for a user.
func (r *registry) explain(err error) error {
	host := r.repository.RegistryStr()
	var answer *transport.Error
	if errors.As(err, &answer) {
		if a, known := answers[answer.StatusCode]; known {
			return &hintedError{fmt.Errorf("%s %s (%s)", a.words, host, statusOf(answer)), a.hint}
		}
		return fmt.Errorf("registry %s answers %s", host, statusOf(answer))
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	var dial *net.OpError
	var lookup *net.DNSError
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var timeout net.Error
	switch {
	case errors.As(err, &certificate), errors.As(err, &authority):
		return &hintedError{fmt.Errorf("cannot trust registry %s: %w", host, innermost(err)), "install the certificate of its authority on this machine"}
	case errors.As(err, &lookup):
		return &hintedError{fmt.Errorf("cannot reach registry %s: look up %s: %s", host, lookup.Name, lookup.Err), offline}
	case errors.As(err, &dial):
		return &hintedError{fmt.Errorf("cannot reach registry %s: %s: %w", host, dialWords(dial), innermost(dial.Err)), offline}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &hintedError{fmt.Errorf("cannot reach registry %s: no answer in time", host), offline}
	case errors.Is(err, io.EOF):
		return fmt.Errorf("registry %s closed the connection: %w", host, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("registry %s: %w", host, innermost(err))
}

func dialWords(e *net.OpError) string {
	if e.Addr == nil {
		return e.Op
	}
	return e.Op + " " + e.Addr.String()
}

// statusOf is "404 Not Found: MANIFEST_UNKNOWN".
func statusOf(e *transport.Error) string {
	text := fmt.Sprintf("%d %s", e.StatusCode, http.StatusText(e.StatusCode))
	for _, d := range e.Errors {
		text += ": " + string(d.Code)
	}
	return text
}

// innermost skips the wrapping of net/http, which repeats the request.
func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// isVerifyError recognises the error by which go-containerregistry reports a
// wrong digest or size; its type is internal there, its text is its own.
func isVerifyError(err error) bool {
	return strings.HasPrefix(err.Error(), "error verifying ")
}

func newTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: 60 * time.Second,
		MaxIdleConnsPerHost:   8,
	}
}

// httpsOnly refuses plain HTTP but to this machine, as Docker does. Without it
// the registry client would try it for every private address, and follow a
// redirect to it.
type httpsOnly struct{ next http.RoundTripper }

// RoundTrip sends the request.
func (t httpsOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !isLoopback(r.URL.Hostname()) {
		return nil, fmt.Errorf("plain http to %s is refused", r.URL.Hostname())
	}
	return t.next.RoundTrip(r)
}

// isLoopback reports whether the host is this machine by its very name.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// hostOf is a registry's host without port and brackets.
func hostOf(domain string) string {
	if host, _, err := net.SplitHostPort(domain); err == nil {
		return host
	}
	return strings.Trim(domain, "[]")
}
