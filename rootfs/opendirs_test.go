package rootfs

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestUnpackDirectoryTimes: every directory ends with the times of its last entry,
// whatever was made in it before and after, and by whichever name; more of them
// are in use than stay open.
func TestUnpackDirectoryTimes(t *testing.T) {
	requireRoot(t)
	const dirs = 3 * maxOpenDirs
	at := func(name string, second int64) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeDir, ModTime: time.Unix(second, 0), AccessTime: time.Unix(second+1, 0), Format: tar.FormatPAX}
	}
	name := func(i int) string { return fmt.Sprintf("d%d", i) }
	headers := []tar.Header{at(".", 5)}
	for i := range dirs {
		headers = append(headers, at(name(i), int64(100+i)), at(name(i)+"/sub", int64(1000+i)))
	}
	for round := range 3 {
		for i := range dirs {
			headers = append(headers, file(fmt.Sprint(name(i), "/file", round), "x"), file(fmt.Sprint(name(i), "/sub/deeper", round, "/file"), "x"))
		}
	}
	headers = append(headers,
		at(name(7), 7777),                                         // listed again when it is full
		symlink("alias", "d8"), file("alias/by-another-name", ""), // in d8
		file("d9/file0", "again"), file("d10/.wh.gone", ""), hardlink("d11/link", "d12/file0"),
		file("d13/x", ""), file("d13/y", ""), at("d13", 8888), file("d13/z", ""),
		dir("d14/file1"), file("d14/file1/in", ""), // deletes a file, so that names are found anew
	)
	fd, root := holdRoot(t)
	_, err := Unpack(fd, layerOf(t, headers...), UnpackOptions{})
	check(t, err)
	want := map[string]int64{".": 5}
	for i := range dirs {
		want[name(i)], want[name(i)+"/sub"] = int64(100+i), int64(1000+i)
	}
	want["d7"], want["d13"] = 7777, 8888
	for name, second := range want {
		var st unix.Stat_t
		check(t, unix.Lstat(filepath.Join(root, name), &st))
		if st.Mtim.Sec != second || st.Atim.Sec != second+1 {
			t.Errorf("%s: modified at %d, accessed at %d, want %d and one more", name, st.Mtim.Sec, st.Atim.Sec, second)
		}
	}
	if _, err := os.Lstat(filepath.Join(root, "d8/by-another-name")); err != nil {
		t.Error(err)
	}
}
