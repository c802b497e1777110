package rootfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// testLayer is a layer with one file of that name.
func testLayer(t testing.TB, name string) []byte {
	data, err := io.ReadAll(layerOf(t, file(name, "content of "+name)))
	check(t, err)
	return data
}

func shaOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func opens(data []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

func testConfig(t testing.TB, layers ...[]byte) []byte {
	var ids []string
	for _, l := range layers {
		ids = append(ids, shaOf(l))
	}
	data, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "created": "2024-09-06T12:00:00Z",
		"config":  map[string]any{"Cmd": []string{"/bin/sh"}, "Env": []string{"PATH=/bin"}, "ExposedPorts": map[string]any{"80/tcp": map[string]any{}}},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": ids},
		"history": []any{map[string]any{"created_by": strings.Join(ids, " ")}},
	})
	check(t, err)
	return data
}

func addLayers(tx *Transaction, layers ...[]byte) ([]Layer, error) {
	var added []Layer
	for _, data := range layers {
		l, err := tx.AddLayer(context.Background(), added, shaOf(data), opens(data))
		if err != nil {
			return nil, err
		}
		added = append(added, l)
	}
	return added, nil
}

// addImage puts an image of those layers into the store.
func addImage(t testing.TB, s *Store, names []string, layers ...[]byte) *Image {
	t.Helper()
	tx, err := s.Begin()
	check(t, err)
	added, err := addLayers(tx, layers...)
	check(t, err)
	var refs []Reference
	for _, name := range names {
		ref, err := ParseReference(name)
		check(t, err)
		refs = append(refs, ref)
	}
	image, err := tx.Commit(NewImage{Config: testConfig(t, layers...), Manifest: []byte(`{"of":"` + names[0] + `"}`), Digest: someDigest, Layers: added, References: refs})
	check(t, err)
	check(t, tx.Close())
	return image
}

// files lists what the store holds, but for its lock files.
func files(t testing.TB, root string) []string {
	t.Helper()
	var names []string
	for _, dir := range []string{"l", "images/tmp", "images/locks", "images/layers", "images/blobs/sha256", "images/partial", "images/ids", "images/refs"} {
		found, err := readDirNames(filepath.Join(root, dir))
		check(t, err)
		for _, name := range found {
			names = append(names, dir+"/"+name)
		}
	}
	slices.Sort(names)
	return names
}

