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
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A Transaction adds images to the store. Until Commit nothing of it can be
// found; after Close, or when the process is killed, nothing of what was not
// committed remains for longer than until the next one.
//
// What is found after a power cut is whole: a layer's file system is synced
// (syncfs(2)) before the layer gets its name, and each file before it gets its
// own. Downloaded blobs are not synced, since they are thrown away.
type Transaction struct {
	store   *Store
	scratch *scratch
	adding  *os.File // keeps the sweep away
	layers  int      // unpacked by this transaction
}

// Begin starts a transaction, after removing what killed ones left. The store
// is made where it does not exist.
func (s *Store) Begin() (*Transaction, error) {
	t := &Transaction{store: s}
	err := s.makeDirs()
	if err == nil {
		t.adding, err = s.lock("adding", unix.LOCK_SH)
	}
	if err != nil {
		return nil, step.Fail("open image store", s.root, err)
	}
	if err = s.removeLeftovers(); err == nil {
		t.scratch, err = s.newScratch()
	}
	if err != nil {
		return nil, errors.Join(step.Fail("open image store", s.root, err), t.adding.Close())
	}
	return t, nil
}

func (s *Store) makeDirs() error {
	dirs := []string{s.root + "/l"}
	for _, name := range []string{"blobs/sha256", "ids", "refs", "layers", "locks", "tmp"} {
		dirs = append(dirs, s.path(name))
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	f, err := s.lock("lock", unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil // it exists, which is all that is wanted
	}
	return errors.Join(err, f.Close())
}

// Close ends the transaction and removes its temporary files and every layer
// and blob in the store that no image uses, unless others add just now.
func (t *Transaction) Close() error {
	err := errors.Join(bare(t.scratch.close()), t.adding.Close(), t.store.sweep())
	return step.Fail("close image store", t.store.root, err)
}

// TempFile opens a new file in the store's temporary folder. It has no name and
// ends with its descriptor.
func (t *Transaction) TempFile() (*os.File, error) {
	fd, err := unix.Open(t.scratch.dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), "temporary file"), nil
	}
	f, err := os.CreateTemp(t.scratch.dir, "") // a file system without O_TMPFILE
	if err == nil {
		err = os.Remove(f.Name())
	}
	return f, step.Fail("make temporary file in", t.scratch.dir, bare(err))
}

// HasLayer reports whether the layer upon those of below is in the store, so
// that it need not be fetched.
func (t *Transaction) HasLayer(below []Layer, diffID string) (Layer, bool) {
	return t.store.readLayer(chainID(topChain(below), diffID))
}

// AddLayer adds the layer that lies upon those of below. open gives its
// uncompressed tar stream and is called only when the layer is not in the store
// yet. The stream is checked against diffID; an empty diffID takes what comes.
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
	dir, layer, err := t.unpack(ctx, below, open)
	if err == nil && layer.DiffID != diffID {
		err = fmt.Errorf("content is %s: digest mismatch", layer.DiffID)
	}
	if err == nil {
		err = t.place(dir, layer)
	}
	if err != nil {
		return Layer{}, step.Fail("add layer", diffID, errors.Join(err, bare(os.RemoveAll(dir))))
	}
	return layer, nil
}

// addUnknown unpacks first and sees afterwards which layer it was.
func (t *Transaction) addUnknown(ctx context.Context, below []Layer, open func() (io.ReadCloser, error)) (Layer, error) {
	dir, layer, err := t.unpack(ctx, below, open)
	if err != nil {
		return Layer{}, step.Fail("add layer", "", errors.Join(err, bare(os.RemoveAll(dir))))
	}
	lock, err := t.lockLayer(ctx, layer.ChainID)
	if err != nil {
		return Layer{}, step.Fail("add layer", layer.DiffID, err)
	}
	defer lock.Close()
	if present, have := t.store.readLayer(layer.ChainID); have {
		return present, step.Fail("remove", dir, bare(os.RemoveAll(dir)))
	}
	return layer, step.Fail("add layer", layer.DiffID, t.place(dir, layer))
}

// lockLayer waits until no other process unpacks the layer, or ctx ends.
func (t *Transaction) lockLayer(ctx context.Context, chain string) (*os.File, error) {
	for {
		f, err := t.store.lock("locks/"+hexOf(chain), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return f, bare(err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond): // flock(2) cannot be told to end with ctx
		}
	}
}

