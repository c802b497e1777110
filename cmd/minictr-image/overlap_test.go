package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// TestPullOverlaps: a layer is unpacked while it comes. The registry does not
// send its second half before a file of the first half is on the disk.
func TestPullOverlaps(t *testing.T) {
	requireRoot(t)
	s := startServer(t)
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	for i := range 2 {
		noise := make([]byte, 4<<20)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(noise) // never fails
		check(t, w.WriteHeader(&tar.Header{Name: fmt.Sprint("file", i), Mode: 0o644, Size: int64(len(noise))}))
		_, err := w.Write(noise)
		check(t, err)
	}
	check(t, w.Close())
	diffID, err := v1.NewHash(digestOf(plain.Bytes()))
	check(t, err)
	content := gzipped(t, plain.Bytes())
	img := makeImage(t, "linux/amd64", blobLayer{static.NewLayer(content, types.OCILayer), diffID})
	ref := s.push(t, "image", img)
	root := t.TempDir()
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, digestOf(content)) || r.Method != http.MethodGet {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, err := w.Write(content[:len(content)*3/4])
		w.(http.Flusher).Flush()
		err = errors.Join(err, waitFor(root+"/images/tmp/*/layer1/file0"))
		if err != nil {
			t.Error(err)
		}
		_, _ = io.Copy(w, bytes.NewReader(content[len(content)*3/4:])) // the client may have gone
		return true
	})
	if _, stderr, err := run(t, root, "pull", "-q", ref); err != nil {
		t.Fatal(stderr)
	}
}

func waitFor(pattern string) error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if found, err := filepath.Glob(pattern); err != nil || len(found) > 0 {
			return err
		}
	}
	return fmt.Errorf("no %s after 10 s", pattern)
}
