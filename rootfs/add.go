package rootfs

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A Transaction adds images to the store. Until Commit nothing of it can be
// found; after Close, or when the process is killed, nothing of what was not
// committed remains for longer than until the next one.
//
// What is found after a power cut is whole. Commit syncs the file system once
// (syncfs(2)) before it names the image. A layer without an image counts only
// for the boot in which it was unpacked, and a blob without one is verified
// before it is used.
type Transaction struct {
	// KeepUnused lets the layers and blobs of a transaction that fails stay for a
	// day, so that the next attempt goes on where this one stopped. Those of one
	// that is killed always do.
	KeepUnused bool

	store   *Store
	scratch *scratch
	adding  *os.File // keeps the sweep away
	layers  int      // unpacked by this transaction

	mu  sync.Mutex
	own map[string]bool // files of layers and blobs that it has seen to
}

// Begin starts a transaction, after removing the scratch of killed ones. The store
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
	for _, name := range []string{"blobs/sha256", "ids", "refs", "layers", "locks", "partial", "tmp"} {
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

// Close ends the transaction and removes its temporary files, and every layer
// and blob that no image uses and that is its own or a day old, unless others
// add just now.
func (t *Transaction) Close() error {
	err := errors.Join(bare(t.scratch.close()), t.adding.Close(), t.store.sweep(func(file string) bool {
		return t.own[file] && !t.KeepUnused || isOld(file)
	}))
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

// NewImage is what Commit needs to know.
type NewImage struct {
	Config     []byte      // the configuration, whose SHA-256 is the image's id
	Manifest   []byte      // the manifest, if there is one
	Digest     string      // of what the name meant: the manifest's, or an index's; may be empty
	Layers     []Layer     // from AddLayer or HasLayer, the lowest first, each with its blob
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
	if err == nil {
		err = t.checkBlobs(n.Layers)
	}
	if err == nil {
		err = n.checkDigests()
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

// checkDigests refuses a name by digest for what does not have it: an archive may
// call its image anything, and who runs alpine@sha256:… relies on the digest.
func (n NewImage) checkDigests() error {
	manifest := digestOf(n.Manifest)
	for _, ref := range n.References {
		if ref.Digest != "" && ref.Digest != n.Digest && (len(n.Manifest) == 0 || ref.Digest != manifest) {
			return fmt.Errorf("name it %s: %w: manifest is %s", ref.Key(), ErrDigest, cmp.Or(n.Digest, manifest))
		}
	}
	return nil
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

// publish puts all that the image is made of onto the disk, then writes the
// image, then its names, and holds Remove off meanwhile.
func (t *Transaction) publish(image *Image, n NewImage) error {
	for _, blob := range [][]byte{n.Config, n.Manifest} {
		if len(blob) == 0 {
			continue
		}
		if err := t.scratch.writeFile(t.store.blobFile(digestOf(blob)), blob); err != nil {
			return err
		}
	}
	if err := t.settle(n.Layers); err != nil {
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

// settle makes layers and blobs last: they are on the disk, and known to be.
func (t *Transaction) settle(layers []Layer) error {
	var young []storedLayer
	for _, l := range layers {
		stored, err := t.store.readStored(l.ChainID)
		if err != nil {
			return err
		}
		if stored.Boot != "" {
			young = append(young, stored)
		}
	}
	if len(young) == 0 && len(t.own) == 0 {
		return nil
	}
	if err := t.sync(); err != nil {
		return err
	}
	for _, l := range young {
		l.Boot = ""
		if err := t.writeLayer(l); err != nil {
			return err
		}
	}
	return t.keepBlobs(layers)
}

// sync writes everything in the store's file system to the disk.
func (t *Transaction) sync() error {
	f, err := os.Open(t.store.root)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

func (t *Transaction) writeImage(file string, image Image) error {
	data, err := json.Marshal(image)
	if err != nil {
		return err
	}
	return t.scratch.writeFile(file, data)
}

// syncDirectory makes the names in a directory last; one that is not there has
// none.
func syncDirectory(dir string) error {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
