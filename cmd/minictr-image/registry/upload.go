package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
)

// HasBlob reports whether the repository has the blob.
func (r *Repository) HasBlob(ctx context.Context, digest string) (bool, error) {
	err := r.client.again(ctx, func() error {
		answer, err := r.send(ctx, call{method: http.MethodHead, path: "/blobs/" + digest, want: []int{http.StatusOK}})
		if err == nil {
			_ = answer.Body.Close() // there is none
		}
		return err
	})
	if IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// A Source is a blob to upload.
type Source struct {
	Digest string
	Size   int64
	// Open gives the blob from its beginning. It may be called again, when an
	// upload has to start over.
	Open func() (io.ReadCloser, error)
}

// Upload sends a blob that the repository does not have. When it breaks off, it
// starts over: registries that can go on with the rest are few.
func (r *Repository) Upload(ctx context.Context, blob Source) error {
	return r.client.again(ctx, func() error {
		session, _, err := r.startUpload(ctx, url.Values{})
		if err != nil {
			return err
		}
		return r.finishUpload(ctx, session, blob)
	})
}

// Mount makes a blob of another repository of the registry one of this one, if
// the registry can do that and lets us. Otherwise it must be uploaded.
func (r *Repository) Mount(ctx context.Context, digest, from string) (bool, error) {
	session, mounted := "", false
	err := r.client.again(ctx, func() (err error) {
		session, mounted, err = r.startUpload(ctx, url.Values{"mount": {digest}, "from": {from}})
		return err
	})
	var e *Error
	if errors.As(err, &e) && slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusBadRequest}, e.Status) {
		return false, nil
	}
	if err == nil && !mounted {
		r.cancelUpload(ctx, session)
	}
	return mounted, err
}

// startUpload opens an upload session and returns where it is (OCI
// distribution-spec, "Pushing Blobs", "Mounting").
func (r *Repository) startUpload(ctx context.Context, query url.Values) (session string, mounted bool, err error) {
	path := "/blobs/uploads/"
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	answer, err := r.send(ctx, call{method: http.MethodPost, path: path, want: []int{http.StatusAccepted, http.StatusCreated}})
	if err != nil {
		return "", false, err
	}
	_ = answer.Body.Close() // it says nothing
	if answer.StatusCode == http.StatusCreated && len(query) > 0 {
		return "", true, nil
	}
	session, err = r.location(answer)
	return session, false, err
}

// location is where the registry wants an upload. A registry behind a proxy that
// ends TLS often calls itself http: the host is what counts.
func (r *Repository) location(answer *http.Response) (string, error) {
	at, err := answer.Location()
	if err != nil {
		return "", &Error{Text: fmt.Sprintf("registry %s accepts an upload, but does not say where", r.shown)}
	}
	if at.Host == r.host {
		at.Scheme = answer.Request.URL.Scheme
	}
	return at.String(), nil
}

func (r *Repository) finishUpload(ctx context.Context, session string, blob Source) error {
	at, err := url.Parse(session)
	if err != nil {
		return err
	}
	query := at.Query()
	query.Set("digest", blob.Digest)
	at.RawQuery = query.Encode()
	answer, err := r.send(ctx, call{
		method: http.MethodPut, url: at.String(), body: blob.Open, size: blob.Size,
		header: http.Header{"Content-Type": {"application/octet-stream"}},
		want:   []int{http.StatusCreated, http.StatusNoContent},
	})
	if err != nil {
		return fmt.Errorf("upload %s: %w", blob.Digest, wrongDigest(err))
	}
	return answer.Body.Close()
}

// wrongDigest says what it means when the registry finds another digest than the
// store has on record.
func wrongDigest(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusBadRequest && slices.Contains(e.codes, "DIGEST_INVALID") {
		e.Help = "if the disk is to blame, `minictr image verify` finds it"
	}
	return err
}

// cancelUpload spares the registry a session that nobody will go on with.
func (r *Repository) cancelUpload(ctx context.Context, session string) {
	answer, err := r.send(ctx, call{method: http.MethodDelete, url: session, want: []int{http.StatusNoContent, http.StatusOK}})
	if err == nil {
		_ = answer.Body.Close() // it says nothing
	}
}

// PutManifest uploads a manifest under the tag. It must come last: a registry
// takes it only when it has all that the manifest names.
func (r *Repository) PutManifest(ctx context.Context, tag string, m Manifest, digest string) error {
	return r.client.again(ctx, func() error {
		answer, err := r.send(ctx, call{
			method: http.MethodPut, path: "/manifests/" + tag, body: bytesOf(m.Raw), size: int64(len(m.Raw)),
			header: http.Header{"Content-Type": {m.MediaType}},
			want:   []int{http.StatusCreated, http.StatusOK, http.StatusAccepted},
		})
		if err != nil {
			return fmt.Errorf("upload manifest %s: %w", digest, err)
		}
		if said := answer.Header.Get("Docker-Content-Digest"); said != "" && said != digest {
			err = &Error{Text: fmt.Sprintf("registry %s has stored the manifest as %s, not as %s", r.shown, said, digest)}
		}
		return errors.Join(err, answer.Body.Close())
	})
}

func bytesOf(raw []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
}
