package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// An archive is what images are saved to.
type archive interface {
	mkdir(name string) error
	// add adds a file of that many bytes.
	add(name string, size int64, content io.Reader) error
	// finish ends the writing and gives the archive its name.
	finish() error
	// drop closes it; what was not finished leaves nothing behind.
	drop() error
}

func addBytes(to archive, name string, data []byte) error {
	return to.add(name, int64(len(data)), bytes.NewReader(data))
}

// copyExactly copies size bytes; fewer are io.ErrUnexpectedEOF.
func copyExactly(to io.Writer, from io.Reader, size int64) error {
	n, err := io.CopyBuffer(writerOnly{to}, io.LimitReader(from, size), make([]byte, 256<<10))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return plain(err)
}

// A tarArchive is a tar in which all but names, sizes and content is the same
// always.
type tarArchive struct {
	to     output
	buffer *bufio.Writer
	tar    *tar.Writer
}

// An output is a file to be, or a stream.
type output interface {
	io.Writer
	finish() error
	drop() error
}

// A stream has no end of its own.
type stream struct{ io.Writer }

func (stream) finish() error { return nil }
func (stream) drop() error   { return nil }

func newTarArchive(to output) *tarArchive {
	buffer := bufio.NewWriterSize(to, 256<<10)
	return &tarArchive{to, buffer, tar.NewWriter(buffer)}
}

func (t *tarArchive) mkdir(name string) error {
	return t.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: time.Unix(0, 0)})
}

func (t *tarArchive) add(name string, size int64, content io.Reader) error {
	err := t.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)})
	if err == nil {
		err = copyExactly(t.tar, content, size)
	}
	return plain(err)
}

func (t *tarArchive) finish() error {
	if err := t.tar.Close(); err != nil {
		return err
	}
	if err := t.buffer.Flush(); err != nil {
		return err
	}
	return t.to.finish()
}

func (t *tarArchive) drop() error { return t.to.drop() }

// A directoryArchive is an OCI layout in a directory, which has another name
// while it is written.
type directoryArchive struct {
	name, temporary string
}

// newDirectoryArchive wants a name that is free, or an empty directory's.
func newDirectoryArchive(name string) (*directoryArchive, error) {
	name = filepath.Clean(name)
	if there, err := os.ReadDir(name); err == nil && len(there) > 0 {
		return nil, errors.New("directory is not empty")
	}
	if st, err := os.Stat(name); err == nil && !st.IsDir() {
		return nil, errors.New("exists and is no directory")
	}
	temporary, err := os.MkdirTemp(filepath.Dir(name), "."+filepath.Base(name)+".")
	if err == nil {
		err = os.Chmod(temporary, 0o755)
	}
	return &directoryArchive{name, temporary}, plain(err)
}

func (d *directoryArchive) mkdir(name string) error {
	dir := filepath.Join(d.temporary, name)
	return plain(errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o755)))
}

func (d *directoryArchive) add(name string, size int64, content io.Reader) error {
	f, err := os.OpenFile(filepath.Join(d.temporary, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return plain(err)
	}
	err = errors.Join(plain(f.Chmod(0o644)), copyExactly(f, content, size))
	return errors.Join(err, plain(f.Close()))
}

func (d *directoryArchive) finish() error {
	if err := syncTree(d.temporary); err != nil {
		return err
	}
	// rename(2) replaces an empty directory, and no other; os.Rename does not.
	err := unix.Rename(d.temporary, d.name)
	if err == nil {
		d.temporary = ""
	}
	return err
}

// syncTree writes to the disk what is in a directory, and all else in its file
// system.
func syncTree(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

func (d *directoryArchive) drop() error {
	if d.temporary == "" {
		return nil
	}
	return plain(os.RemoveAll(d.temporary))
}
