package rootfs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func begin(t *testing.T, s *Store) *Transaction {
	t.Helper()
	tx, err := s.Begin()
	check(t, err)
	return tx
}

// TestBlobResumes: what a failed transaction has of a blob is what the next one
// goes on with, and who reads it then sees the whole.
func TestBlobResumes(t *testing.T) {
	requireRoot(t)
	s := OpenStore(t.TempDir())
	data := bytes.Repeat([]byte("0123456789"), 1000)
	tx := begin(t, s)
	tx.KeepUnused = true
	b, err := tx.Blob(t.Context(), shaOf(data), int64(len(data)))
	check(t, err)
	_, err = b.Write(data[:4000])
	check(t, err)
	if err := b.Finish(nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("too short: %v", err)
	}
	check(t, errors.Join(b.Close(), tx.Close()))

	tx = begin(t, s)
	b, err = tx.Blob(t.Context(), shaOf(data), int64(len(data)))
	check(t, err)
	if b.Have() != 4000 || b.Whole() {
		t.Fatalf("resumed at %d", b.Have())
	}
	check(t, b.Continue(4000))
	read := make(chan []byte)
	go func() {
		all, err := io.ReadAll(b.Open(t.Context()))
		if err != nil {
			t.Error(err)
		}
		read <- all
	}()
	_, err = b.Write(data[4000:])
	check(t, err)
	check(t, b.Finish(nil))
	if got := <-read; !bytes.Equal(got, data) {
		t.Errorf("read %d bytes", len(got))
	}
	check(t, errors.Join(b.Close(), tx.Close()))
	if left := files(t, s.root); len(left) != 0 {
		t.Errorf("left by a transaction that keeps nothing: %v", left)
	}
}

// TestBlobMismatch: content that is not what the digest says is thrown away, and
// whoever reads it learns of it. Of a second connection it is only suspect.
func TestBlobMismatch(t *testing.T) {
	requireRoot(t)
	s := OpenStore(t.TempDir())
	data := []byte("the right content")
	tx := begin(t, s)
	tx.KeepUnused = true
	b, err := tx.Blob(t.Context(), shaOf(data), int64(len(data)))
	check(t, err)
	_, err = b.Write([]byte("the wrong"))
	check(t, err)
	check(t, b.Continue(b.Have()))
	_, err = b.Write(data[9:])
	check(t, err)
	if !b.Suspect() {
		t.Error("the second connection may not be to blame")
	}
	if err := b.Finish(nil); !errors.Is(err, ErrDigest) {
		t.Errorf("got %v", err)
	}
	if _, err := io.ReadAll(b.Open(t.Context())); !errors.Is(err, ErrDigest) {
		t.Errorf("read: %v", err)
	}
	check(t, errors.Join(b.Close(), tx.Close()))
	if left := files(t, s.root); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	tx = begin(t, s)
	b, err = tx.Blob(t.Context(), shaOf(data), int64(len(data)))
	check(t, err)
	if n, err := b.Write(append(data, '!')); n != 0 || !errors.Is(err, ErrDigest) {
		t.Errorf("too long: %d, %v", n, err)
	}
	check(t, errors.Join(b.Close(), tx.Close()))
	for _, digest := range []string{"sha256:../../x", "sha512:" + strings.Repeat("a", 128), "", "../x"} {
		if _, err := begin(t, s).Blob(t.Context(), digest, 1); err == nil {
			t.Errorf("%q is taken for a digest", digest)
		}
	}
}

// TestBlobOfTwo: a second transaction waits for the first one's download, or for
// the end of its context.
func TestBlobOfTwo(t *testing.T) {
	requireRoot(t)
	s := OpenStore(t.TempDir())
	data := []byte("a blob")
	one, two := begin(t, s), begin(t, s)
	b, err := one.Blob(t.Context(), shaOf(data), int64(len(data)))
	check(t, err)
	short, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("interrupted"))
	defer cancel()
	if _, err := two.Blob(short, shaOf(data), int64(len(data))); err == nil || !strings.HasSuffix(err.Error(), ": interrupted") {
		t.Errorf("while the other downloads: %v", err)
	}
	_, err = b.Write(data)
	check(t, errors.Join(err, b.Finish(nil)))
	other, err := two.Blob(t.Context(), shaOf(data), int64(len(data)))
	check(t, err)
	if !other.Whole() {
		t.Error("the second does not see what the first has")
	}
	check(t, errors.Join(b.Close(), other.Close(), one.Close(), two.Close()))
}

// TestLayerOfOtherBoot: a layer that no image has yet counts only for its boot;
// after a power cut it may not be whole on the disk.
func TestLayerOfOtherBoot(t *testing.T) {
	requireRoot(t)
	s := OpenStore(t.TempDir())
	tx := begin(t, s)
	tx.KeepUnused = true
	data := testLayer(t, "a")
	added, err := addLayers(tx, data)
	check(t, errors.Join(err, tx.Close()))
	tx = begin(t, s)
	if _, have := tx.HasLayer(nil, shaOf(data)); !have {
		t.Error("in the same boot it is lost")
	}
	file := s.layerFile(added[0].ChainID)
	raw, err := json.Marshal(storedLayer{added[0], "another boot"})
	check(t, errors.Join(err, os.WriteFile(file, raw, 0o600)))
	if _, have := tx.HasLayer(nil, shaOf(data)); have {
		t.Error("after another boot it is trusted")
	}
	check(t, tx.Close())
	addImage(t, s, []string{"x"}, data)
	raw, err = os.ReadFile(file)
	if err != nil || strings.Contains(string(raw), "boot") {
		t.Errorf("in an image: %s, %v", raw, err)
	}
}

// TestSweepKeepsTheYoung: what no image uses goes after a day, or with Prune.
func TestSweepKeepsTheYoung(t *testing.T) {
	requireRoot(t)
	s := OpenStore(t.TempDir())
	tx := begin(t, s)
	tx.KeepUnused = true
	_, err := addLayers(tx, testLayer(t, "a"))
	check(t, errors.Join(err, tx.Close()))
	check(t, begin(t, s).Close())
	if left := files(t, s.root); len(left) != 2 {
		t.Errorf("young: %v", left)
	}
	if isOld(s.root) || !isOldAt(s.root, time.Now().Add(25*time.Hour)) {
		t.Error("a day is not a day")
	}
	check(t, s.Prune())
	if left := files(t, s.root); len(left) != 0 {
		t.Errorf("after Prune: %v", left)
	}
	if err := OpenStore("/nonexistent/store").Prune(); err != nil && !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}