func TestStoreLookup(t *testing.T) {
	requireRoot(t)
	root := t.TempDir()
	s := OpenStore(root)
	var missing *NotFoundError
	if _, err := s.Lookup("alpine"); !errors.As(err, &missing) || !errors.Is(err, fs.ErrNotExist) || missing.Reference.String() != "docker.io/library/alpine:latest" {
		t.Fatalf("in no store: %v", err)
	}
	if left, _ := os.ReadDir(root); len(left) != 0 {
		t.Fatalf("Lookup made %v", left)
	}
	a, b := testLayer(t, "a"), testLayer(t, "b")
	image := addImage(t, s, []string{"alpine", "localhost:5000/x/y:1"}, a, b)
	id := hexOf(image.ID)
	for _, name := range []string{"alpine", "docker.io/library/alpine:latest", "localhost:5000/x/y:1", "alpine@" + someDigest, "alpine@" + image.Manifest, image.ID, id, id[:12], id[:1], "sha256:" + id[:5]} {
		got, err := s.Lookup(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got.Reference, image.Reference = "", ""
		if diff := cmp.Diff(image, got); diff != "" {
			t.Errorf("%s (-added +found):\n%s", name, diff)
		}
	}
	found, err := s.Lookup("alpine")
	check(t, err)
	want := Config{Architecture: "amd64", OS: "linux", Cmd: []string{"/bin/sh"}, Env: []string{"PATH=/bin"}, ExposedPorts: map[string]struct{}{"80/tcp": {}}}
	if diff := cmp.Diff(want, found.Config); diff != "" {
		t.Error(diff)
	}
	if lower := found.Lower(); len(lower) != 2 || !exists(lower[0]+"/b") || !exists(lower[1]+"/a") {
		t.Errorf("layers: %v", lower)
	}
	if raw, err := s.Blob(found.ID); err != nil || !bytes.Equal(raw, testConfig(t, a, b)) {
		t.Errorf("configuration: %s, %v", raw, err)
	}
	for name, want := range map[string]string{
		"alpine:3": "find image alpine:3: not in the store", "busybox": "find image busybox: not in the store", "0000": "find image 0000: not in the store",
		"UPPER": `parse image reference "UPPER": repository name must be lowercase`,
	} {
		if _, err := s.Lookup(name); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

func TestStoreRemove(t *testing.T) {
	requireRoot(t)
	root := t.TempDir()
	s := OpenStore(root)
	a, b, c := testLayer(t, "a"), testLayer(t, "b"), testLayer(t, "c")
	addImage(t, s, []string{"one"}, a)
	empty := files(t, root)
	two := addImage(t, s, []string{"two", "zwei"}, a, b)
	three := addImage(t, s, []string{"three"}, a, b, c)
	inUse := RemoveOptions{InUse: func(id string) bool { return id == two.ID }}

	var busy *InUseError
	if _, err := s.Remove(two.ID, RemoveOptions{}); !errors.As(err, &busy) || !strings.Contains(err.Error(), "it has several names: docker.io/library/two:latest, docker.io/library/zwei:latest") {
		t.Errorf("by id with two names: %v", err)
	}
	removed, err := s.Remove("two", inUse)
	check(t, err)
	if diff := cmp.Diff(Removed{Untagged: []string{"docker.io/library/two:latest"}}, removed); diff != "" {
		t.Error(diff)
	}
	before := files(t, root)
	if _, err := s.Remove("zwei", inUse); !errors.As(err, &busy) || !errors.Is(err, unix.EBUSY) || err.Error() != "remove image zwei: a container uses it" {
		t.Errorf("in use: %v", err)
	}
	if diff := cmp.Diff(before, files(t, root)); diff != "" {
		t.Errorf("a refused removal changed:\n%s", diff)
	}
	inUse.Force = true
	if removed, err = s.Remove("zwei", inUse); err != nil || removed.Deleted != "" {
		t.Errorf("forced: %v, %v", removed, err)
	}
	if _, err := s.Remove(two.ID, inUse); !errors.As(err, &busy) {
		t.Errorf("nothing left to untag: %v", err)
	}
	if removed, err = s.Remove("three", RemoveOptions{}); err != nil || removed.Deleted != three.ID {
		t.Errorf("three: %v, %v", removed, err)
	}
	if !exists(two.Layers[1].Dir) || exists(three.Layers[2].Dir) {
		t.Error("removing three must free c and keep b")
	}
	if removed, err = s.Remove(hexOf(two.ID)[:12], RemoveOptions{}); err != nil || removed.Deleted != two.ID {
		t.Errorf("two: %v, %v", removed, err)
	}
	if diff := cmp.Diff(empty, files(t, root)); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
}

// TestStoreRetag: a name that moves on leaves the old image without a name.
func TestStoreRetag(t *testing.T) {
	requireRoot(t)
	s := OpenStore(t.TempDir())
	old := addImage(t, s, []string{"name"}, testLayer(t, "a"))
	young := addImage(t, s, []string{"name"}, testLayer(t, "b"))
	images, err := s.List()
	check(t, err)
	var got []string
	for _, i := range images {
		got = append(got, i.Reference+" "+i.ID)
	}
	if diff := cmp.Diff([]string{"docker.io/library/name:latest " + young.ID, " " + old.ID}, got); diff != "" {
		t.Error(diff)
	}
}

// TestStoreVerifies: what does not match its digest is not added, and what was
// added before it in the same transaction goes with it.
func TestStoreVerifies(t *testing.T) {
	requireRoot(t)
	root := t.TempDir()
	s := OpenStore(root)
	tx, err := s.Begin()
	check(t, err)
	a, b := testLayer(t, "a"), testLayer(t, "b")
	good, err := addLayers(tx, a)
	check(t, err)
	_, err = tx.AddLayer(context.Background(), good, shaOf(b), opens(a))
	if want := "add layer " + shaOf(b) + ": content is " + shaOf(a) + ": digest mismatch"; err == nil || err.Error() != want {
		t.Errorf("wrong content: %v", err)
	}
	if _, err = tx.AddLayer(context.Background(), good, shaOf(b), opens(b[:515])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("truncated: %v", err)
	}
	if _, err = tx.AddLayer(context.Background(), good, shaOf(append(b, 0)), opens(b)); err == nil {
		t.Error("one byte less than the digest is of")
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("interrupted"))
	if _, err = tx.AddLayer(ctx, good, shaOf(b), opens(b)); err == nil || !strings.HasSuffix(err.Error(), "interrupted") {
		t.Errorf("cancelled: %v", err)
	}
	for _, config := range [][]byte{testConfig(t, a, b), testConfig(t, b), []byte("no json"), []byte(`{"rootfs":{"type":"layers","diff_ids":["../../x"]}}`), []byte(`{"os":"windows","rootfs":{"type":"layers"}}`), []byte("{}")} {
		if i, err := tx.Commit(NewImage{Config: config, Layers: good}); err == nil {
			t.Errorf("%s: committed %v", config, i)
		}
	}
	check(t, tx.Close())
	if left := files(t, root); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestStoreConcurrent: many transactions add the same layers at once; each layer
// is unpacked once.
func TestStoreConcurrent(t *testing.T) {
	requireRoot(t)
	s := OpenStore(t.TempDir())
	layers := [][]byte{testLayer(t, "a"), testLayer(t, "b"), testLayer(t, "c")}
	var mu sync.Mutex
	opened := map[string]int{}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			tx, err := s.Begin()
			if err != nil {
				t.Error(err)
				return
			}
			var added []Layer
			for _, data := range layers {
				l, err := tx.AddLayer(t.Context(), added, shaOf(data), func() (io.ReadCloser, error) {
					mu.Lock()
					defer mu.Unlock()
					opened[shaOf(data)]++
					return opens(data)()
				})
				if err != nil {
					t.Error(err)
				}
				added = append(added, l)
			}
			ref, _ := ParseReference(fmt.Sprint("image", n))
			if _, err := tx.Commit(NewImage{Config: testConfig(t, layers...), Layers: added, References: []Reference{ref}}); err != nil {
				t.Error(err)
			}
			if n%2 == 0 {
				if _, err := s.Remove(ref.Familiar(), RemoveOptions{}); err != nil {
					t.Error(err)
				}
			}
			if err := tx.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for id, n := range opened {
		if n != 1 {
			t.Errorf("%s was unpacked %d times", id, n)
		}
	}
	images, err := s.List()
	if err != nil || len(images) != 4 {
		t.Errorf("%d images, %v", len(images), err)
	}
	for _, i := range images {
		if !exists(i.Lower()[0] + "/c") {
			t.Errorf("%s lost its layer", i.Reference)
		}
	}
}

// TestStoreUse: Remove waits for a run that is about to use an image.
func TestStoreUse(t *testing.T) {
	requireRoot(t)
	s := OpenStore(t.TempDir())
	release, err := s.Use()
	check(t, err)
	release() // no store yet
	addImage(t, s, []string{"x"}, testLayer(t, "a"))
	release, err = s.Use()
	check(t, err)
	var used atomic.Bool
	done := make(chan error)
	go func() {
		_, err := s.Remove("x", RemoveOptions{InUse: func(string) bool { return used.Load() }})
		done <- err
	}()
	used.Store(true) // as a run puts its container on record, then
	release()
	if err := <-done; !errors.Is(err, unix.EBUSY) {
		t.Errorf("removed under a run: %v", err)
	}
}

// TestStoreKilled kills a process in the middle of a layer. The next transaction
// clears what it left, and adds the layer.
func TestStoreKilled(t *testing.T) {
	if root := os.Getenv("MINICTR_TEST_ADD"); root != "" {
		addForever(t, root)
	}
	requireRoot(t)
	root := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestStoreKilled$")
	child.Env = append(os.Environ(), "MINICTR_TEST_ADD="+root)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	check(t, err)
	check(t, child.Start())
	_, err = io.ReadFull(out, make([]byte, 1)) // it is in the middle
	check(t, err)
	s := OpenStore(root)
	if tx, err := s.Begin(); err != nil || tx.Close() != nil { // the living one keeps its own
		t.Fatal(err)
	}
	check(t, child.Process.Kill())
	_ = child.Wait() // killed, as it should be
	left := strings.Join(files(t, root), " ")
	if !strings.Contains(left, "images/tmp/") || strings.Contains(left, "images/layers/") {
		t.Fatalf("left by the killed process: %v", left)
	}
	data := testLayer(t, "a")
	addImage(t, s, []string{"x"}, data)
	if left := strings.Join(files(t, root), " "); strings.Contains(left, "images/tmp/") {
		t.Errorf("not cleared: %v", left)
	}
	if _, err := s.Lookup("x"); err != nil {
		t.Error(err)
	}
}

// addForever adds a layer whose stream stops in the middle.
func addForever(t *testing.T, root string) {
	tx, err := OpenStore(root).Begin()
	check(t, err)
	data := testLayer(t, "a")
	_, err = tx.AddLayer(context.Background(), nil, shaOf(data), func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(data[:600]), stopped{})), nil
	})
	t.Fatal("the layer ended: ", err)
}

// stopped tells the parent that it was reached, and then never answers.
type stopped struct{}

func (stopped) Read([]byte) (int, error) {
	os.Stdout.Write([]byte("!"))
	time.Sleep(time.Hour) // it is killed before
	return 0, io.EOF
}

// TestStoreOnFullDisk: a layer that does not fit is an ENOSPC that names the
// file, and the store goes on working. The disk is a detached tmpfs.
func TestStoreOnFullDisk(t *testing.T) {
	requireRoot(t)
	root := smallDisk(t, "1m")
	s := OpenStore(root)
	small := testLayer(t, "small")
	addImage(t, s, []string{"small"}, small)
	before := files(t, root)
	big, err := io.ReadAll(layerOf(t, file("usr/big", strings.Repeat("x", 2<<20))))
	check(t, err)
	tx, err := s.Begin()
	check(t, err)
	_, err = addLayers(tx, big)
	if !errors.Is(err, unix.ENOSPC) || !strings.HasPrefix(err.Error(), "add layer "+shaOf(big)+": unpack usr/big: no space left on device: the layer is larger than the ") {
		t.Errorf("got %v", err)
	}
	check(t, tx.Close())
	if diff := cmp.Diff(before, files(t, root)); diff != "" {
		t.Errorf("changed:\n%s", diff)
	}
	fill, err := os.Create(root + "/fill")
	check(t, err)
	if _, err := io.Copy(fill, zeros{}); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	check(t, fill.Close())
	if _, err := s.Lookup("small"); err != nil {
		t.Error(err)
	}
	if removed, err := s.Remove("small", RemoveOptions{}); err != nil || removed.Deleted == "" {
		t.Errorf("rmi on a full disk: %v, %v", removed, err)
	}
	if left := files(t, root); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// smallDisk is a tmpfs that no mount table shows.
func smallDisk(t *testing.T, size string) string {
	fsfd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	check(t, err)
	defer unix.Close(fsfd)
	check(t, unix.FsconfigSetString(fsfd, "size", size))
	check(t, unix.FsconfigCreate(fsfd))
	fd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, 0)
	check(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return descriptorPath(fd)
}

// FuzzParseImageConfig: an error, or digests that are fit to name files.
func FuzzParseImageConfig(f *testing.F) {
	f.Add([]byte(`{"os":"linux","rootfs":{"type":"layers","diff_ids":["` + someDigest + `"]},"config":{"Cmd":["x"]}}`))
	f.Add([]byte(`{"rootfs":{"type":"layers","diff_ids":["sha256:../../../etc"]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		ids, err := DiffIDs(raw)
		if err != nil {
			return
		}
		for _, id := range ids {
			if !isHex(hexOf(id)) || len(hexOf(id)) != 64 {
				t.Fatalf("%q", id)
			}
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	requireRoot(b)
	s := OpenStore(b.TempDir())
	var layers [][]byte
	for i := range 5 {
		layers = append(layers, testLayer(b, fmt.Sprint(i)))
	}
	image := addImage(b, s, []string{"alpine"}, layers...)
	for _, name := range []string{"alpine", image.ID, hexOf(image.ID)[:6]} {
		b.Run(name[:6], func(b *testing.B) {
			for b.Loop() {
				_, err := s.Lookup(name)
				check(b, err)
			}
		})
	}
}
