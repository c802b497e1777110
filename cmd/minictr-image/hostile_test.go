package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// A parts is the files of an image archive by name. A value that begins with a
// colon is made with an odd type: ":link TARGET", ":hard TARGET", ":fifo",
// ":directory", ":sparse".
type parts map[string]string

const blobs = "blobs/sha256/"

// add stores a blob and returns its descriptor as JSON, with more keys in it.
func (p parts) add(content string, more ...string) string {
	digest := digestOf([]byte(content))
	p[blobs+strings.TrimPrefix(digest, "sha256:")] = content
	return fmt.Sprintf(`{"digest":%q,"size":%d%s}`, digest, len(content), strings.Join(more, ""))
}

// image stores a good image of one layer and returns its configuration, layer and
// manifest, each as a descriptor.
func (p parts) image(t testing.TB) (config, layer, manifest string) {
	data := string(layerTar(t, "a"))
	layer = p.add(data)
	config = p.add(fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%q]}}`, digestOf([]byte(data))))
	return config, layer, p.add(imageManifest(config, layer))
}

func imageManifest(config string, layers ...string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s]}`, config, strings.Join(layers, ","))
}

func index(entries ...string) string {
	return `{"schemaVersion":2,"manifests":[` + strings.Join(entries, ",") + `]}`
}

// asTar packs the files.
func (p parts) asTar(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range p {
		h := tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}
		kind, target, _ := strings.Cut(content, " ")
		switch kind {
		case ":link":
			h.Typeflag, h.Linkname, content = tar.TypeSymlink, target, ""
		case ":hard":
			h.Typeflag, h.Linkname, content = tar.TypeLink, target, ""
		case ":fifo":
			h.Typeflag, content = tar.TypeFifo, ""
		case ":directory":
			h.Typeflag, content = tar.TypeDir, ""
		}
		h.Size = int64(len(content))
		check(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, content)
		check(t, err)
	}
	check(t, w.Close())
	file := filepath.Join(t.TempDir(), "archive.tar")
	check(t, os.WriteFile(file, b.Bytes(), 0o600))
	return file
}