// unpack makes the layer's directory in the scratch directory and returns where.
func (t *Transaction) unpack(ctx context.Context, below []Layer, open func() (io.ReadCloser, error)) (dir string, layer Layer, err error) {
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
	parents, done, err := openLayers(below)
	if err != nil {
		return dir, Layer{}, err
	}
	defer done()
	hash := sha256.New()
	all := io.TeeReader(&contextReader{ctx, stream}, hash)
	size, err := Unpack(root, all, UnpackOptions{Parents: parents})
	if err == nil {
		_, err = io.Copy(io.Discard, all) // the digest is that of the whole stream, padding too
	}
	if err == nil {
		err = unix.Syncfs(root)
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
	data, err := json.Marshal(layer)
	if err != nil {
		return err
	}
	if err := t.scratch.writeFile(t.store.layerFile(layer.ChainID), data); err != nil {
		return bare(err)
	}
	err = unix.Rename(dir, layer.Dir)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTEMPTY) { // a directory that lost its file
		if err = unix.Rename(layer.Dir, dir+".old"); err == nil {
			err = unix.Rename(dir, layer.Dir)
		}
	}
	return err
}

// readLayer returns the layer if it is whole: it has its file and its directory.
func (s *Store) readLayer(chain string) (Layer, bool) {
	var l Layer
	data, err := os.ReadFile(s.layerFile(chain))
	if err != nil || json.Unmarshal(data, &l) != nil || l.ChainID != chain {
		return Layer{}, false
	}
	l.Dir = s.layerDir(chain)
	st, err := os.Lstat(l.Dir)
	return l, err == nil && st.IsDir()
}

// NewImage is what Commit needs to know.
type NewImage struct {
	Config     []byte      // the configuration, whose SHA-256 is the image's id
	Manifest   []byte      // the manifest, if there is one
	Digest     string      // of what the name meant: the manifest's, or an index's; may be empty
	Layers     []Layer     // from AddLayer or HasLayer, the lowest first
	References []Reference // names for the image; another image that has one loses it
}

// Commit makes the image visible. The layers must be those that the
// configuration names.
func (t *Transaction) Commit(n NewImage) (*Image, error) {
	id := digestOf(n.Config)
	c, err := parseImageConfig(n.Config)
	if err == nil {
		err = checkLayers(c.RootFS.DiffIDs, n.Layers)
	}
	if err != nil {
		return nil, step.Fail("add image", id, err)
	}
	image := &Image{
		ID: id, Digest: n.Digest, Created: c.Created, Added: time.Now().UTC().Truncate(time.Second),
		Config: c.runConfig(), Layers: n.Layers,
	}
	if len(n.Manifest) > 0 {
		image.Manifest = digestOf(n.Manifest)
	}
	return image, step.Fail("add image", id, bare(t.publish(image, n)))
}

func checkLayers(diffIDs []string, layers []Layer) error {
	if len(diffIDs) != len(layers) {
		return fmt.Errorf("rootfs.diff_ids: %d layers, but %d are given", len(diffIDs), len(layers))
	}
	chain := ""
	for i, id := range diffIDs {
		if chain = chainID(chain, id); layers[i].ChainID != chain {
			return fmt.Errorf("rootfs.diff_ids[%d]: %s is not the layer that was given", i, id)
		}
	}
	return nil
}

// publish writes the blobs, then the image, then its names, and holds Remove off
// meanwhile.
func (t *Transaction) publish(image *Image, n NewImage) error {
	for _, blob := range [][]byte{n.Config, n.Manifest} {
		if len(blob) == 0 {
			continue
		}
		if err := t.scratch.writeFile(t.store.blobFile(digestOf(blob)), blob); err != nil {
			return err
		}
	}
	if err := syncDirectory(t.store.root + "/l"); err != nil {
		return err
	}
	lock, err := t.store.lock("lock", unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := t.writeImage(t.store.idFile(image.ID), *image); err != nil {
		return err
	}
	for _, ref := range n.References {
		image.Reference = ref.Key()
		if err := t.writeImage(t.store.refFile(ref), *image); err != nil {
			return err
		}
	}
	return nil
}

func (t *Transaction) writeImage(file string, image Image) error {
	data, err := json.Marshal(image)
	if err != nil {
		return err
	}
	return t.scratch.writeFile(file, data)
}

func syncDirectory(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
