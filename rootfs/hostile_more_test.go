package rootfs

import (
	"archive/tar"
	"strings"
)

// hostileAttributes are modes, owners, devices, times and sizes.
func hostileAttributes() []hostileLayers {
	device := func(kind byte, major, minor int64) tar.Header {
		return tar.Header{Name: "n", Typeflag: kind, Mode: 0o666, Devmajor: major, Devminor: minor, Uid: 1, Gid: 2}
	}
	return []hostileLayers{
		// As with Docker they are made as they are said to be. What keeps a container
		// from using them is its cgroup's list of devices.
		{name: "disk of the host", layers: one(device(tar.TypeBlock, 8, 0)), want: []string{"n=666 1:2 b:8:0"}},
		{name: "memory of the host", layers: one(device(tar.TypeChar, 1, 1)), want: []string{"n=666 1:2 c:1:1"}},
		{name: "largest device", layers: one(device(tar.TypeChar, maxMajor, maxMinor)), want: []string{"n=c:4095:1048575"}},
		{name: "major number that mknod would cut to 8", layers: one(tar.Header{Name: "n", Typeflag: tar.TypeBlock, Devmajor: 4096 + 8, Format: tar.FormatGNU}), fails: "unpack n: device 4104:0 out of range"},
		{name: "minor number that mknod would cut to 0", raw: rawLayer(rawEntry{name: "n", kind: tar.TypeBlock, major: "10", minor: base256(1<<20, 8)}), fails: "unpack n: device 8:1048576 out of range"},
		{name: "negative device", raw: rawLayer(rawEntry{name: "n", kind: tar.TypeChar, major: base256(-1, 8)}), fails: "out of range"},
		{name: "setuid of an odd owner", layers: one(tar.Header{Name: "s", Typeflag: tar.TypeReg, Mode: 0o6755, Uid: 4_000_000_000, Gid: 4_294_967_294}), want: []string{"s=6755 4000000000:4294967294 f:"}},
		{name: "owner that chown takes for none", layers: one(tar.Header{Name: "o", Typeflag: tar.TypeDir, Uid: 1<<32 - 1}), fails: "unpack o: owner 4294967295:0 out of range"},
		{name: "owner beyond 32 bits", layers: one(tar.Header{Name: "o", Typeflag: tar.TypeDir, Uid: 1 << 32}), fails: "unpack o: owner 4294967296:0 out of range"},
		{name: "negative owner", raw: rawLayer(rawEntry{name: "o", kind: tar.TypeDir, gid: base256(-2, 8)}), fails: "unpack o: owner 0:-2 out of range"},
		{name: "negative size", raw: rawLayer(rawEntry{name: "f", kind: tar.TypeReg, size: base256(-512, 12)}), fails: "read layer: archive/tar: invalid tar header"},
		{name: "size that is not there", raw: rawLayer(rawEntry{name: "f", kind: tar.TypeReg, size: "77777777777"}), fails: "unpack f: unexpected EOF"},
		{name: "size beyond all limits", raw: rawLayer(rawEntry{name: "f", kind: tar.TypeReg, size: base256(1<<50, 12)}), fails: "file too large: layer holds more than 274877906944 bytes"},
		{name: "size beyond 63 bits", raw: rawLayer(rawEntry{name: "f", kind: tar.TypeReg, size: "\x80" + strings.Repeat("\xff", 11)}), fails: "read layer: archive/tar: invalid tar header"},
		{name: "negative time", raw: rawLayer(rawEntry{name: "f", kind: tar.TypeReg, time: base256(-1<<40, 12)}), want: []string{"f=f:"}},
		{name: "time beyond the end of the world", raw: rawLayer(rawEntry{name: "d", kind: tar.TypeDir, time: base256(1<<62, 12)}), want: []string{"d=d"}},
		{name: "mode with every bit", raw: rawLayer(rawEntry{name: "f", kind: tar.TypeReg, mode: base256(-1, 8)}), want: []string{"f=7777 0:0 f:"}},
		{name: "file with a slash at its end", raw: rawLayer(rawEntry{name: "d/", kind: tar.TypeReg, size: "3", content: "abc"}, rawEntry{name: "e/", kind: '\x00', content: ""}), want: []string{"d=f:abc", "e=d"}},
		{name: "directory with content", raw: rawLayer(rawEntry{name: "d", kind: tar.TypeDir, size: "3", content: ""}, rawEntry{name: "e", kind: tar.TypeReg, size: "1", content: "x"}), want: []string{"d=d", "e=f:x"}},
		{name: "symlink with content", raw: rawLayer(rawEntry{name: "s", kind: tar.TypeSymlink, link: "t", size: "0"}, rawEntry{name: "e", kind: tar.TypeReg, size: "1", content: "x"}), want: []string{"s=l:t", "e=f:x"}},
		{name: "contiguous file", raw: rawLayer(rawEntry{name: "f", kind: '7', mode: "644", size: "1", content: "x"}), want: []string{"f=644 0:0 f:x"}},
		{name: "volume label", layers: one(tar.Header{Name: "v", Typeflag: 'V'}), fails: "unpack v: entry of unknown type 'V'"},
		{name: "multiple volumes", raw: rawLayer(rawEntry{name: "m", kind: 'M'}), fails: "unpack m: entry of unknown type 'M'"},
		{name: "old long name", raw: rawLayer(rawEntry{name: "n", kind: 'N'}), fails: "unpack n: entry of unknown type 'N'"},
		{name: "dump of a directory", raw: rawLayer(rawEntry{name: "d", kind: 'D'}), fails: "unpack d: entry of unknown type 'D'"},
		{name: "type that no terminal should see", raw: rawLayer(rawEntry{name: "x", kind: 0x9b}), fails: `unpack x: entry of unknown type '\u009b'`},
		{name: "sparse file without a map", raw: rawLayer(rawEntry{name: "s", kind: 'S'}), fails: "read layer: archive/tar: invalid tar header"},
		{name: "file of a size that lies about its header", raw: rawLayer(rawEntry{name: "x", kind: tar.TypeXHeader, size: "20", content: "16 path=../secret\n"}), fails: "read layer"},
	}
}

