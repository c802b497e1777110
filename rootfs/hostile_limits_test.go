package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestUnpackTruncated cuts a layer off at every block, before and behind its
// boundary: that is an error, or the tree is whole.
func TestUnpackTruncated(t *testing.T) {
	requireRoot(t)
	h := file("d/attributed", "x")
	h.PAXRecords = map[string]string{paxXattr + "user.note": "y"}
	whole, err := io.ReadAll(layerOf(t, dir("d"), file("d/a", strings.Repeat("x", 700)), h, symlink("s", strings.Repeat("d/../", 50)), hardlink("b", "d/a"), file("last", "")))
	check(t, err)
	fd, root := holdRoot(t)
	_, err = Unpack(fd, bytes.NewReader(whole), UnpackOptions{WantEnd: true})
	check(t, err)
	want := clearTime(listTree(t, root))
	for at := range len(whole) {
		if edge := at % 512; edge > 1 && edge < 511 && edge != 100 {
			continue
		}
		fd, root := holdRoot(t)
		_, err := Unpack(fd, bytes.NewReader(whole[:at]), UnpackOptions{WantEnd: true})
		if err == nil && clearTime(listTree(t, root)) != want {
			t.Errorf("%d of %d bytes are taken for the whole", at, len(whole))
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d of %d bytes: %v", at, len(whole), err)
		}
	}
	for name, behind := range map[string]string{"garbage": strings.Repeat("garbage ", 1000), "zeros": strings.Repeat("\x00", 99999), "archive": string(whole)} {
		fd, root := holdRoot(t)
		if _, err := Unpack(fd, strings.NewReader(string(whole)+behind), UnpackOptions{WantEnd: true}); err != nil || clearTime(listTree(t, root)) != want {
			t.Errorf("%s behind the end: %v", name, err)
		}
	}
}

// TestUnpackSparse: in every form that GNU tar has, the file is whole and its
// holes are holes.
func TestUnpackSparse(t *testing.T) {
	requireRoot(t)
	for _, format := range []string{"--format=gnu", "--format=posix --sparse-version=0.0", "--format=posix --sparse-version=0.1", "--format=posix --sparse-version=1.0"} {
		dir := t.TempDir()
		script := `cd "$1"; for i in 1 2 3 4 5 6 7 8 9; do printf $i | dd of=f bs=1 seek=${i}00000 conv=notrunc 2>/dev/null; done; truncate -s 50000000 f; tar -c --sparse ` + format + ` f`
		data, err := exec.Command("sh", "-c", script, "sh", dir).Output()
		if err != nil || len(data) > 2<<20 {
			t.Skipf("making a sparse archive with GNU tar: %d bytes, %v", len(data), err)
		}
		fd, root := holdRoot(t)
		written, err := Unpack(fd, bytes.NewReader(data), UnpackOptions{})
		check(t, err)
		var st unix.Stat_t
		check(t, unix.Stat(filepath.Join(root, "f"), &st))
		if st.Size != 50_000_000 || st.Blocks*512 > 9<<20 || written > 9<<20 {
			t.Errorf("%s: %d bytes on %d blocks, %d written", format, st.Size, st.Blocks, written)
		}
		if out, err := exec.Command("cmp", filepath.Join(root, "f"), filepath.Join(dir, "f")).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", format, out)
		}
	}
}

// TestUnpackHoles: a hole costs an archive nothing, so that holes count like
// content.
func TestUnpackHoles(t *testing.T) {
	fd, root := holdRoot(t)
	hole := func(size int64) tar.Header {
		content := "1\n0\n1\n" + strings.Repeat("\x00", 506) + "x" // GNU.sparse 1.0: a map of one fragment, in decimal
		return tar.Header{Name: "hole", Uname: content, PAXRecords: map[string]string{
			"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "hole", "GNU.sparse.realsize": fmt.Sprint(size),
		}}
	}
	for _, size := range []int64{1 << 50, maxLayerBytes + 1, 1<<63 - 1} {
		start := time.Now()
		_, err := Unpack(fd, rawSparse(hole(size)), UnpackOptions{})
		if !errors.Is(err, unix.EFBIG) || time.Since(start) > time.Second {
			t.Errorf("%d bytes: %v after %v", size, err, time.Since(start))
		}
	}
	if _, err := Unpack(fd, rawSparse(hole(1<<30)), UnpackOptions{}); err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(filepath.Join(root, "hole")); err != nil || st.Size() != 1<<30 {
		t.Errorf("%v, %v", st, err)
	}
}

// rawSparse writes records that package tar refuses to.
func rawSparse(h tar.Header) io.Reader {
	records := ""
	for key, value := range h.PAXRecords {
		length := len(key) + len(value) + len(" =\n")
		record := fmt.Sprintf("%d %s=%s\n", length+len(fmt.Sprint(length+2)), key, value)
		records += record
	}
	return bytes.NewReader(rawLayer(
		rawEntry{name: "pax", kind: tar.TypeXHeader, size: fmt.Sprintf("%o", len(records)), content: records},
		rawEntry{name: h.Name, kind: tar.TypeReg, mode: "644", size: fmt.Sprintf("%o", len(h.Uname)), content: h.Uname}))
}

// TestUnpackMemory: what Unpack holds in memory does not grow with the layer.
func TestUnpackMemory(t *testing.T) {
	requireRoot(t)
	if testing.Short() {
		t.Skip("makes 30,000 directories")
	}
	var early, late uint64
	const entries = 30_000
	stream := streamOf(func(yield func(tar.Header) bool) {
		for i := range entries {
			switch i {
			case entries / 10:
				early = heap()
			case entries - 1:
				late = heap()
			}
			name := fmt.Sprintf("%02d/a-directory-with-a-name-of-some-length-%d", i%64, i)
			if !yield(tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}) {
				return
			}
		}
	})
	fd, err := unix.Open(smallDisk(t, "200m"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(fd)
	_, err = Unpack(fd, stream, UnpackOptions{})
	check(t, err)
	if late > early+1<<20 {
		t.Errorf("memory in use grew from %d to %d bytes", early, late)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestUnpackNested: symbolic links make a directory of any depth with a few
// entries. It is made inside, and what lies below it can be deleted again.
func TestUnpackNested(t *testing.T) {
	requireRoot(t)
	headers := []tar.Header{symlink("s0", strings.Repeat("d/", maxEntryDepth-1)), file("s0/x", "")}
	for i := range 9 {
		next := fmt.Sprint("s", i+1)
		headers = append(headers, symlink(next, fmt.Sprint("s", i, "/")+strings.Repeat("d/", maxEntryDepth-1)), file(next+"/x", ""))
	}
	headers = append(headers, dir("s9/"+strings.Repeat("d/", 500)))
	fd, root := holdRoot(t)
	watchCanary(t, filepath.Dir(root))
	if _, err := Unpack(fd, layerOf(t, headers...), UnpackOptions{}); err != nil {
		t.Error(err)
	}
	if got := look(t, fd, "s9/x"); got != "755 0:0 f:" {
		t.Errorf("s9/x: %s", got)
	}
	far := layerOf(t, symlink("far", strings.Repeat("e/", maxEntryDepth+1)), file("far/x", ""))
	if _, err := Unpack(fd, far, UnpackOptions{}); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("%d levels at once: %v", maxEntryDepth+1, err)
	}
	check(t, RemoveAll(root))
}
