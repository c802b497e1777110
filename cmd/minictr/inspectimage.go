package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/minictr/minictr/rootfs"
)

// imageView is what inspect prints of an image, as docker image inspect does
// (Engine API v1.47, ImageInspect); ours stands at the end.
type imageView struct {
	ID            string `json:"Id"`
	RepoTags      []string
	RepoDigests   []string
	Parent        string // always empty: nothing is built here
	Comment       string
	Created       time.Time
	DockerVersion string
	Author        string
	Config        imageConfigView
	Architecture  string
	Variant       string
	Os            string
	OsVersion     string
	Size          int64 // bytes
	GraphDriver   graphDriverView
	RootFS        struct {
		Type   string
		Layers []string
	}
	Metadata struct{ LastTagTime time.Time }

	Manifest string      // digest of the manifest for this platform
	Layers   []layerView // the lowest first
}

// layerView is a layer: what was published, and what it is on this machine.
type layerView struct {
	Digest    string // of the published form; empty for one that the store has unpacked only
	MediaType string
	BlobSize  int64 // bytes of the published form
	DiffID    string
	Size      int64 // bytes of file content
	Directory string
}

func (a *app) inspectImage(name string) (any, error) {
	store := rootfs.OpenStore(a.root)
	image, err := store.Lookup(name)
	if err != nil {
		return nil, err
	}
	all, err := store.List()
	if err != nil {
		return nil, err
	}
	config, err := publishedConfigOf(store, image)
	if err != nil {
		return nil, err
	}
	mediaTypes, err := layerTypes(store, image)
	if err != nil {
		return nil, err
	}
	return newImageView(image, all, config, mediaTypes), nil
}

// newImageView describes the image, with all names that it has.
func newImageView(i *rootfs.Image, all []*rootfs.Image, c publishedConfig, mediaTypes map[string]string) *imageView {
	v := &imageView{
		ID: i.ID, RepoTags: []string{}, RepoDigests: []string{}, Created: i.Created.UTC(),
		Comment: c.comment(), DockerVersion: c.DockerVersion, Author: c.Author, Config: c.Config,
		Architecture: i.Config.Architecture, Variant: i.Config.Variant, Os: i.Config.OS, OsVersion: c.OSVersion,
		Size: i.Size(), Manifest: i.Manifest,
	}
	v.RootFS.Type = "layers"
	v.Metadata.LastTagTime = i.Added.UTC()
	for _, l := range i.Layers {
		v.RootFS.Layers = append(v.RootFS.Layers, l.DiffID)
		v.Layers = append(v.Layers, layerView{l.Blob, mediaTypes[l.Blob], l.BlobSize, l.DiffID, l.Size, l.Dir})
	}
	v.GraphDriver = graphDriverView{"overlay", map[string]string{"LowerDir": joinPaths(i.Lower())}}
	for _, other := range all {
		if other.ID != i.ID || other.Reference == "" {
			continue
		}
		v.addName(other)
	}
	return v
}

func (v *imageView) addName(i *rootfs.Image) {
	n := newShortName(i)
	if n.tag != "" {
		v.RepoTags = append(v.RepoTags, n.repository+":"+n.tag)
	}
	if d := n.repository + "@" + i.Digest; i.Digest != "" && !slices.Contains(v.RepoDigests, d) {
		v.RepoDigests = append(v.RepoDigests, d)
	}
	if i.Added.After(v.Metadata.LastTagTime) {
		v.Metadata.LastTagTime = i.Added.UTC()
	}
}

// layerTypes returns the media types of the layers by digest, as the manifest has
// them. An older store may be without it.
func layerTypes(store *rootfs.Store, i *rootfs.Image) (map[string]string, error) {
	if i.Manifest == "" {
		return nil, nil
	}
	raw, err := store.Blob(i.Manifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var m struct {
		Layers []struct{ MediaType, Digest string }
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", i.Manifest, err)
	}
	types := map[string]string{}
	for _, l := range m.Layers {
		types[l.Digest] = l.MediaType
	}
	return types, nil
}
