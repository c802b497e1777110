package main

import (
	"context"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/minictr/minictr/cmd/minictr-image/registry"
	"github.com/minictr/minictr/rootfs"
)

// declareRegistries declares what every command that talks to a registry has.
func declareRegistries(c *command) {
	c.flags.StringVar(&c.registries, "registries-conf", os.Getenv("MINICTR_REGISTRIES_CONF"), "")
}

// client reads the configuration of registries. What takes time is told to
// notify.
func (c *command) client(notify func(string)) (*registry.Client, error) {
	config, err := registry.LoadConfig(c.registries)
	if err != nil {
		return nil, err
	}
	return &registry.Client{Config: *config, Credentials: registry.LoadCredentials(), Notify: notify}, nil
}

// notice prints what takes time, unless all should be quiet.
func (c *command) notice(text string) {
	if !c.quiet && c.progress != "none" {
		fmt.Fprintf(c.errors, "minictr: %s\n", visible(text))
	}
}

// A fromRegistry is one repository of a registry; it is a source.
type fromRegistry struct{ repository *registry.Repository }

// find returns the first repository that has the image, and the manifest.
func find(ctx context.Context, client *registry.Client, ref rootfs.Reference) (fromRegistry, []byte, error) {
	repository, m, err := client.Find(ctx, ref)
	if err != nil {
		return fromRegistry{}, nil, err
	}
	return fromRegistry{repository}, m.Raw, agree(m)
}

func (r fromRegistry) manifest(ctx context.Context, digest v1.Hash) ([]byte, error) {
	m, err := r.repository.Manifest(ctx, digest.String())
	if err != nil {
		return nil, err
	}
	return m.Raw, agree(m)
}

// blob asks the registry and nobody else: where a manifest says that a blob is to
// be had (urls) may be anywhere, and is asked by this machine.
func (r fromRegistry) blob(ctx context.Context, blob v1.Descriptor, from int64) (body io.ReadCloser, begins int64, err error) {
	body, begins, err = r.repository.Blob(ctx, blob.Digest.String(), blob.Size, from)
	if registry.IsNotFound(err) && len(blob.URLs) > 0 {
		err = fmt.Errorf("%w, but names other places for it, which are not asked", err)
	}
	return body, begins, err
}
