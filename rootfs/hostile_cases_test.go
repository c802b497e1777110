package rootfs

import (
	"archive/tar"
	"strings"
)

// hostilePaths lead out of the root, or would where a path is resolved by hand.
func hostilePaths() []hostileLayers {
	return []hostileLayers{
		{name: "dot dot", layers: one(file("../secret", "x")), fails: "unpack ../secret: path leads out of the root"},
		{name: "inner dot dot", layers: one(file("a/../../secret", "x")), fails: "unpack a/../../secret: path leads out of the root"},
		{name: "dot dot through a directory of this layer", layers: one(dir("a"), file("a/b/../../../etc/passwd", "x")), fails: "path leads out of the root"},
		{name: "absolute", layers: one(file("@/secret", "x"), file("/@//etc//passwd", "y")), want: []string{"@/secret=f:x", "@/etc/passwd=f:y"}},
		{name: "absolute dot dot", layers: one(file("/../secret", "x")), fails: "unpack /../secret: path leads out of the root"},
		{name: "symlinked parent", layers: one(symlink("a", "../.."), file("a/secret", "x")), want: []string{"secret=f:x", "a=l:../.."}},
		{name: "absolute symlink", layers: one(symlink("a", "@"), file("a/etc/passwd", "x")), want: []string{"@/etc/passwd=f:x"}},
		{name: "dangling symlink", layers: one(symlink("a", "../../b/c"), file("a/secret", "x")), want: []string{"b/c/secret=f:x"}},
		{name: "chain of symlinks", layers: one(symlink("a", "b"), symlink("b", "c/.."), symlink("c", "../.."), file("a/secret", "x")), want: []string{"secret=f:x"}},
		{name: "symlink of a layer below", layers: layers(layer(symlink("a", "..")), layer(file("a/etc/passwd", "x")))},
		{name: "procfs's links", layers: one(symlink("a", "/proc/self/root@"), file("a/secret", "x")), want: []string{"proc/self/root@/secret=f:x"}},
		{name: "through a symlink file", layers: one(symlink("a", "../secret"), file("a", "x")), want: []string{"a=f:x"}},
		{name: "through a symlink file of a layer below", layers: layers(layer(symlink("a", "../secret")), layer(file("a", "x"))), want: []string{"a=f:x"}},
		{name: "hard link out", layers: one(hardlink("a", "../secret"), file("a", "x")), fails: "unpack a: hard link to ../secret: path leads out of the root"},
		{name: "hard link to passwd", layers: one(hardlink("a", "../../etc/passwd")), fails: "path leads out of the root"},
		{name: "hard link absolute", layers: one(hardlink("a", "@/secret")), fails: "secret: no such file or directory"},
		{name: "hard link by symlink", layers: one(symlink("s", "@"), hardlink("a", "s/secret")), fails: "unpack a: hard link to s/secret: no such file or directory"},
		{name: "hard link to symlink", layers: one(symlink("s", "../secret"), hardlink("a", "s"), file("a", "x")), want: []string{"a=f:x", "s=l:../secret"}},
		{name: "hard link through a symlink to a file, then written", layers: one(file("b", "1"), symlink("s", "./.."), hardlink("a", "s/b"), file("a", "2")), want: []string{"b=f:1", "a=f:2"}},
		{name: "hard link to a directory", layers: one(dir("d"), hardlink("a", "d")), fails: "unpack a: hard link to d: operation not permitted"},
		{name: "hard link to nothing", layers: one(hardlink("a", "")), fails: "unpack a: hard link to \"\": entry without a name"},
		{name: "hard link to the root", layers: one(hardlink("a", "/")), fails: "unpack a: hard link to /"},
		{name: "hard link to itself", layers: one(file("a", "x"), hardlink("a", "a"), hardlink("./a", "/a")), want: []string{"a=f:x"}},
		{name: "hard link to itself only", layers: one(hardlink("a", "a")), fails: "unpack a: hard link to a: no such file or directory"},
		{name: "chain of hard links", layers: one(file("a", "x"), hardlink("b", "a"), hardlink("c", "b"), file("a", "y")), want: []string{"a=f:y", "b=f:x", "c=f:x"}},
		{name: "file as parent", layers: one(file("a", "x"), file("a/b", "x")), fails: "unpack a/b: not a directory"},
		{name: "device as parent", layers: one(tar.Header{Name: "a", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}, file("a/b", "x")), fails: "unpack a/b: not a directory"},
		{name: "fifo as parent", layers: one(tar.Header{Name: "a", Typeflag: tar.TypeFifo}, dir("a/b")), fails: "unpack a/b: not a directory"},
		{name: "root as file", layers: one(file(".", "x")), fails: "unpack .: the root must be a directory"},
		{name: "root as symlink", layers: one(symlink("/", "..")), fails: "unpack /: the root must be a directory"},
		{name: "symlink to itself", layers: one(symlink("a", "a"), file("a/b", "x")), fails: "unpack a/b: too many levels of symbolic links"},
		{name: "loop of 41 symlinks", layers: one(append(loopOf(41), file("s0/x", ""))...), fails: "unpack s0/x: too many levels of symbolic links"},
		{name: "hard link through a loop", layers: one(append(loopOf(41), hardlink("a", "s0/x"))...), fails: "too many levels of symbolic links"},
	}
}

// loopOf makes symlinks that lead in a circle.
func loopOf(n int) []tar.Header {
	var all []tar.Header
	name := func(i int) string { return "s" + strings.Repeat("0", i) }
	for i := range n {
		all = append(all, symlink(name(i+1), name((i+1)%n+1)))
	}
	return all
}

