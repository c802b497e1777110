package registry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
)

// connect finds out, once, whether the registry speaks TLS and what proof it
// wants, by the request that is there for it (OCI distribution-spec,
// "Determining Support"). A token is fetched before the first real request, so
// that no body of an upload is sent in vain.
func (r *Repository) connect(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.scheme != "" {
		return nil
	}
	schemes := []string{"https"}
	if r.insecure || isLoopback(r.host) {
		schemes = append(schemes, "http")
	}
	answer, scheme, err := r.ping(ctx, schemes)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // it was only read
	if answer.StatusCode == http.StatusUnauthorized {
		if _, err := r.authorizer.answer(ctx, answer); err != nil {
			return err
		}
	} else if !slices.Contains(pingStatuses, answer.StatusCode) {
		return r.unwanted(answer)
	}
	r.scheme = scheme
	return nil
}

// pingStatuses are the answers after which it is worth to go on: some registries
// answer this request with 404 or 403, and serve images.
var pingStatuses = []int{http.StatusOK, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed}

// ping sends the request by the first scheme that the registry speaks. The
// error, when there is none, is that of TLS: it is what was meant.
func (r *Repository) ping(ctx context.Context, schemes []string) (*http.Response, string, error) {
	var first error
	for _, scheme := range schemes {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+r.host+"/v2/", nil)
		if err != nil {
			return nil, "", err
		}
		request.Header.Set("User-Agent", userAgent)
		answer, err := r.http.Do(request)
		if err == nil && first != nil && answer.StatusCode == http.StatusBadRequest {
			_ = answer.Body.Close() // an HTTPS server that was asked in plain HTTP: the first error tells why
			break
		}
		if err == nil {
			return answer, scheme, nil
		}
		if first == nil {
			first = r.explain(err)
		}
		if !maySpeakPlain(err) {
			break
		}
	}
	return nil, "", first
}

// maySpeakPlain reports whether a failed attempt at TLS is such that the host
// may speak plain HTTP. Nobody there is none.
func maySpeakPlain(err error) bool {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return false
	}
	_, _, plain := notTLS("", err)
	return plain || isBroken(err)
}
