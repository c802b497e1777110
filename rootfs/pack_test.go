package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// packOf packs the directory and fails on a warning.
func packOf(t testing.TB, dir string, o PackOptions) []byte {
	t.Helper()
	if o.Warn == nil {
		o.Warn = func(err error) { t.Errorf("warning: %v", err) }
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(fd)
	var b bytes.Buffer
	_, err = Pack(fd, &b, o)
	check(t, err)
	return b.Bytes()
}

// unpackOf unpacks into a new directory.
func unpackOf(t testing.TB, archive []byte) string {
	t.Helper()
	fd, dir := holdRoot(t)
	_, err := Unpack(fd, bytes.NewReader(archive), UnpackOptions{})
	check(t, err)
	return dir
}

// namesIn lists the entries of an archive.
func namesIn(t testing.TB, archive []byte) (names []string) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		check(t, err)
		names = append(names, h.Name)
	}
}

// TestPackRoundTrip: what is unpacked from what was packed is what was there, for
// us and for GNU tar.
func TestPackRoundTrip(t *testing.T) {
	requireRoot(t)
	for name, archive := range map[string]func(testing.TB) []byte{"alpine": alpineTar, "everything": everythingTar} {
		t.Run(name, func(t *testing.T) {
			dir := unpackOf(t, archive(t))
			want := listTree(t, dir)
			once := packOf(t, dir, PackOptions{Name: "."})
			if diff := cmp.Diff(want, listTree(t, unpackOf(t, once))); diff != "" {
				t.Errorf("-there +unpacked:\n%s", diff)
			}
			if !bytes.Equal(once, packOf(t, dir, PackOptions{Name: "."})) {
				t.Error("the second archive is another one")
			}
			oracle := t.TempDir()
			c := exec.Command("tar", "-xp", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--delay-directory-restore", "-C", oracle)
			c.Stdin = bytes.NewReader(once)
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("GNU tar: %v: %s", err, out)
			}
			if diff := cmp.Diff(want, listTree(t, oracle)); diff != "" {
				t.Errorf("-there +by tar:\n%s", diff)
			}
		})
	}
}

// TestPackNames: what a name is made of, and what cannot be in an archive.
func TestPackNames(t *testing.T) {
	requireRoot(t)
	fd, dir := holdRoot(t)
	odd := []string{"new\nline", "not \xff\xfe utf-8", strings.Repeat("long", 60), "-dash", "a=b", ".wh.gone", "ü"}
	for _, name := range odd {
		check(t, os.WriteFile(dir+"/"+name, []byte(name), 0o600))
	}
	check(t, os.MkdirAll(dir+"/"+strings.Repeat(strings.Repeat("d", 200)+"/", 10), 0o755))
	archive := packOf(t, dir, PackOptions{Name: "."})
	oracle := t.TempDir()
	c := exec.Command("tar", "-xpC", oracle)
	c.Stdin = bytes.NewReader(archive)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("GNU tar: %v: %s", err, out)
	}
	if diff := cmp.Diff(listTree(t, dir), listTree(t, oracle)); diff != "" {
		t.Errorf("-there +by tar:\n%s", diff)
	}
	if _, err := Pack(fd, io.Discard, PackOptions{Layer: true}); err == nil || !strings.Contains(err.Error(), ".wh.gone") {
		t.Errorf("a layer with such a name: %v", err)
	}
	for _, c := range []struct{ name, want string }{{"", "f"}, {".", "./ ./f"}, {"n/m", "n/m/ n/m/f"}} {
		small := t.TempDir()
		check(t, os.WriteFile(small+"/f", nil, 0o600))
		if got := strings.Join(namesIn(t, packOf(t, small, PackOptions{Name: c.name})), " "); got != c.want {
			t.Errorf("name %q: %s, not %s", c.name, got, c.want)
		}
		if got := strings.Join(namesIn(t, packOf(t, small+"/f", PackOptions{Name: "one"})), " "); got != "one" {
			t.Errorf("a file: %s", got)
		}
	}
}

