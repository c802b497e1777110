package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/minictr/minictr/rootfs"
)

// Find returns the first repository that has the image, of the mirrors and the
// registry itself, and the manifest. When none has it, the error says what each
// of them said.
func (c *Client) Find(ctx context.Context, ref rootfs.Reference) (*Repository, Manifest, error) {
	endpoints, err := c.Config.endpointsFor(ref)
	if err != nil {
		return nil, Manifest{}, err
	}
	var failed []error
	for i, e := range endpoints {
		r, m, err := c.get(ctx, e, ref)
		if err == nil || ctx.Err() != nil {
			return r, m, err
		}
		failed = append(failed, err)
		if i+1 < len(endpoints) {
			c.notify(fmt.Sprintf("%v; trying %v", err, endpoints[i+1]))
		}
	}
	return nil, Manifest{}, together(failed)
}

// get fetches the manifest from one place.
func (c *Client) get(ctx context.Context, e endpoint, ref rootfs.Reference) (*Repository, Manifest, error) {
	r, err := c.open(ctx, e, repositoryScope(e.path, "pull"))
	if err != nil {
		return nil, Manifest{}, err
	}
	m, err := r.Manifest(ctx, cmp.Or(ref.Digest, ref.Tag))
	return r, m, err
}

// together is one line of all failures, with the hint of the last: that of the
// registry itself.
func together(failed []error) error {
	last := failed[len(failed)-1]
	if len(failed) == 1 {
		return last
	}
	var texts []string
	for _, err := range failed {
		texts = append(texts, err.Error())
	}
	all := &Error{Text: strings.Join(texts, "; "), Err: errors.Join(failed...)}
	var e *Error
	if errors.As(last, &e) {
		all.Help, all.Status = e.Help, e.Status
	}
	return all
}
