// Command base packs the image minictr/base, which minictr-image carries: it
// builds cmd/minictr-base for an architecture and writes, beside each other,
//
//	layer.tar.zst  the layer: the program, a link for each of its commands, and
//	               what a root file system needs beside that
//	layer.json     what minictr-image has to know of it
//
// The same sources give the same bytes. The time of the files is
// SOURCE_DATE_EPOCH, or 1970. Run it from the root of the module:
//
//	go run ./rootfs/gen/base ARCH DIR
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// program is the package that the image consists of.
const program = "github.com/minictr/minictr/cmd/minictr-base"

// A layer is what layer.json holds. minictr-image has the same type.
type layer struct {
	Created time.Time `json:"created"`
	DiffID  string    `json:"diffID"` // of the tar
	Digest  string    `json:"digest"` // of the compressed tar
	Size    int64     `json:"size"`   // of the compressed tar
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("base: ")
	if len(os.Args) != 3 {
		log.Fatal("usage: base ARCH DIR")
	}
	if err := pack(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

// pack writes the two files, unless they are already of the same sources.
func pack(arch, dir string) error {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		seconds = 0
	}
	created := time.Unix(seconds, 0).UTC()
	binary, err := build(arch)
	if err != nil {
		return err
	}
	commands, err := exec.Command("go", "run", program, "--list").Output()
	if err != nil {
		return fmt.Errorf("list the commands: %w", err)
	}
	plain, err := archive(binary, strings.Fields(string(commands)), created)
	if err != nil {
		return err
	}
	description := layer{Created: created, DiffID: digest(plain)}
	if before, err := os.ReadFile(filepath.Join(dir, "layer.json")); err == nil {
		var is layer
		if json.Unmarshal(before, &is) == nil && is.DiffID == description.DiffID && exists(filepath.Join(dir, "layer.tar.zst")) {
			return nil
		}
	}
	packed, err := compress(plain)
	if err != nil {
		return err
	}
	description.Digest, description.Size = digest(packed), int64(len(packed))
	text, err := json.MarshalIndent(description, "", "\t")
	if err != nil {
		return err
	}
	if err := write(filepath.Join(dir, "layer.tar.zst"), packed); err != nil {
		return err
	}
	return write(filepath.Join(dir, "layer.json"), append(text, '\n'))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// write puts the file in its place at once: others may do the same.
func write(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// build compiles the program for the architecture.
func build(arch string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "minictr-base")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary directory
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", dir+"/minictr-base", program)
	c.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
	c.Stderr = os.Stderr
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("build %s for %s: %w", program, arch, err)
	}
	return os.ReadFile(dir + "/minictr-base")
}

func compress(plain []byte) ([]byte, error) {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return w.EncodeAll(plain, nil), w.Close()
}

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// An entry is a file of the image but for its commands.
type entry struct {
	name string // a directory's ends in /
	mode int64
	text string // of a file
	link string // where it points
}

// entries are what a root file system needs beside programs. /etc/hosts,
// hostname and resolv.conf are the container's.
var entries = []entry{
	{name: "bin/", mode: 0o755},
	{name: "dev/", mode: 0o755},
	{name: "etc/", mode: 0o755},
	{name: "etc/group", mode: 0o644, text: "root:x:0:\ntty:x:5:\nusers:x:100:\nnogroup:x:65534:\n"},
	{name: "etc/nsswitch.conf", mode: 0o644, text: "passwd: files\ngroup: files\nhosts: files dns\n"},
	{name: "etc/os-release", mode: 0o644, text: "NAME=\"minictr/base\"\nPRETTY_NAME=\"minictr/base\"\nID=minictr-base\nHOME_URL=\"https://github.com/minictr/minictr\"\n"},
	{name: "etc/passwd", mode: 0o644, text: "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:100:user:/home/user:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
	{name: "etc/profile", mode: 0o644, text: "export PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}\n"},
	{name: "etc/services", mode: 0o644, text: services},
	{name: "etc/shells", mode: 0o644, text: "/bin/sh\n"},
	{name: "home/", mode: 0o755},
	{name: "home/user/", mode: 0o755},
	{name: "proc/", mode: 0o555},
	{name: "root/", mode: 0o700},
	{name: "run/", mode: 0o755},
	{name: "sbin", link: "bin"},
	{name: "sys/", mode: 0o555},
	{name: "tmp/", mode: 0o1777},
	{name: "usr/", mode: 0o755},
	{name: "usr/bin", link: "../bin"},
	{name: "usr/sbin", link: "../bin"},
	{name: "usr/local/", mode: 0o755},
	{name: "usr/local/bin/", mode: 0o755},
	{name: "var/", mode: 0o755},
	{name: "var/log/", mode: 0o755},
	{name: "var/run", link: "../run"},
	{name: "var/tmp/", mode: 0o1777},
}

// services are the names of ports that people look at.
const services = `ssh 22/tcp
telnet 23/tcp
smtp 25/tcp
domain 53/udp
domain 53/tcp
http 80/tcp
ntp 123/udp
https 443/tcp
postgresql 5432/tcp
redis 6379/tcp
http-alt 8080/tcp
`

// archive makes the layer: a tar with the program once, and a link for each of
// its commands.
func archive(binary []byte, commands []string, created time.Time) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(h tar.Header, content []byte) error {
		h.ModTime, h.Size, h.Uname, h.Gname = created, int64(len(content)), "root", "root"
		if strings.HasPrefix(h.Name, "home/user/") {
			h.Uid, h.Gid, h.Uname, h.Gname = 1000, 100, "user", "users"
		}
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		_, err := io.Copy(w, bytes.NewReader(content))
		return err
	}
	for _, e := range entries {
		h := tar.Header{Name: e.name, Mode: e.mode, Typeflag: tar.TypeReg}
		switch {
		case strings.HasSuffix(e.name, "/"):
			h.Typeflag = tar.TypeDir
		case e.link != "":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.link, 0o777
		}
		if err := add(h, []byte(e.text)); err != nil {
			return nil, err
		}
	}
	if err := add(tar.Header{Name: "bin/minictr-base", Mode: 0o755, Typeflag: tar.TypeReg}, binary); err != nil {
		return nil, err
	}
	for _, name := range commands {
		if err := add(tar.Header{Name: "bin/" + name, Mode: 0o777, Typeflag: tar.TypeSymlink, Linkname: "minictr-base"}, nil); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}
