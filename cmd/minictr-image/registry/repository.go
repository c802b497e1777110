package registry

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/minictr/minictr/rootfs"
)

const userAgent = "minictr"

// A Repository is the part of a registry that holds the images of one name. Its
// methods may be called from several goroutines.
type Repository struct {
	client *Client
	endpoint
	authorizer *authorizer
	http       *http.Client

	mu     sync.Mutex
	scheme string // of URLs; empty until it is known
}

// ForPush returns the repository that the name says. Nothing is sent yet.
// mountFrom are the repositories that Mount may be asked for: a token must be
// good for them, too.
func (c *Client) ForPush(ctx context.Context, ref rootfs.Reference, mountFrom ...string) (*Repository, error) {
	e, err := c.Config.endpointToPush(ref)
	if err != nil {
		return nil, err
	}
	scopes := []string{repositoryScope(e.path, "pull,push")}
	for _, from := range mountFrom {
		scopes = append(scopes, repositoryScope(from, "pull"))
	}
	r, err := c.open(ctx, e, scopes...)
	if err == nil {
		r.authorizer.pushes = true
	}
	return r, err
}

func repositoryScope(path, actions string) string { return "repository:" + path + ":" + actions }

func (c *Client) open(ctx context.Context, e endpoint, scopes ...string) (*Repository, error) {
	credential, err := c.Credentials.find(ctx, e)
	if err != nil {
		return nil, err
	}
	return c.openAs(e, credential, scopes...), nil
}

func (c *Client) openAs(e endpoint, credential Credential, scopes ...string) *Repository {
	a := &authorizer{router: router{c, e.host, e.insecure}, shown: e.shown, credential: credential, scopes: scopes}
	return &Repository{client: c, endpoint: e, authorizer: a, http: a.router.httpClient(a)}
}

// mediaTypes are the kinds of manifest that are asked for. Schema 1 is among
// them so that it is refused by its name.
var mediaTypes = []string{
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.docker.distribution.manifest.v1+prettyjws",
}

// MaxManifestBytes is the largest manifest that is read. OCI distribution-spec,
// "Pushing Manifests": registries should take 4 MB.
const MaxManifestBytes = 4 << 20

// A Manifest is what a tag or digest names: an image, an index, or something
// else.
type Manifest struct {
	Raw       []byte
	MediaType string // as the registry says; it may lie
}

// Manifest fetches what the tag or digest names. What a digest names is
// verified.
func (r *Repository) Manifest(ctx context.Context, tagOrDigest string) (Manifest, error) {
	var m Manifest
	err := r.client.again(ctx, func() error {
		answer, err := r.send(ctx, call{path: "/manifests/" + tagOrDigest, accept: mediaTypes, want: []int{http.StatusOK}})
		if err != nil {
			return r.noManifest(err)
		}
		defer func() { _ = answer.Body.Close() }() // it was only read
		m.MediaType, _, _ = strings.Cut(answer.Header.Get("Content-Type"), ";")
		m.Raw, err = io.ReadAll(io.LimitReader(answer.Body, MaxManifestBytes+1))
		return explain(r.shown, err)
	})
	switch {
	case err != nil:
		return Manifest{}, err
	case len(m.Raw) > MaxManifestBytes:
		return Manifest{}, &Error{Text: fmt.Sprintf("manifest from registry %s is larger than %d bytes", r.shown, MaxManifestBytes)}
	case strings.Contains(tagOrDigest, ":"):
		err = verify(m.Raw, tagOrDigest)
	}
	return m, err
}

func verify(raw []byte, digest string) error {
	if !strings.HasPrefix(digest, "sha256:") {
		return &Error{Text: fmt.Sprintf("digest %s: only sha256 is supported", digest)}
	}
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(raw)); got != digest {
		return fmt.Errorf("manifest %s: %w: content is %s", digest, rootfs.ErrDigest, got)
	}
	return nil
}

// noManifest says more about what an answer means for somebody who asked for an
// image.
func (r *Repository) noManifest(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusNotFound {
		return e.meaning("no such image in", "check name and tag")
	}
	return err
}

