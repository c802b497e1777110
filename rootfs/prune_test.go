package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestPruneChooses(t *testing.T) {
	images := []*Image{
		{ID: "sha256:1", Reference: "a:1", Config: Config{Labels: map[string]string{"keep": ""}}},
		{ID: "sha256:2", Reference: "a:2"},
		{ID: "sha256:2", Reference: "b:2"},
		{ID: "sha256:3"},
		{ID: "sha256:4"},
	}
	used := func(id string) bool { return id == "sha256:3" }
	plain := func(i *Image) bool { return i.Config.Labels == nil }
	for name, c := range map[string]struct {
		o    PruneOptions
		want string
	}{
		"without a name":        {PruneOptions{}, "3[] 4[]"},
		"and without container": {PruneOptions{InUse: used}, "4[]"},
		"all":                   {PruneOptions{Named: true, InUse: used}, "1[a:1] 2[a:2 b:2] 4[]"},
		"chosen":                {PruneOptions{Named: true, Choose: plain}, "2[a:2 b:2] 3[] 4[]"},
	} {
		var got []string
		for _, r := range c.o.choose(images) {
			got = append(got, hexOf(r.Deleted)+"["+strings.Join(r.Untagged, " ")+"]")
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestPruneImages: what is said to be freed is what the disk has more.
func TestPruneImages(t *testing.T) {
	requireRoot(t)
	root := t.TempDir()
	s := OpenStore(root)
	if p, err := s.PruneImages(PruneOptions{}); err != nil || p.Freed != 0 || exists(s.path()) {
		t.Errorf("no store: %+v, %v", p, err)
	}
	a, b := testLayer(t, "a"), testLayer(t, strings.Repeat("b", 100))
	kept := addImage(t, s, []string{"kept"}, a)
	before, filesBefore := measure(t, root), files(t, root)
	addImage(t, s, []string{"old"}, a, b)
	addImage(t, s, []string{"old", "kept:2"}, b) // takes the name
	if p, err := s.PruneImages(PruneOptions{InUse: func(id string) bool { return true }}); err != nil || len(p.Removed) != 0 || p.Freed != 0 {
		t.Errorf("all in use: %+v, %v", p, err)
	}
	full := measure(t, root)
	first, err := s.PruneImages(PruneOptions{})
	check(t, err)
	if len(first.Removed) != 1 || first.Freed <= 0 || first.Freed > full-measure(t, root) {
		t.Errorf("dangling: %+v; %d bytes less", first, full-measure(t, root))
	}
	second, err := s.PruneImages(PruneOptions{Named: true, InUse: func(id string) bool { return id == kept.ID }})
	check(t, err)
	if len(second.Removed) != 1 || len(second.Removed[0].Untagged) != 2 {
		t.Errorf("all: %+v", second)
	}
	if diff := cmp.Diff(filesBefore, files(t, root)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	// The files of ids and refs are not counted: 4 kB each at most.
	if missing := full - before - first.Freed - second.Freed; missing < 0 || missing > 6*4096 {
		t.Errorf("freed %d and %d of %d", first.Freed, second.Freed, full-before)
	}
}

// measure is du, which the tests compare with.
func measure(t testing.TB, dir string) (bytes int64) {
	t.Helper()
	seen := map[uint64]bool{}
	check(t, filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
		var st unix.Stat_t
		if err = errors.Join(err, unix.Lstat(path, &st)); err == nil && !seen[st.Ino] {
			seen[st.Ino] = true
			bytes += st.Blocks * 512
		}
		return err
	}))
	return bytes
}

// TestDiskUsage: sparse files, links of both kinds, and what is deep.
func TestDiskUsage(t *testing.T) {
	requireRoot(t)
	dir := t.TempDir()
	check(t, os.WriteFile(dir+"/sparse", []byte("x"), 0o600))
	check(t, os.Truncate(dir+"/sparse", 1<<40))
	check(t, os.WriteFile(dir+"/two", make([]byte, 100_000), 0o600))
	check(t, os.Link(dir+"/two", dir+"/names"))
	check(t, os.Symlink("/", dir+"/out"))
	check(t, unix.Mkfifo(dir+"/fifo", 0o600))
	check(t, os.MkdirAll(dir+strings.Repeat("/deep", 300), 0o700))
	got, err := DiskUsage(dir)
	if want := measure(t, dir); err != nil || got != want {
		t.Errorf("got %d, want %d, %v", got, want, err)
	}
	if got, err := DiskUsage(dir + "/nothing"); got != 0 || err != nil {
		t.Errorf("nothing: %d, %v", got, err)
	}
}

func TestUsage(t *testing.T) {
	requireRoot(t)
	s := OpenStore(t.TempDir())
	if u, err := s.Usage(); err != nil || u.Total() != 0 {
		t.Errorf("no store: %+v, %v", u, err)
	}
	a, b, c := testLayer(t, "a"), testLayer(t, "b"), testLayer(t, "c")
	one := addImage(t, s, []string{"one"}, a, b)
	two := addImage(t, s, []string{"two", "zwei"}, a, c)
	check(t, os.WriteFile(s.path("partial", "rest"), make([]byte, 50_000), 0o600))
	u, err := s.Usage()
	check(t, err)
	rest := measure(t, s.path("partial", "rest"))
	shared1, unique1 := u.Of(one.ID)
	shared2, unique2 := u.Of(two.ID)
	if shared1 != shared2 || shared1 == 0 || unique1 == 0 || u.Total() != shared1+unique1+unique2+rest {
		t.Errorf("shared %d and %d, unique %d and %d, rest %d of %d", shared1, shared2, unique1, unique2, rest, u.Total())
	}
	for want, active := range map[int64]func(string) bool{
		rest:           func(string) bool { return true },
		unique1 + rest: func(id string) bool { return id == two.ID },
		u.Total():      func(string) bool { return false },
	} {
		if got := u.Reclaimable(active); got != want {
			t.Errorf("reclaimable: got %d, want %d", got, want)
		}
	}
}