func TestPackLeavesOut(t *testing.T) {
	requireRoot(t)
	fd, dir := holdRoot(t)
	check(t, os.MkdirAll(dir+"/skipped/below", 0o755))
	check(t, os.WriteFile(dir+"/kept", nil, 0o600))
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(s)
	check(t, unix.Bind(s, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/socket", fd)}))
	var warned []string
	got := namesIn(t, packOf(t, dir, PackOptions{
		Skip: func(name string) bool { return name == "skipped" },
		Warn: func(err error) { warned = append(warned, err.Error()) },
	}))
	if strings.Join(got, " ") != "kept" || len(warned) != 1 || !strings.Contains(warned[0], "socket") {
		t.Errorf("%q, warnings %q", got, warned)
	}
}

// TestPackSparse: a file of a terabyte with little in it gives a small archive,
// which we, and tar, read back.
func TestPackSparse(t *testing.T) {
	requireRoot(t)
	_, dir := holdRoot(t)
	f, err := os.Create(dir + "/" + strings.Repeat("long name ", 20))
	check(t, err)
	defer f.Close()
	for _, at := range []int64{0, 1 << 20, 5_000_001, 1 << 33, 1<<37 - 100} {
		_, err := f.WriteAt([]byte("data at "+fmt.Sprint(at)), at)
		check(t, err)
	}
	check(t, f.Truncate(1<<37))
	check(t, os.WriteFile(dir+"/after", []byte("the next entry"), 0o600))
	check(t, os.Chtimes(f.Name(), time.Unix(-5, 7), time.Unix(-5, 7)))
	archive := packOf(t, dir, PackOptions{Name: "."})
	if len(archive) > 1<<20 {
		t.Fatalf("the archive has %d bytes", len(archive))
	}
	oracle := t.TempDir()
	c := exec.Command("tar", "-xpC", oracle)
	c.Stdin = bytes.NewReader(archive)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("GNU tar: %v: %s", err, out)
	}
	var got, want unix.Stat_t
	check(t, unix.Lstat(f.Name(), &want))
	check(t, unix.Lstat(filepath.Join(oracle, filepath.Base(f.Name())), &got))
	if got.Size != want.Size || got.Blocks > 1000 || got.Mtim != want.Mtim {
		t.Errorf("by tar: size %d, blocks %d, time %v; want %d, %d, %v", got.Size, got.Blocks, got.Mtim, want.Size, want.Blocks, want.Mtim)
	}
	for _, at := range []int64{0, 1 << 20, 5_000_001, 1 << 33, 1<<37 - 100} {
		b := make([]byte, len("data at "+fmt.Sprint(at)))
		g, err := os.Open(filepath.Join(oracle, filepath.Base(f.Name())))
		check(t, err)
		_, err = g.ReadAt(b, at)
		check(t, errors.Join(err, g.Close()))
		if string(b) != "data at "+fmt.Sprint(at) {
			t.Errorf("at %d: %q", at, b)
		}
	}
}

// TestPackManyHoles: where there are too many of them, small ones are written.
func TestPackManyHoles(t *testing.T) {
	requireRoot(t)
	_, dir := holdRoot(t)
	f, err := os.Create(dir + "/holes")
	check(t, err)
	defer f.Close()
	for i := range int64(3 * maxParts) {
		_, err := f.WriteAt([]byte{byte(i)}, i*16384)
		check(t, err)
	}
	check(t, f.Truncate(1<<28))
	back := unpackOf(t, packOf(t, dir, PackOptions{Name: "."}))
	if out, err := exec.Command("cmp", f.Name(), back+"/holes").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestPackLayer: a layer that was unpacked in overlay's form and is packed again
// does the same to the layers below it.
func TestPackLayer(t *testing.T) {
	requireRoot(t)
	layer := func() io.Reader {
		return layerOf(t, dir("a"), file("a/.wh.gone", ""), file("a/kept", "1"), dir("b"), file("b/.wh..wh..opq", ""),
			file("b/new", "2"), hardlink("b/link", "a/kept"), symlink("c", "/a"), file(".wh.d", ""), file(".wh.e", ""))
	}
	below := []tar.Header{dir("a"), file("a/gone", ""), dir("b"), file("b/old", ""), dir("d"), file("d/x", ""), file("e", "")}
	parent, _ := holdRoot(t)
	_, err := Unpack(parent, layerOf(t, below...), UnpackOptions{})
	check(t, err)
	fd, upper := holdRoot(t)
	_, err = Unpack(fd, layer(), UnpackOptions{Parents: []int{parent}})
	check(t, err)
	again := packOf(t, upper, PackOptions{Layer: true})
	trees := make([]string, 2)
	for i, l := range []io.Reader{layer(), bytes.NewReader(again)} {
		fd, root := holdRoot(t)
		_, err := Unpack(fd, layerOf(t, below...), UnpackOptions{})
		check(t, err)
		_, err = Unpack(fd, l, UnpackOptions{Flatten: true})
		check(t, err)
		trees[i] = clearTime(listTree(t, root))
	}
	if diff := cmp.Diff(trees[0], trees[1]); diff != "" || strings.Contains(trees[1], "gone") {
		t.Errorf("-layer +packed again:\n%s", diff)
	}
}

// TestPackRandomTrees packs trees of random names, kinds and links.
func TestPackRandomTrees(t *testing.T) {
	requireRoot(t)
	for seed := range uint64(30) {
		_, dir := holdRoot(t)
		growTree(t, rand.New(rand.NewPCG(seed, 1)), dir)
		if diff := cmp.Diff(listTree(t, dir), listTree(t, unpackOf(t, packOf(t, dir, PackOptions{Name: "."})))); diff != "" {
			t.Fatalf("seed %d: -there +unpacked:\n%s", seed, diff)
		}
	}
}

// growTree fills a directory by chance.
func growTree(t *testing.T, r *rand.Rand, dir string) {
	t.Helper()
	dirs, files := []string{dir}, []string{}
	for i := range 60 {
		name := dirs[r.IntN(len(dirs))] + "/" + strings.Repeat(string(rune('a'+r.IntN(26))), 1+r.IntN(120)) + fmt.Sprint(i)
		switch r.IntN(7) {
		case 0:
			check(t, os.Mkdir(name, 0o700))
			dirs = append(dirs, name)
		case 1:
			check(t, os.Symlink(strings.Repeat("../", r.IntN(60))+"x", name))
		case 2:
			check(t, unix.Mkfifo(name, 0o600))
		case 3:
			check(t, unix.Mknod(name, unix.S_IFCHR|0o600, int(unix.Mkdev(uint32(r.IntN(300)), uint32(r.IntN(70000))))))
		case 4:
			if len(files) > 0 {
				check(t, os.Link(files[r.IntN(len(files))], name))
			}
		default:
			check(t, os.WriteFile(name, bytes.Repeat([]byte{byte(i)}, r.IntN(3000)), 0o600))
			files = append(files, name)
		}
		if _, err := os.Lstat(name); err != nil {
			continue
		}
		check(t, unix.Lchown(name, r.IntN(1<<30), r.IntN(1<<30)))
		if st, err := os.Lstat(name); err == nil && st.Mode()&os.ModeSymlink == 0 {
			check(t, unix.Chmod(name, uint32(r.IntN(0o10000))))
		}
		stamp := unix.Timespec{Sec: r.Int64N(1<<33) - 1<<32, Nsec: r.Int64N(1e9)}
		check(t, unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// TestPackWhileItChanges: names come and go, are exchanged for links that lead
// out, files grow and shrink; the archive is always a whole one, and nothing from
// outside is in it.
func TestPackWhileItChanges(t *testing.T) {
	requireRoot(t)
	secret := t.TempDir()
	check(t, os.WriteFile(secret+"/file", []byte("SECRET"), 0o600))
	fd, dir := holdRoot(t)
	check(t, os.Mkdir(dir+"/d", 0o755))
	check(t, os.WriteFile(dir+"/d/file", []byte("harmless"), 0o600))
	check(t, os.Symlink(secret, dir+"/other"))
	check(t, os.Symlink(secret+"/file", dir+"/link"))
	check(t, os.WriteFile(dir+"/plain", []byte("harmless"), 0o600))
	check(t, os.WriteFile(dir+"/size", nil, 0o600))
	var rounds atomic.Int64
	stop := keepDoing(t, func(i int) {
		_ = unix.Renameat2(fd, "d", fd, "other", unix.RENAME_EXCHANGE)
		_ = unix.Renameat2(fd, "plain", fd, "link", unix.RENAME_EXCHANGE)
		_ = os.Truncate(dir+"/size", int64(i%3)*30_000)
		_ = os.Mkdir(dir+"/fleeting", 0o700)
		_ = os.Remove(dir + "/fleeting")
		rounds.Add(1)
	})
	defer stop()
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		var b bytes.Buffer
		_, err := Pack(fd, &b, PackOptions{Name: "."})
		check(t, err)
		namesIn(t, b.Bytes())
		if bytes.Contains(b.Bytes(), []byte("SECRET")) {
			t.Fatal("the archive holds what is outside of the tree")
		}
	}
	if rounds.Load() < 20 {
		t.Errorf("only %d changes", rounds.Load())
	}
}

// keepDoing calls f all the time until the function that it returns is called.
func keepDoing(t testing.TB, f func(i int)) (stop func()) {
	t.Helper()
	var ended atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; !ended.Load(); i++ {
			f(i)
		}
	}()
	return func() { ended.Store(true); <-done }
}

func TestPaxTime(t *testing.T) {
	for want, at := range map[string]unix.Timespec{
		"1.500000000": {Sec: 1, Nsec: 5e8}, "-0.500000000": {Sec: -1, Nsec: 5e8}, "-1.500000000": {Sec: -2, Nsec: 5e8}, "-2.000000000": {Sec: -2}, "0.000000001": {Nsec: 1},
	} {
		if got := paxTime(at); got != want {
			t.Errorf("%v: %s, not %s", at, got, want)
		}
	}
}

// The length counts its own digits, also where these make it longer.
func TestPaxRecord(t *testing.T) {
	for n := range 1200 {
		record := paxRecord("k", strings.Repeat("v", n))
		size, _, _ := strings.Cut(record, " ")
		if fmt.Sprint(len(record)) != size {
			t.Fatalf("%d bytes: %s", len(record), size)
		}
	}
}

// FuzzPack: whatever archive could be unpacked, the tree is the same after it was
// packed and unpacked again.
func FuzzPack(f *testing.F) {
	requireRoot(f)
	for _, group := range [][]hostileLayers{hostilePaths(), hostileWhiteouts(), hostileAttributes(), hostileNames()} {
		for _, c := range group {
			data := c.raw
			if data == nil {
				data, _ = io.ReadAll(layerOf(f, c.layers[len(c.layers)-1]...))
			}
			if len(data) < 10_000 {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		disk := smallDisk(t, "32m")
		var trees [2]string
		for i, name := range []string{disk + "/a", disk + "/b"} {
			check(t, os.Mkdir(name, 0o755))
			fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
			check(t, err)
			defer unix.Close(fd)
			_, err = Unpack(fd, bytes.NewReader(archive), UnpackOptions{Copy: &CopyOptions{}, WantEnd: i > 0, MaxBytes: 1 << 20})
			if err != nil && i == 0 {
				return
			}
			check(t, err)
			trees[i] = clearTime(listTree(t, name))
			archive = packOf(t, name, PackOptions{Name: "."})
		}
		if diff := cmp.Diff(trees[0], trees[1]); diff != "" {
			t.Errorf("-there +unpacked:\n%s", diff)
		}
	})
}
