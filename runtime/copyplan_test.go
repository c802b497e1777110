package runtime

import (
	"errors"
	"testing"
)

func TestParseCopyPath(t *testing.T) {
	for _, c := range []struct {
		base, text string
		want       copyPath
	}{
		{"/", "etc/passwd", copyPath{path: "/etc/passwd"}},
		{"/", "/etc/", copyPath{path: "/etc", directory: true}},
		{"/", "/etc/.", copyPath{path: "/etc", directory: true, contents: true}},
		{"/", "", copyPath{path: "/", directory: true, contents: true}},
		{"/", "/", copyPath{path: "/", directory: true, contents: true}},
		{"/", "../..", copyPath{path: "/", directory: true, contents: true}},
		{"/home/me", ".", copyPath{path: "/home/me", directory: true, contents: true}},
		{"/home/me", "..", copyPath{path: "/home"}},
		{"/home/me", "./x", copyPath{path: "/home/me/x"}},
		{"/home/me", "a//b/", copyPath{path: "/home/me/a/b", directory: true}},
		{"/home/me", "a.", copyPath{path: "/home/me/a."}},
		{"/home/me", "..../.", copyPath{path: "/home/me/....", directory: true, contents: true}},
	} {
		if got := parseCopyPath(c.base, c.text); got != c.want {
			t.Errorf("%q from %s: %+v, not %+v", c.text, c.base, got, c.want)
		}
	}
}

func TestCopyPlace(t *testing.T) {
	file, dir, contents := copySource{base: "s"}, copySource{base: "s", directory: true}, copySource{base: ".", directory: true, contents: true}
	for _, c := range []struct {
		what       string
		s          copySource
		t          copyTarget
		into, name string
		err        error
	}{
		{"file, directory", file, copyTarget{"/t", true, true}, "/t", "s", nil},
		{"file, file", file, copyTarget{"/t", true, false}, "/", "t", nil},
		{"file, nothing", file, copyTarget{"/a/t", false, false}, "/a/", "t", nil},
		{"file, nothing/", file, copyTarget{"/a/t", false, true}, "", "", errNoDirectory},
		{"directory, directory", dir, copyTarget{"/t", true, true}, "/t", "s", nil},
		{"directory, file", dir, copyTarget{"/t", true, false}, "", "", errCopyDirectory},
		{"directory, nothing", dir, copyTarget{"/a/t", false, false}, "/a/", "t", nil},
		{"directory, nothing/", dir, copyTarget{"/a/t", false, true}, "/a/", "t", nil},
		{"contents, directory", contents, copyTarget{"/t", true, true}, "/t", ".", nil},
		{"contents, file", contents, copyTarget{"/t", true, false}, "", "", errCopyDirectory},
		{"contents, nothing", contents, copyTarget{"/a/t", false, false}, "/a/", "t", nil},
		{"file, link to nothing/", file, copyTarget{"/a/t/", false, false}, "", "", errNoDirectory},
	} {
		into, name, err := c.s.place(c.t)
		if into != c.into || name != c.name || !errors.Is(err, c.err) {
			t.Errorf("%s: %q %q %v, not %q %q %v", c.what, into, name, err, c.into, c.name, c.err)
		}
	}
}
