package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
)

func declareSave(c *command) {
	c.flags.StringVar(&c.output, "output", "-", "")
	c.flags.StringVar(&c.output, "o", "-", "")
	c.flags.StringVar(&c.format, "format", formatDocker, "")
	c.flags.Var(&c.platform, "platform", "")
}

// The forms of an archive. Each is an OCI image layout (OCI image-spec,
// image-layout.md): what the others have, as bytes, the docker-archive has with
// one more table of contents, like that of docker save since version 25.
const (
	formatDocker = "docker-archive"
	formatOCI    = "oci-archive"
	formatDir    = "oci-dir"
)

// save writes images into an archive. The same images give the same bytes.
func save(ctx context.Context, c *command) error {
	if !slices.Contains([]string{formatDocker, formatOCI, formatDir}, c.format) {
		return &usageError{fmt.Sprintf("--format %q: there are %s, %s and %s", c.format, formatDocker, formatOCI, formatDir), subcommands()["save"].usage}
	}
	images, err := c.openImages(c.args)
	if err != nil {
		return err
	}
	defer images.close()
	to, what, err := c.createArchive()
	if err != nil {
		return step.Fail("save to", what, err)
	}
	err = images.write(ctx, to, c.format == formatDocker)
	if err == nil {
		err = plain(to.finish())
	}
	if errors.Is(err, unix.ENOSPC) {
		err = &hintedError{err, "see `df -h` and `df -i` for the place of the archive"}
	}
	return step.Fail("save to", what, errors.Join(cause(ctx, err), to.drop()))
}

// createArchive opens what the archive is written to, and says what that is.
func (c *command) createArchive() (to archive, what string, err error) {
	if c.output == "/dev/stdout" {
		c.output = "-"
	}
	switch {
	case c.format == formatDir && c.output == "-":
		return nil, formatDir, &hintedError{errors.New("a directory must be named"), "name one with -o DIR"}
	case c.format == formatDir:
		to, err = newDirectoryArchive(c.output)
		return to, c.output, err
	case c.output != "-":
		file, err := createOutput(c.output)
		return newTarArchive(file), c.output, err
	}
	if file, ok := c.out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return nil, "a terminal", &hintedError{errors.New("an archive is not for reading"), "write it to a file, with -o FILE or > FILE"}
	}
	return newTarArchive(stream{c.out}), "standard output", nil
}

// write writes the whole archive: the tables of contents, then the blobs.
func (s *savedImages) write(ctx context.Context, to archive, docker bool) error {
	files := []struct {
		name    string
		content func() (any, error)
	}{
		{"oci-layout", func() (any, error) { return map[string]string{"imageLayoutVersion": "1.0.0"}, nil }},
		{"index.json", func() (any, error) { return s.index() }},
		{"manifest.json", func() (any, error) { return s.dockerManifest(), nil }},
	}
	if !docker {
		files = files[:2]
	}
	for _, f := range files {
		content, err := f.content()
		if err != nil {
			return err
		}
		raw, err := json.Marshal(content)
		if err != nil {
			return err
		}
		if err := addBytes(to, f.name, raw); err != nil {
			return err
		}
	}
	if err := errors.Join(to.mkdir("blobs"), to.mkdir("blobs/sha256")); err != nil {
		return err
	}
	for _, b := range s.blobs {
		if err := b.write(ctx, to); err != nil {
			return err
		}
	}
	return nil
}

// index names the images in the two ways that readers look for: containerd and
// Docker in annotationName, skopeo, umoci and podman in the OCI's own.
func (s *savedImages) index() (v1.IndexManifest, error) {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	for _, i := range s.images {
		digest, err := v1.NewHash(i.Manifest)
		if err != nil {
			return index, err
		}
		entry := v1.Descriptor{
			MediaType: i.mediaType, Digest: digest, Size: i.manifestSize,
			Platform: &v1.Platform{OS: i.Config.OS, Architecture: i.Config.Architecture, Variant: i.Config.Variant},
		}
		if len(i.names) == 0 {
			index.Manifests = append(index.Manifests, entry)
		}
		for _, n := range i.names {
			entry.Annotations = map[string]string{annotationName: n.String(), annotationRefName: n.String()}
			index.Manifests = append(index.Manifests, entry)
		}
	}
	return index, nil
}

// dockerManifest is what Docker of every age and podman look for. Its layers are
// the blobs as they are: those readers look what compression it is.
func (s *savedImages) dockerManifest() []dockerImage {
	var list []dockerImage
	for _, i := range s.images {
		d := dockerImage{Config: blobName(i.ID)}
		for _, n := range i.names {
			d.RepoTags = append(d.RepoTags, n.String()) // podman takes a short name for localhost/…
		}
		for _, l := range i.Layers {
			d.Layers = append(d.Layers, blobName(l.Blob))
		}
		list = append(list, d)
	}
	return list
}

// write writes one blob and compares it with its digest meanwhile.
func (b savedBlob) write(ctx context.Context, to archive) error {
	if b.file == nil {
		return addBytes(to, blobName(b.digest), b.data)
	}
	digest, err := v1.NewHash(b.digest)
	if err != nil {
		return err
	}
	v := newVerifier(v1.Descriptor{Digest: digest, Size: b.size})
	content := io.TeeReader(io.NewSectionReader(b.file, 0, b.size), v)
	if err := to.add(blobName(b.digest), b.size, contextReader{ctx, content}); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if err := v.verdict(nil); err != nil {
		return &hintedError{err, damaged}
	}
	return nil
}

// damaged is the hint for a blob that is not what it was.
const damaged = "the store is damaged: `minictr rmi IMAGE` and then `minictr pull IMAGE` get it anew"

// A contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

// Read reads on.
func (c contextReader) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}

// notHere adds a hint to the error of a name that the store does not have.
func notHere(err error) error {
	var missing *rootfs.NotFoundError
	if errors.As(err, &missing) {
		return &hintedError{err, "`minictr images` lists those that are here; `minictr pull` gets one from a registry"}
	}
	return err
}
