package rootfs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A Store keeps images in a directory of the host. All of it is root's, mode
// 0700 and 0600.
//
//	ROOT/l/<32 digits>                 one unpacked layer, named short for overlay's options
//	ROOT/images/layers/<chain>.json    what that layer is
//	ROOT/images/blobs/sha256/<digest>  configurations, manifests and layers as published
//	ROOT/images/partial/<digest>       a layer's blob on its way; flock says that somebody writes it
//	ROOT/images/ids/<image id>.json    an image: run configuration and layers
//	ROOT/images/refs/<key>.json        the same, for a reference; key is its SHA-256
//	ROOT/images/tmp/<random>/          what a running transaction makes; flock says that it runs
//	ROOT/images/locks/<chain>          held by who unpacks that layer
//	ROOT/images/lock                   shared: an image is being used; exclusive: one is taken away
//	ROOT/images/adding                 shared: a transaction runs; exclusive: the sweep
//
// Later files refer to earlier ones and are written later: a layer is whole when
// its directory has its name, an image when its file in ids exists; then all its
// blobs and layers are there. Every file is written under a temporary name and
// renamed, so that a reader needs no lock.
type Store struct {
	root string
}

// OpenStore returns the store in the directory root, minictr's --root. Nothing is
// read or made until it is needed.
func OpenStore(root string) *Store { return &Store{root: root} }

// An Image is an image in the store.
type Image struct {
	ID        string    `json:"id"`                  // "sha256:…" of the configuration
	Reference string    `json:"reference,omitempty"` // full name it was found by; empty when found by id
	Digest    string    `json:"digest,omitempty"`    // of what the name meant in its registry: manifest or index
	Manifest  string    `json:"manifest,omitempty"`  // digest of the manifest for this platform
	Created   time.Time `json:"created"`             // as the configuration says
	Added     time.Time `json:"added"`               // to this store
	Config    Config    `json:"config"`
	Layers    []Layer   `json:"layers"` // the lowest first
}

// A Layer is one unpacked layer.
type Layer struct {
	DiffID  string `json:"diffID"`  // "sha256:…" of the uncompressed tar stream
	ChainID string `json:"chainID"` // of it and all below: OCI image-spec, config.md, "Layer ChainID"
	Size    int64  `json:"size"`    // bytes of file content
	Dir     string `json:"-"`       // absolute
	// Blob is the digest of the published form, mostly compressed, that the
	// image's manifest names. Two images may have one layer in two forms. It is
	// empty in the images of a store that older programs filled.
	Blob     string `json:"blob,omitempty"`
	BlobSize int64  `json:"blobSize,omitempty"` // bytes
}

// Size is the bytes of file content of all layers.
func (i *Image) Size() int64 {
	var n int64
	for _, l := range i.Layers {
		n += l.Size
	}
	return n
}

// Lower returns the layer directories in the order of Overlay.Lower.
func (i *Image) Lower() []string {
	var dirs []string
	for _, l := range slices.Backward(i.Layers) {
		dirs = append(dirs, l.Dir)
	}
	return dirs
}

// ErrAmbiguous is the cause when a short id begins more than one image id.
var ErrAmbiguous = errors.New("more than one image has an id that begins like this")

// NotFoundError says that the store has no image of that name. It unwraps to
// fs.ErrNotExist.
type NotFoundError struct {
	Name      string    // as it was asked for
	Reference Reference // what it would mean in a registry; zero if the name can only be an id
}

func (e *NotFoundError) Error() string { return "find image " + e.Name + ": not in the store" }

// Unwrap makes the error one of a missing file.
func (*NotFoundError) Unwrap() error { return fs.ErrNotExist }

// Lookup finds an image by reference ("alpine", "alpine:3.20",
// "alpine@sha256:…"), by id, or by the unique beginning of an id, in that order,
// as Docker does. It only reads; a reference costs one file. The error is a
// *NotFoundError when there is no such image.
func (s *Store) Lookup(name string) (*Image, error) {
	id := strings.TrimPrefix(name, "sha256:")
	ref, err := ParseReference(name)
	if err != nil && (!isHex(id) || len(id) > 64) {
		return nil, err
	}
	isReference := err == nil
	if isReference {
		image, err := s.byReference(ref)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return image, step.Fail("find image", printable(name), err)
		}
	}
	if isHex(id) && len(id) <= 64 {
		image, err := s.byID(id)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return image, step.Fail("find image", name, err)
		}
	}
	if !isReference {
		ref = Reference{}
	}
	return nil, &NotFoundError{Name: name, Reference: ref}
}

