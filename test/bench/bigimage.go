package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
)

// The image whose unpacking is measured: layers of many small files and a few
// big ones, half text and half noise, so that gzip has the work it has with real
// ones.
const (
	bigLayers      = 8
	bigDirectories = 50 // in a layer
	bigFiles       = 50 // in a directory
)

// bigSizes are what the files of a directory measure in turn, in bytes.
var bigSizes = []int{200, 1500, 4000, 9000, 15000, 30000, 100000}

const bigFirst = 60_000 // more, of the first file of a directory

// A bigImage is written as an OCI image layout (image-spec, image-layout.md).
type bigImage struct {
	dir   string
	bytes int64 // of file content
	files int
}

// makeBigImage writes the layout and packs it as an archive beside it.
func makeBigImage(dir string) (*bigImage, error) {
	b := &bigImage{dir: dir}
	if err := os.MkdirAll(dir+"/blobs/sha256", 0o755); err != nil {
		return nil, err
	}
	layers, diffIDs := make([]descriptor, bigLayers), make([]string, bigLayers)
	errs := make([]error, bigLayers)
	var wg sync.WaitGroup
	for i := range bigLayers {
		wg.Go(func() { layers[i], diffIDs[i], errs[i] = b.layer(i) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	for _, size := range fileSizes() {
		b.bytes += int64(size) * bigLayers * bigDirectories
		b.files += bigLayers * bigDirectories
	}
	if err := b.index(layers, diffIDs); err != nil {
		return nil, err
	}
	return b, quiet("tar", "-C", dir, "-cf", dir+".tar", "blobs", "index.json", "oci-layout")
}

func fileSizes() (sizes []int) {
	for i := range bigFiles {
		sizes = append(sizes, bigSizes[i%len(bigSizes)])
	}
	sizes[0] += bigFirst
	return sizes
}

// descriptor is image-spec, descriptor.md.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

const ociType = "application/vnd.oci.image."

// layer makes one layer and returns it with its diff id.
func (b *bigImage) layer(i int) (descriptor, string, error) {
	file, err := os.CreateTemp(b.dir, "layer")
	if err != nil {
		return descriptor{}, "", err
	}
	defer file.Close()
	compressed, plain := sha256.New(), sha256.New()
	z := gzip.NewWriter(io.MultiWriter(file, compressed))
	if err := writeBigLayer(io.MultiWriter(z, plain), i); err != nil {
		return descriptor{}, "", err
	}
	if err := z.Close(); err != nil {
		return descriptor{}, "", err
	}
	st, err := file.Stat()
	if err != nil {
		return descriptor{}, "", err
	}
	blob := descriptor{MediaType: ociType + "layer.v1.tar+gzip", Digest: fmt.Sprintf("sha256:%x", compressed.Sum(nil)), Size: st.Size()}
	return blob, fmt.Sprintf("sha256:%x", plain.Sum(nil)), os.Rename(file.Name(), b.file(blob.Digest))
}

// file is where a blob lies.
func (b *bigImage) file(digest string) string {
	return b.dir + "/blobs/sha256/" + digest[len("sha256:"):]
}

func writeBigLayer(out io.Writer, i int) error {
	w := tar.NewWriter(out)
	noise := rand.NewChaCha8([32]byte{byte(i)})
	for d := range bigDirectories {
		dir := fmt.Sprintf("layer%d/dir%d", i, d)
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}); err != nil {
			return err
		}
		for f, size := range fileSizes() {
			if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%s/file%d", dir, f), Mode: 0o644, Size: int64(size)}); err != nil {
				return err
			}
			if _, err := w.Write(fileContent(noise, size)); err != nil {
				return err
			}
		}
	}
	return w.Close()
}

// fileContent is noise, then words.
func fileContent(noise *rand.ChaCha8, size int) []byte {
	content := make([]byte, size)
	_, _ = noise.Read(content[:size/2]) // never fails
	for i := size / 2; i < size; i++ {
		content[i] = "the quick brown fox jumps over a lazy dog\n"[(uint64(i)*uint64(i)>>7^uint64(i))%42]
	}
	return content
}

func (b *bigImage) blob(data []byte) (descriptor, error) {
	sum := sha256.Sum256(data)
	d := descriptor{Digest: fmt.Sprintf("sha256:%x", sum), Size: int64(len(data))}
	return d, os.WriteFile(b.file(d.Digest), data, 0o644)
}

// index writes configuration, manifest and index.
func (b *bigImage) index(layers []descriptor, diffIDs []string) error {
	type object = map[string]any
	config, err := b.document("config.v1+json", object{
		"architecture": "amd64", "os": "linux", "config": object{"Cmd": []string{"/bin/true"}},
		"rootfs": object{"type": "layers", "diff_ids": diffIDs},
	})
	if err != nil {
		return err
	}
	manifest, err := b.document("manifest.v1+json", object{
		"schemaVersion": 2, "mediaType": ociType + "manifest.v1+json", "config": config, "layers": layers,
	})
	if err != nil {
		return err
	}
	manifest.Annotations = map[string]string{"org.opencontainers.image.ref.name": "localhost/big:latest"}
	text, err := json.Marshal(object{"schemaVersion": 2, "manifests": []descriptor{manifest}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.dir+"/oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644); err != nil {
		return err
	}
	return os.WriteFile(b.dir+"/index.json", text, 0o644)
}

func (b *bigImage) document(mediaType string, content map[string]any) (descriptor, error) {
	text, err := json.Marshal(content)
	if err != nil {
		return descriptor{}, err
	}
	d, err := b.blob(text)
	d.MediaType = ociType + mediaType
	return d, err
}
