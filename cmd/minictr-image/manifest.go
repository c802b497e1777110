package main

import (
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/minictr/minictr/cmd/minictr-image/registry"
)

// header is what tells the kinds of manifest apart.
type header struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     types.MediaType `json:"mediaType"`
	ArtifactType  string          `json:"artifactType"`
	Config        *v1.Descriptor  `json:"config"`
	Layers        []v1.Descriptor `json:"layers"`
	Manifests     []v1.Descriptor `json:"manifests"`
	FSLayers      json.RawMessage `json:"fsLayers"`
}

// The kinds of manifest, by what is in them.
const (
	kindImage   = "image"
	kindIndex   = "index"
	kindSchema1 = "schema 1"
)

// kindsByType are the media types that promise a kind. Others promise nothing:
// some registries call every manifest text/plain.
var kindsByType = map[types.MediaType]string{
	types.OCIManifestSchema1:          kindImage,
	types.DockerManifestSchema2:       kindImage,
	types.OCIImageIndex:               kindIndex,
	types.DockerManifestList:          kindIndex,
	types.DockerManifestSchema1:       kindSchema1,
	types.DockerManifestSchema1Signed: kindSchema1,
}

// parseManifest reads an image manifest or an index. One that could be taken for
// either is refused: who checks it might see another image than who runs it
// (CVE-2021-41190).
func parseManifest(raw []byte) (header, error) {
	var h header
	if err := json.Unmarshal(raw, &h); err != nil {
		return h, fmt.Errorf("manifest is not JSON of the right form: %w", err)
	}
	if h.Manifests != nil && (h.Layers != nil || h.Config != nil) {
		return h, errors.New("manifest is both that of an image and an index")
	}
	kind := h.kind()
	if h.isNot(h.MediaType) {
		return h, fmt.Errorf("manifest says that it is %s, which it is not", h.MediaType)
	}
	switch {
	case kind == kindSchema1:
		return h, &hintedError{errors.New("image is in Docker's schema 1 format, which is not supported"), "push it again with a Docker of this decade, or `docker save` it and `minictr load` the archive"}
	case kind == "" || kind == kindImage && h.Config.Digest.Hex == "":
		return h, errors.New("manifest is neither that of an image nor an index")
	}
	return h, nil
}

// kind judges the content; it is empty for what is nothing known.
func (h header) kind() string {
	switch {
	case h.SchemaVersion == 1 || h.FSLayers != nil:
		return kindSchema1
	case h.Manifests != nil:
		return kindIndex
	case h.Config != nil:
		return kindImage
	}
	return ""
}

// isNot reports whether a media type promises something else than the content.
func (h header) isNot(declared types.MediaType) bool {
	kind := h.kind()
	promised, known := kindsByType[declared]
	return known && kind != "" && promised != kind
}

// agree refuses a manifest that is something else than the registry says.
func agree(m registry.Manifest) error {
	var h header
	if json.Unmarshal(m.Raw, &h) != nil {
		return nil // parseManifest says it
	}
	if h.isNot(types.MediaType(m.MediaType)) {
		return fmt.Errorf("registry says that the manifest is %s, which it is not", m.MediaType)
	}
	return nil
}

// checkIsImage refuses what is kept in registries beside images: charts,
// signatures, attestations.
func (h header) checkIsImage() error {
	switch t := h.Config.MediaType; {
	case t.IsConfig():
	case h.ArtifactType != "":
		return fmt.Errorf("not a container image, but an artifact of type %s", h.ArtifactType)
	case t != "" && t != "application/json" && t != "application/octet-stream":
		return fmt.Errorf("not a container image, but %s", t)
	}
	return nil
}
