package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// A compression is a format, and how to read it.
type compression struct {
	magic string
	name  string
	open  func(io.Reader) (io.ReadCloser, error)
}

// magicBytes is the length of the longest magic number.
const magicBytes = 6

// compressions are the formats that are told apart by their first bytes. The
// media type of a layer is not asked: it is wrong often enough.
var compressions = []compression{
	{"\x1f\x8b", "gzip", func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }},
	{"\x28\xb5\x2f\xfd", "zstd", openZstd},
	{"\x50\x2a\x4d\x18", "zstd", openZstd}, // a skippable frame in front, as pzstd writes it
	{"\xfd7zXZ\x00", "xz", refuse("xz")},
	{"BZh", "bzip2", refuse("bzip2")},
	{"\x04\x22\x4d\x18", "lz4", refuse("lz4")},
}

// zstdWindow is the most memory that a frame may ask for, as zstd -d has it
// without --long.
const zstdWindow = 128 << 20

// What a stream may grow to when it is decompressed: 4 GiB in any case, and beyond
// that 200 times what was read of it. Zeros shrink to a thousandth with gzip, and
// to almost nothing with zstd, so that a download of some megabytes could fill a
// disk; files of programs and data shrink to a third, hardly ever to a fiftieth.
const (
	freeGrowth = 4 << 30
	maxGrowth  = 200
)

func openZstd(r io.Reader) (io.ReadCloser, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

func refuse(format string) func(io.Reader) (io.ReadCloser, error) {
	return func(io.Reader) (io.ReadCloser, error) {
		return nil, &hintedError{errors.New("this compression is not supported"), "decompress it first, for example `" + format + " -dc FILE | minictr import - NAME`"}
	}
}

// decompress returns the stream in plain, decompressed on another processor.
// Closing it leaves r alone.
func decompress(r io.Reader) (io.ReadCloser, error) {
	read := &counter{r: r, tell: func(int64) {}}
	buffered := bufio.NewReaderSize(read, 256<<10)
	head, err := buffered.Peek(magicBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	c := compressionOf(head)
	if c == nil {
		return io.NopCloser(buffered), nil
	}
	d, err := c.open(buffered)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return pump(&bounded{ReadCloser: d, from: read, format: c.name, free: freeGrowth}), nil
}

// A bounded is a decompressor that stops at a bomb, and whose errors say what it
// is.
type bounded struct {
	io.ReadCloser
	from   *counter // where it reads
	format string
	n      int64 // bytes that came out
	free   int64 // that may come out of anything
}

var errBomb = errors.New("compression bomb")

// Read reads on, unless it is too much.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	switch {
	case b.n > b.free && b.n/maxGrowth > b.from.n:
		return 0, fmt.Errorf("%s: %w: %d bytes have become more than %d", b.format, errBomb, b.from.n, b.n)
	case err == nil || errors.Is(err, io.EOF):
		return n, err
	}
	return n, fmt.Errorf("%s: %w", b.format, err)
}

// compressionOf returns the format of what begins like head, or nil.
func compressionOf(head []byte) *compression {
	for i, c := range compressions {
		if bytes.HasPrefix(head, []byte(c.magic)) {
			return &compressions[i]
		}
	}
	return nil
}

// pump reads d in a goroutine of its own, so that decompression and unpacking
// go on at the same time.
func pump(d io.ReadCloser) io.ReadCloser {
	r := &pumped{chunks: make(chan chunk, 4), stop: make(chan struct{})}
	go func() {
		defer func() { _ = d.Close() }() // it was only read
		for {
			b := make([]byte, 256<<10)
			n, err := fill(d, b)
			select {
			case r.chunks <- chunk{b[:n], err}:
			case <-r.stop:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return r
}

// fill is io.ReadFull without its own idea of an unexpected end.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var more int
		more, err = r.Read(b[n:])
		n += more
	}
	return n, err
}

type chunk struct {
	data []byte
	err  error
}

type pumped struct {
	chunks chan chunk
	stop   chan struct{}
	now    chunk
}

func (p *pumped) Read(b []byte) (int, error) {
	for len(p.now.data) == 0 {
		if p.now.err != nil {
			return 0, p.now.err
		}
		p.now = <-p.chunks
	}
	n := copy(b, p.now.data)
	p.now.data = p.now.data[n:]
	return n, nil
}

func (p *pumped) Close() error {
	close(p.stop)
	return nil
}