// hostileReplacements are about names that are one thing first and another later.
func hostileReplacements() []hostileLayers {
	return []hostileLayers{
		{name: "directory becomes a symlink", layers: layers(layer(file("d/a", "1")), layer(symlink("d", ".."), file("d/etc/passwd", "x"))), want: []string{"d=l:..", "etc/passwd=f:x"}},
		{name: "directory becomes a symlink later", layers: layers(layer(file("d/a", "1")), layer(symlink("d", "@/etc")), layer(file("d/passwd", "2")))},
		{name: "symlink becomes a directory", layers: layers(layer(symlink("d", "..")), layer(dir("d"), file("d/etc/passwd", "x"))), want: []string{"d/etc/passwd=f:x", "d=d", "etc=none"}},
		{name: "directory becomes a symlink in one layer", layers: one(file("d/a", "1"), symlink("d", ".."), file("d/secret", "x")), want: []string{"secret=f:x", "d=l:.."}},
		{name: "symlink becomes a directory in one layer", layers: one(symlink("d", ".."), dir("d"), file("d/secret", "x")), want: []string{"d/secret=f:x", "secret=none"}},
		{name: "the directory in use is deleted and made again", layers: one(file("a/b/c", "1"), file("a", ""), dir("a"), dir("a/b"), file("a/b/d", "2")), want: []string{"a/b/c=none", "a/b/d=f:2"}},
		{name: "a symlink deletes itself from inside", layers: one(symlink("s", "."), dir("s/s"), file("s/x", "1")), want: []string{"s/x=f:1", "x=none"}},
		{name: "file, directory, file", layers: one(file("a", "1"), dir("a"), file("a/b", "2"), file("a", "3")), want: []string{"a=f:3"}},
		{name: "file, directory, file in layers", layers: layers(layer(file("a", "1")), layer(file("a/b", "2"), dir("a")), layer(file("a", "3"))), fails: ""},
		{name: "the last entry wins", layers: one(file("a", "1"), symlink("a", "b"), file("a", "2"), file("./a", "3")), want: []string{"a=f:3", "b=none"}},
		{name: "directory and file of one name", layers: one(file("a", "1"), tar.Header{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o700}), want: []string{"a=700 0:0 d"}},
		{name: "directory twice", layers: one(tar.Header{Name: "a", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 3}, file("a/b", "1"), tar.Header{Name: "a", Typeflag: tar.TypeDir, Mode: 0o2751, Uid: 5}), want: []string{"a=2751 5:0 d", "a/b=f:1"}},
		{name: "file becomes a directory where it is only implied", layers: layers(layer(file("a", "1")), layer(file(".wh.a", ""), file("a/b", "2"))), want: []string{"a=d", "a/b=f:2"}},
	}
}

// hostileWhiteouts delete what is not theirs.
func hostileWhiteouts() []hostileLayers {
	return []hostileLayers{
		{name: "whiteout through a symlink", layers: one(symlink("s", ".."), file("s/.wh.secret", ""), file("s/etc/.wh.passwd", ""))},
		{name: "opaque marker through a symlink", layers: one(symlink("s", "../etc"), file("s/.wh..wh..opq", "")), want: []string{"etc=d"}},
		{name: "opaque marker through a symlink below", layers: layers(layer(symlink("s", ".."), file("keep", "1")), layer(file("s/.wh..wh..opq", "")))},
		{name: "whiteout of a symlink", layers: layers(layer(symlink("s", "../secret"), file("secret", "1")), layer(file(".wh.s", ""))), want: []string{"s=none", "secret=f:1"}},
		{name: "whiteout of dot dot", layers: one(file(".wh...", "")), fails: "unpack .wh...: whiteout of no name"},
		{name: "whiteout of dot", layers: one(file(".wh..", "")), fails: "unpack .wh..: whiteout of no name"},
		{name: "whiteout of nothing", layers: one(file(".wh.", "")), fails: "unpack .wh.: whiteout of no name"},
		{name: "whiteout of a marker", layers: layers(layer(file("x", "1")), layer(file(".wh..wh.x", ""))), want: []string{"x=f:1", ".wh.x=none"}},
		{name: "whiteout of what the same layer has", layers: one(file("a", "1"), file(".wh.a", ""), file(".wh.b", ""), file("b/c", "2")), want: []string{"a=f:1", "b/c=f:2"}},
		{name: "whiteout of the directory in use", layers: layers(layer(file("d/a", "1"), file("d/b", "1")), layer(file("d/a", "2"), file(".wh.d", ""), file("d/c", "3"))), want: []string{"d/a=f:2", "d/b=none", "d/c=f:3"}},
		{name: "whiteout that is a symlink", layers: layers(layer(file("a", "1")), layer(symlink(".wh.a", "../secret"))), want: []string{"a=none", ".wh.a=none"}},
		{name: "whiteout that is a directory", layers: layers(layer(file("a", "1")), layer(dir(".wh.a"))), want: []string{"a=none"}},
		{name: "whiteout with a path that climbs", layers: one(file("a/../../.wh.secret", "")), fails: "path leads out of the root"},
		{name: "whiteout below a file", layers: layers(layer(file("d/a", "1")), layer(file("d", "2"), file("d/.wh.a", ""), file("d/.wh..wh..opq", ""))), want: []string{"d=f:2"}},
		{name: "whiteout with content", layers: layers(layer(file("a", "1")), layer(file(".wh.a", strings.Repeat("x", 3000)), file("b", "2"))), want: []string{"a=none", "b=f:2"}},
	}
}