// asDirectory writes the files as a layout of the host.
func (p parts) asDirectory(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range p {
		path := filepath.Join(dir, name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		kind, target, _ := strings.Cut(content, " ")
		switch kind {
		case ":link":
			check(t, os.Symlink(target, path))
		case ":hard":
			check(t, os.Link(target, path))
		case ":fifo":
			check(t, unix.Mkfifo(path, 0o600))
		case ":directory":
			check(t, os.MkdirAll(path, 0o755))
		default:
			check(t, os.WriteFile(path, []byte(content), 0o600))
		}
	}
	return dir
}

// TestHostileArchives: each ends with one clear line, soon, and an empty store.
func TestHostileArchives(t *testing.T) {
	requireRoot(t)
	for _, c := range hostileArchives() {
		for form, input := range map[string]func(parts, testing.TB) string{"tar": parts.asTar, "directory": parts.asDirectory} {
			want := c.tar
			if form == "directory" {
				want = c.directory
			}
			if want == "" {
				continue
			}
			t.Run(c.name+"/"+form, func(t *testing.T) {
				p := parts{}
				c.make(t, p)
				root, file := t.TempDir(), input(p, t)
				start := time.Now()
				stdout, stderr, err := run(t, root, amd64Only("load", "-i", file)...)
				first, _, _ := strings.Cut(stderr, "\n")
				if err == nil || stdout != "" || !strings.HasPrefix(first, "minictr: load "+file+": ") || !strings.Contains(first, want) {
					t.Errorf("got  %.500s\nwant %s", stderr, want)
				}
				if strings.ContainsFunc(stderr, func(r rune) bool { return r != '\n' && (r < ' ' || 0x7f <= r && r < 0xa0) }) {
					t.Errorf("would steer the terminal: %q", stderr)
				}
				if left := listStore(t, root); len(left) != 0 {
					t.Errorf("left behind: %v", left)
				}
				if took := time.Since(start); took > 20*time.Second {
					t.Errorf("took %v", took)
				}
			})
		}
	}
}

// TestLoadMemory: the names of an archive's files are all that is held of them.
func TestLoadMemory(t *testing.T) {
	requireRoot(t)
	file := filepath.Join(t.TempDir(), "archive.tar")
	f, err := os.Create(file)
	check(t, err)
	w := tar.NewWriter(f)
	for i := range 100 {
		check(t, w.WriteHeader(&tar.Header{Name: fmt.Sprint(i, strings.Repeat("/n", 500_000)), Typeflag: tar.TypeReg, Format: tar.FormatPAX}))
	}
	check(t, errors.Join(w.Close(), f.Close()))
	_, stderr, err := run(t, t.TempDir(), amd64Only("load", "-i", file)...)
	if err == nil || !strings.Contains(stderr, "read archive: more than 33554432 bytes of names") {
		t.Errorf("%s", stderr)
	}
}

// TestBombs: what grows beyond measure is stopped, by an error that says so, and
// what is only large is not.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 64<<20)
	noise := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // it always fills
	window := func(size int) func(testing.TB, []byte) []byte {
		return func(t testing.TB, data []byte) []byte {
			var b bytes.Buffer
			w, err := zstd.NewWriter(&b, zstd.WithWindowSize(size))
			check(t, err)
			_, err = w.Write(data)
			check(t, errors.Join(err, w.Close()))
			return b.Bytes()
		}
	}
	for _, c := range []struct {
		name string
		data []byte
		free int64
		want string
	}{
		{"gzip", gzipped(t, zeros), 16 << 20, "gzip: compression bomb: "},
		{"zstd", zstded(t, zeros), 16 << 20, "zstd: compression bomb: "},
		{"a frame of zstd for each megabyte", bytes.Repeat(zstded(t, zeros[:1<<20]), 64), 16 << 20, "zstd: compression bomb: "},
		{"gzip, small enough", gzipped(t, zeros), 64 << 20, ""},
		{"gzip that grows by less", gzipped(t, bytes.Repeat(append(noise[:1<<14:1<<14], zeros[:1<<19]...), 100)), 1 << 20, ""},
		{"windows of many sizes", slicesOf(window(1<<10)(t, noise), window(8<<20)(t, zeros), window(64<<20)(t, noise), window(1<<10)(t, noise)), 1 << 30, ""},
		{"window of 256 MiB", []byte("\x28\xb5\x2f\xfd\x04\x90\x01\x00\x00"), 1 << 30, "zstd: window size exceeded"},
		{"gzip cut off", gzipped(t, zeros)[:30000], 1 << 30, "gzip: unexpected EOF"},
		{"gzip of garbage", append(gzipped(t, noise), "garbage"...), 1 << 30, "gzip: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := &counter{r: bytes.NewReader(c.data), tell: func(int64) {}}
			d, err := compressionOf(c.data).open(from)
			check(t, err)
			n, err := io.Copy(io.Discard, &bounded{ReadCloser: d, from: from, format: compressionOf(c.data).name, free: c.free})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
				t.Errorf("%v after %d bytes", err, n)
			}
			if strings.Contains(c.want, "bomb") && n > c.free+1<<20 {
				t.Errorf("went on for %d bytes", n)
			}
		})
	}
}

func slicesOf(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestDecompressMemory: a decompressor holds a window, whatever comes out.
func TestDecompressMemory(t *testing.T) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	check(t, err)
	zeros := make([]byte, 1<<20)
	for range 512 {
		_, err := w.Write(zeros)
		check(t, err)
	}
	check(t, w.Close())
	d, err := decompress(&b)
	check(t, err)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	_, err = io.CopyN(io.Discard, d, 500<<20)
	check(t, err)
	runtime.GC()
	runtime.ReadMemStats(&after)
	check(t, d.Close())
	if after.HeapAlloc > before.HeapAlloc+8<<20 {
		t.Errorf("grew from %d to %d bytes", before.HeapAlloc, after.HeapAlloc)
	}
}
