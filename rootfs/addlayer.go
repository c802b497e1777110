package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// HasLayer reports whether the layer upon those of below is in the store, so
// that it need not be fetched.
func (t *Transaction) HasLayer(below []Layer, diffID string) (Layer, bool) {
	return t.store.readLayer(chainID(topChain(below), diffID))
}

// AddLayer adds the layer that lies upon those of below. open gives its
// uncompressed tar stream and is called only when the layer is not in the store
// yet. The stream is checked against diffID; an empty diffID takes what comes, if
// it has an end.
// Two processes that add one layer at once unpack it once.
func (t *Transaction) AddLayer(ctx context.Context, below []Layer, diffID string, open func() (io.ReadCloser, error)) (Layer, error) {
	if diffID == "" {
		return t.addUnknown(ctx, below, open)
	}
	if err := checkSHA256(diffID); err != nil {
		return Layer{}, step.Fail("add layer", "", err)
	}
	chain := chainID(topChain(below), diffID)
	lock, err := t.lockLayer(ctx, chain)
	if err != nil {
		return Layer{}, step.Fail("add layer", diffID, err)
	}
	defer lock.Close()
	if layer, have := t.store.readLayer(chain); have {
		return layer, nil
	}
	dir, layer, err := t.unpack(ctx, below, UnpackOptions{}, open)
	if err == nil && layer.DiffID != diffID {
		err = fmt.Errorf("content is %s: digest mismatch", layer.DiffID)
	}
	if err == nil {
		err = t.place(dir, layer)
	}
	if err != nil {
		return Layer{}, step.Fail("add layer", diffID, errors.Join(err, bare(RemoveAll(dir))))
	}
	return layer, nil
}

// addUnknown unpacks first and sees afterwards which layer it was.
func (t *Transaction) addUnknown(ctx context.Context, below []Layer, open func() (io.ReadCloser, error)) (Layer, error) {
	dir, layer, err := t.unpack(ctx, below, UnpackOptions{WantEnd: true}, open)
	if err != nil {
		return Layer{}, step.Fail("add layer", "", errors.Join(err, bare(RemoveAll(dir))))
	}
	lock, err := t.lockLayer(ctx, layer.ChainID)
	if err != nil {
		return Layer{}, step.Fail("add layer", layer.DiffID, err)
	}
	defer lock.Close()
	if present, have := t.store.readLayer(layer.ChainID); have {
		return present, step.Fail("remove", dir, bare(RemoveAll(dir)))
	}
	return layer, step.Fail("add layer", layer.DiffID, t.place(dir, layer))
}

// lockLayer waits until no other process unpacks the layer, or ctx ends.
func (t *Transaction) lockLayer(ctx context.Context, chain string) (*os.File, error) {
	f, err := os.OpenFile(t.store.path("locks", hexOf(chain)), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, bare(err)
	}
	if err := flockContext(ctx, f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// unpack makes the layer's directory in the scratch directory and returns where.
func (t *Transaction) unpack(ctx context.Context, below []Layer, o UnpackOptions, open func() (io.ReadCloser, error)) (dir string, layer Layer, err error) {
	t.layers++
	dir = t.scratch.path("layer" + strconv.Itoa(t.layers))
	stream, err := open()
	if err != nil {
		return dir, Layer{}, err
	}
	defer func() { _ = stream.Close() }() // it was only read
	if err := os.Mkdir(dir, 0o755); err != nil {
		return dir, Layer{}, bare(err)
	}
	root, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return dir, Layer{}, err
	}
	defer unix.Close(root)
	if err := unix.Fchmod(root, 0o755); err != nil {
		return dir, Layer{}, err
	}
	var done func()
	o.Parents, done, err = openLayers(below)
	if err != nil {
		return dir, Layer{}, err
	}
	defer done()
	hash := sha256.New()
	all := io.TeeReader(&contextReader{ctx, stream}, hash)
	size, err := Unpack(root, all, o)
	if err == nil {
		_, err = io.Copy(io.Discard, all) // the digest is that of the whole stream, padding too
	}
	diffID := "sha256:" + hex.EncodeToString(hash.Sum(nil))
	return dir, t.store.layer(below, diffID, size), err
}

// openLayers opens the directories, the topmost first.
func openLayers(below []Layer) (fds []int, done func(), err error) {
	done = func() {
		for _, fd := range fds {
			_ = unix.Close(fd) // a path descriptor has nothing to lose
		}
	}
	for _, l := range slices.Backward(below) {
		fd, err := unix.Open(l.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			done()
			return nil, nil, step.Fail("open layer", l.Dir, err)
		}
		fds = append(fds, fd)
	}
	return fds, done, nil
}

// A contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}

func (s *Store) layer(below []Layer, diffID string, size int64) Layer {
	chain := chainID(topChain(below), diffID)
	return Layer{DiffID: diffID, ChainID: chain, Size: size, Dir: s.layerDir(chain)}
}

func topChain(below []Layer) string {
	if len(below) == 0 {
		return ""
	}
	return below[len(below)-1].ChainID
}

// place gives an unpacked layer its name. The caller holds the layer's lock.
func (t *Transaction) place(dir string, layer Layer) error {
	t.note(layer.Dir)
	t.note(t.store.layerFile(layer.ChainID))
	if err := t.writeLayer(storedLayer{layer, bootID()}); err != nil {
		return err
	}
	err := unix.Rename(dir, layer.Dir)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTEMPTY) { // a directory that lost its file
		if err = unix.Rename(layer.Dir, dir+".old"); err == nil {
			err = unix.Rename(dir, layer.Dir)
		}
	}
	return err
}

// A storedLayer is the file of a layer. While the layer is in no image, Boot says
// in which boot it was unpacked: after another, it may not be whole on the disk.
type storedLayer struct {
	Layer
	Boot string `json:"boot,omitempty"`
}

func (t *Transaction) writeLayer(l storedLayer) error {
	data, err := json.Marshal(l)
	if err == nil {
		err = t.scratch.replaceFile(t.store.layerFile(l.ChainID), data)
	}
	return bare(err)
}

// readLayer returns the layer if it is whole: it has its file and its directory.
func (s *Store) readLayer(chain string) (Layer, bool) {
	l, err := s.readStored(chain)
	if err != nil || l.ChainID != chain || l.Boot != "" && l.Boot != bootID() {
		return Layer{}, false
	}
	l.Dir = s.layerDir(chain)
	st, err := os.Lstat(l.Dir)
	return l.Layer, err == nil && st.IsDir()
}

func (s *Store) readStored(chain string) (l storedLayer, err error) {
	data, err := os.ReadFile(s.layerFile(chain))
	if err == nil {
		err = json.Unmarshal(data, &l)
	}
	return l, err
}

// bootID is one value for each boot of the machine (random(4)).
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown" // then all boots are one, as without a power cut
	}
	return strings.TrimSpace(string(b))
}