// Blob opens a blob of that size from the byte at offset. A registry may ignore
// that: start is where the body begins. Nothing of the body is verified.
func (r *Repository) Blob(ctx context.Context, digest string, size, offset int64) (body io.ReadCloser, start int64, err error) {
	c := call{path: "/blobs/" + digest, want: []int{http.StatusOK, http.StatusPartialContent}}
	if offset > 0 {
		c.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", offset, size-1)}}
	}
	var answer *http.Response
	err = r.client.again(ctx, func() error {
		answer, err = r.send(ctx, c)
		var e *Error
		if errors.As(err, &e) && e.Status == http.StatusRequestedRangeNotSatisfiable && c.header != nil {
			c.header = nil // there is no more than that: it is not the same blob
			answer, err = r.send(ctx, c)
		}
		return err
	})
	if IsNotFound(err) {
		err = &Error{Text: fmt.Sprintf("registry %s does not have blob %s", r.shown, digest), Status: http.StatusNotFound, Err: err}
	}
	if err != nil {
		return nil, 0, err
	}
	if answer.StatusCode == http.StatusPartialContent {
		if _, err := fmt.Sscanf(answer.Header.Get("Content-Range"), "bytes %d-", &start); err != nil || start != offset {
			_ = answer.Body.Close() // it was only read
			return nil, 0, &Error{Text: fmt.Sprintf("registry %s answers with the range %q of blob %s, where byte %d was asked for", r.shown, answer.Header.Get("Content-Range"), digest, offset)}
		}
	}
	return &blobBody{answer.Body, r.shown}, start, nil
}

// A blobBody tells the errors of a connection in words.
type blobBody struct {
	io.ReadCloser
	shown string
}

// Read reads on.
func (b *blobBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = explain(b.shown, err)
	}
	return n, err
}

// A call is a request to the registry's API, or one that it asked for.
type call struct {
	method string // GET by default
	path   string // below /v2/NAME
	url    string // in place of path
	accept []string
	header http.Header
	size   int64
	body   func() (io.ReadCloser, error) // may be called again
	want   []int                         // the statuses that are no errors
}

// send sends the request, and once more with proof when the registry asks for
// some. It retries nothing else.
func (r *Repository) send(ctx context.Context, c call) (*http.Response, error) {
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	answer, err := r.sendOnce(ctx, c)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusUnauthorized {
		proven, err := r.authorizer.answer(ctx, answer)
		if err != nil {
			_ = answer.Body.Close() // it was only read
			return nil, err
		}
		if proven {
			_ = answer.Body.Close() // it was only read
			if answer, err = r.sendOnce(ctx, c); err != nil {
				return nil, err
			}
		}
	}
	for _, s := range c.want {
		if answer.StatusCode == s {
			return answer, nil
		}
	}
	defer func() { _ = answer.Body.Close() }() // it was only read
	return nil, r.unwanted(answer)
}

func (r *Repository) sendOnce(ctx context.Context, c call) (*http.Response, error) {
	request, err := r.request(ctx, c)
	if err != nil {
		return nil, err
	}
	answer, err := r.http.Do(request)
	if err = r.explain(err); err == nil {
		return answer, nil
	}
	var dial *net.OpError
	if e, ok := err.(*Error); ok && errors.As(err, &dial) && dial.Op == "dial" { //nolint:errorlint // explain's own, not yet wrapped
		e.lost = true // connect has reached it
	}
	return nil, err
}

func (r *Repository) request(ctx context.Context, c call) (*http.Request, error) {
	at := c.url
	if at == "" {
		at = r.base() + "/v2/" + r.path + c.path
	}
	request, err := http.NewRequestWithContext(ctx, c.method, at, nil)
	if err != nil {
		return nil, err
	}
	for key, values := range c.header {
		request.Header[key] = values
	}
	request.Header.Set("User-Agent", userAgent)
	if c.accept != nil {
		request.Header.Set("Accept", strings.Join(c.accept, ", "))
	}
	if c.body != nil {
		request.GetBody, request.ContentLength = c.body, c.size
		request.Body, err = c.body()
	}
	return request, err
}

func (r *Repository) base() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.scheme + "://" + r.host
}

// unwanted is the error that an answer stands for.
func (r *Repository) unwanted(answer *http.Response) error {
	e := answered("registry "+elsewhere(r.host, r.shown, answer.Request.URL), answer)
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return e.meaning("no access to this repository of", r.authorizer.accessHelp())
	case http.StatusTooManyRequests:
		help := ""
		if r.authorizer.credential.isEmpty() {
			help = fmt.Sprintf("with an account there may be more for you: `minictr login %s`", r.shown)
		}
		return e.meaning("too many requests for", help)
	}
	return e
}
