package runtime

import (
	"errors"
	"path"
	"strings"
)

// Docker's rules for cp, https://docs.docker.com/reference/cli/docker/container/cp/,
// without a look at any file system.

// copySource is what is copied.
type copySource struct {
	base      string // the name that it keeps where the destination is a directory
	directory bool
	contents  bool // of a directory: SRC ends with "/.", or is "/"
}

// copyTarget is where it is copied to.
type copyTarget struct {
	path      string // no symbolic link any more, or nothing at all
	exists    bool
	directory bool // it is one, or by its "/" at the end is to be one
}

var (
	errCopyDirectory  = errors.New("a directory cannot be copied to what is none")
	errNoDirectory    = errors.New("no such directory")
	errNotForCopy     = errors.New("neither a file nor a directory")
	errWantsDirectory = errors.New("it must be a directory, for an archive to be unpacked in it")
)

// place decides into which directory the source comes, and under which name.
func (s copySource) place(t copyTarget) (into, name string, err error) {
	switch {
	case t.exists && t.directory && s.contents:
		return t.path, ".", nil
	case t.exists && t.directory:
		return t.path, s.base, nil
	case t.exists && s.directory:
		return "", "", errCopyDirectory
	case !t.exists && t.directory && !s.directory:
		return "", "", errNoDirectory
	}
	into, name = path.Split(t.path)
	if name == "" || name == "." || name == ".." { // by a link to nothing
		return "", "", errNoDirectory
	}
	return into, name, nil
}

// A copyPath is a path of a command line, taken apart.
type copyPath struct {
	path      string // clean, and absolute
	directory bool   // it ends with "/" or "/.", so that a link at its end is followed
	contents  bool
}

// parseCopyPath reads a path that starts at the directory base.
func parseCopyPath(base, text string) copyPath {
	p := copyPath{path: path.Clean(text)}
	if !path.IsAbs(text) {
		p.path = path.Join(base, text)
	}
	last := text[strings.LastIndexByte(text, '/')+1:]
	p.contents = p.path == "/" || last == "."
	p.directory = p.contents || last == ""
	return p
}
