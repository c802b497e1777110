package rootfs

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// BenchmarkUnpack puts layers on the disk: Alpine's, one of 20,000 small files
// in 1,000 directories, and one of 500 MB in eight files. The stream is made
// while it is read, so that what is measured is mostly Unpack.
func BenchmarkUnpack(b *testing.B) {
	requireRoot(b)
	for _, c := range []struct {
		name          string
		files, perDir int
		size          int64
	}{
		{"small", 20_000, 20, 1500},
		{"big", 8, 8, 500 << 20 / 8},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(c.files) * c.size)
			for b.Loop() {
				fd, dir := holdRoot(b)
				_, err := Unpack(fd, streamOf(treeOf(c.files, c.perDir, c.size)), UnpackOptions{})
				check(b, err)
				b.StopTimer()
				check(b, os.RemoveAll(dir))
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.files), "ns/file")
		})
	}
	b.Run("alpine", func(b *testing.B) {
		data := alpineTar(b)
		for b.Loop() {
			fd, _ := holdRoot(b)
			_, err := Unpack(fd, bytes.NewReader(data), UnpackOptions{})
			check(b, err)
		}
	})
}

// treeOf yields the entries of a tree of files of that size, all of root's.
func treeOf(files, perDir int, size int64) func(yield func(tar.Header) bool) {
	return func(yield func(tar.Header) bool) {
		for i := range files {
			dir := fmt.Sprintf("usr/lib/package%04d/", i/perDir)
			if i%perDir == 0 && !yield(tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}) {
				return
			}
			if !yield(tar.Header{Name: fmt.Sprintf("%sfile%06d", dir, i), Typeflag: tar.TypeReg, Mode: 0o644, Size: size}) {
				return
			}
		}
	}
}

// streamOf writes the entries as a tar while it is read. The content of files is
// random bytes.
func streamOf(entries func(yield func(tar.Header) bool)) io.Reader {
	r, w := io.Pipe()
	go func() {
		out := tar.NewWriter(w)
		noise := make([]byte, 1<<20)
		_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // it always fills
		entries(func(h tar.Header) bool {
			h.ModTime = time.Unix(1_000_000_000, 0)
			if out.WriteHeader(&h) != nil {
				return false
			}
			for left := h.Size; left > 0; {
				n, err := out.Write(noise[:min(left, int64(len(noise)))])
				if err != nil {
					return false
				}
				left -= int64(n)
			}
			return true
		})
		_ = w.CloseWithError(out.Close()) // always nil
	}()
	return r
}