func (s *Store) byReference(ref Reference) (*Image, error) {
	image, err := s.readImage(s.refFile(ref))
	if err == nil || ref.Digest == "" || !errors.Is(err, fs.ErrNotExist) {
		return image, err
	}
	// Pulled by tag and asked for by digest: another name of the same repository.
	images, err := s.List()
	if err != nil {
		return nil, err
	}
	for _, i := range images {
		other, err := ParseReference(i.Reference)
		if err == nil && other.Repository() == ref.Repository() && (i.Digest == ref.Digest || i.Manifest == ref.Digest) {
			return i, nil
		}
	}
	return nil, fs.ErrNotExist
}

func (s *Store) byID(prefix string) (*Image, error) {
	if len(prefix) == 64 {
		return s.readImage(s.idFile("sha256:" + prefix))
	}
	names, err := readDirNames(s.path("ids"))
	if err != nil {
		return nil, err
	}
	var found string
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) || !strings.HasSuffix(name, ".json") {
			continue
		}
		if found != "" {
			return nil, ErrAmbiguous
		}
		found = name
	}
	if found == "" {
		return nil, fs.ErrNotExist
	}
	return s.readImage(s.path("ids", found))
}

// List returns every image by every reference, then those that have none, each
// group in the order of name. A file that vanishes meanwhile is passed over.
func (s *Store) List() ([]*Image, error) {
	named, err := s.readAll("refs", nil)
	if err != nil {
		return nil, step.Fail("list images", s.root, err)
	}
	hasName := map[string]bool{}
	for _, i := range named {
		hasName[hexOf(i.ID)+".json"] = true
	}
	all, err := s.readAll("ids", hasName)
	if err != nil {
		return nil, step.Fail("list images", s.root, err)
	}
	slices.SortFunc(named, func(a, b *Image) int { return strings.Compare(a.Reference, b.Reference) })
	slices.SortFunc(all, func(a, b *Image) int { return strings.Compare(a.ID, b.ID) })
	return append(named, all...), nil
}

// readAll reads the images of one directory, but for the files that are known.
func (s *Store) readAll(dir string, known map[string]bool) ([]*Image, error) {
	names, err := readDirNames(s.path(dir))
	if err != nil {
		return nil, err
	}
	var images []*Image
	for _, name := range names {
		if !strings.HasSuffix(name, ".json") || known[name] {
			continue
		}
		image, err := s.readImage(s.path(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	return images, nil
}

// Blob returns a configuration or manifest as it was published.
func (s *Store) Blob(digest string) ([]byte, error) {
	if err := checkSHA256(digest); err != nil {
		return nil, step.Fail("read blob", printable(digest), err)
	}
	data, err := os.ReadFile(s.blobFile(digest))
	if err == nil && digestOf(data) != digest {
		err = errors.New("content does not match its digest")
	}
	return data, step.Fail("read blob", digest, bare(err))
}

// Use keeps every image from being taken away until release is called. A run
// holds it from Lookup until its container is on record with the image's id,
// where Remove's inUse finds it. It waits only while a Remove is at work.
func (s *Store) Use() (release func(), err error) {
	f, err := s.lock("lock", unix.LOCK_SH)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil // no store yet, so nothing to take away
	}
	if err != nil {
		return nil, step.Fail("lock image store", s.root, bare(err))
	}
	return func() { _ = f.Close() }, nil // closing a lock file loses nothing
}

// readImage reads one file of refs or ids.
func (s *Store) readImage(file string) (*Image, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var image Image
	if err := json.Unmarshal(data, &image); err != nil {
		return nil, step.Fail("read", file, err)
	}
	for i, l := range image.Layers {
		image.Layers[i].Dir = s.layerDir(l.ChainID)
	}
	return &image, nil
}

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.root, "images"}, elem...)...)
}

func (s *Store) refFile(r Reference) string {
	sum := sha256.Sum256([]byte(r.Key()))
	return s.path("refs", hex.EncodeToString(sum[:])+".json")
}

func (s *Store) idFile(id string) string { return s.path("ids", hexOf(id)+".json") }

func (s *Store) blobFile(digest string) string { return s.path("blobs", "sha256", hexOf(digest)) }

func (s *Store) layerFile(chainID string) string { return s.path("layers", hexOf(chainID)+".json") }

// layerDir is named by the first 128 bits of the chain id, in 32 characters, so
// that a hundred of them fit where mount(2) allows 4095 bytes.
func (s *Store) layerDir(chainID string) string {
	hex := hexOf(chainID)
	return filepath.Join(s.root, "l", hex[:min(32, len(hex))])
}

func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// chainID of a layer upon those of parent, which is empty for the lowest.
func chainID(parent, diffID string) string {
	if parent == "" {
		return diffID
	}
	return digestOf([]byte(parent + " " + diffID))
}

// lock opens one of the store's lock files and takes it with flock(2). Closing
// the file gives it back.
func (s *Store) lock(name string, how int) (*os.File, error) {
	flags := os.O_RDWR
	if how != unix.LOCK_SH || name != "lock" {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(s.path(name), flags, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readDirNames lists a directory of the store; one that does not exist is empty.
func readDirNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}