// hostileNames are names that break lines, encodings and limits.
func hostileNames() []hostileLayers {
	long, component, megabyte := strings.Repeat("d/", 600), strings.Repeat("n", 256), strings.Repeat("x", 1<<20)
	return []hostileLayers{
		{name: "newline and escape", layers: one(file("a\n\x1b[31m", "1"), dir("b\r"), file("b\r/\x7f", "2")), want: []string{"a\n\x1b[31m=f:1", "b\r/\x7f=f:2"}},
		{name: "newline and escape in an error", layers: one(file("a", ""), file("a/\x1b[31m\n", "")), fails: `unpack "a/\x1b[31m\n": not a directory`},
		{name: "control characters beyond ASCII in an error", layers: one(file("a", ""), file("a/\u009b31m", "")), fails: `unpack "a/\u009b31m": not a directory`},
		{name: "text that runs backwards in an error", layers: one(file("a", ""), file("a/\u202egnp.exe", "")), fails: `unpack "a/\u202egnp.exe": not a directory`},
		{name: "target that steers the terminal in an error", layers: one(hardlink("a", "\x1b]0;x\a")), fails: `unpack a: hard link to "\x1b]0;x\a": no such file`},
		{name: "no UTF-8", raw: rawLayer(rawEntry{name: "\xff\xfe\x80", kind: tar.TypeReg, mode: "644", size: "1", content: "x"}), want: []string{"\xff\xfe\x80=f:x"}},
		{name: "no UTF-8 in an error", raw: rawLayer(rawEntry{name: "\x9b31m", kind: 'V'}), fails: `unpack "\x9b31m": entry of unknown type`},
		{name: "no name", raw: rawLayer(rawEntry{kind: tar.TypeReg}), fails: `unpack "": entry without a name`},
		{name: "dots", layers: one(tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o711}, file("././a", "1"), tar.Header{Name: ".", Typeflag: tar.TypeDir, Mode: 0o751}), want: []string{".=751 0:0 d", "a=f:1"}},
		{name: "slashes at the end", layers: one(dir("d///"), symlink("s/", "d//"), file("d/./x", "1")), want: []string{"d/x=f:1", "s=l:d//"}},
		{name: "component of 256 bytes", layers: one(file(component, "")), fails: "file name too long"},
		{name: "component of 255 bytes", layers: one(file(component[1:], "1")), want: []string{component[1:] + "=f:1"}},
		{name: "path of 4096 bytes and more", layers: one(file(strings.Repeat(component[1:]+"/", 17)+"x", "")), fails: "file name too long"},
		{name: "target of 5000 bytes", layers: one(symlink("s", strings.Repeat("x/", 2500))), fails: "unpack s: file name too long"},
		{name: "whiteout of a name that is too long", layers: layers(layer(file("a", "")), layer(file(".wh."+component, ""))), fails: "file name too long"},
		{name: "deep", layers: one(file(long+"x", "")), fails: "more than 512 components"},
		{name: "deep by a symlink", layers: one(symlink("s", long), file("s/x", "1")), fails: "more than 512 directories to make"},
		{name: "long name by GNU", raw: rawLayer(rawEntry{name: "././@LongLink", kind: 'L', size: "15", content: "../../secret"}, rawEntry{name: "x", kind: tar.TypeReg}), fails: "unpack ../../secret: path leads out of the root"},
		{name: "long target by GNU", raw: rawLayer(rawEntry{name: "././@LongLink", kind: 'K', size: "15", content: "../../secret"}, rawEntry{name: "x", kind: tar.TypeLink}), fails: "path leads out of the root"},
		{name: "long name by GNU, lying about its size", raw: rawLayer(rawEntry{name: "././@LongLink", kind: 'L', size: "7777777777", content: megabyte + "x"}), fails: "read layer: archive/tar: header field too long"},
		{name: "PAX header of 1 GB", raw: rawLayer(rawEntry{name: "pax", kind: tar.TypeXHeader, size: "10000000000", content: megabyte + "x"}), fails: "read layer: archive/tar: header field too long"},
		{name: "PAX path that climbs", raw: rawLayer(rawEntry{name: "pax", kind: tar.TypeXHeader, size: "25", content: "21 path=../../secret\n"}, rawEntry{name: "x", kind: tar.TypeReg}), fails: "unpack ../../secret: path leads out of the root"},
		{name: "PAX path", layers: one(tar.Header{Name: strings.Repeat("p", 200) + "/../../x", Typeflag: tar.TypeReg, Format: tar.FormatPAX}, file("/y", "")), want: []string{"x=none"}, fails: "path leads out of the root"},
		{name: "PAX record that lies about its length", raw: rawLayer(rawEntry{name: "pax", kind: tar.TypeXHeader, size: "14", content: "99999 path=x"}, rawEntry{name: "x", kind: tar.TypeReg}), fails: "read layer: archive/tar: invalid tar header"},
		{name: "PAX header for nothing", raw: rawLayer(rawEntry{name: "pax", kind: tar.TypeXHeader, size: "13", content: "11 path=xy\n"}), want: []string{"x=none", "xy=none"}},
	}
}
