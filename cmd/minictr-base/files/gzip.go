package files

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// A zipper is one run of gzip, gunzip or zcat.
type zipper struct {
	c                                     *applet.Call
	decompress, stdout, keep, force, test bool
	level                                 int
}

func gzipApplet(c *applet.Call) error {
	o, err := c.Options("cdfkqtvn123456789", "stdout=c", "to-stdout=c", "decompress=d", "uncompress=d", "force=f", "keep=k", "quiet=q", "test=t", "verbose=v", "fast=1", "best=9", "no-name=n")
	if err != nil {
		return err
	}
	z := &zipper{
		c: c, decompress: o.Has("d", "t") || c.Name != "gzip", stdout: o.Has("c") || c.Name == "zcat", keep: o.Has("k"), force: o.Has("f"),
		test: o.Has("t"), level: gzip.DefaultCompression,
	}
	for level := 1; level <= 9; level++ {
		if o.Has(fmt.Sprint(level)) {
			z.level = level
		}
	}
	if len(o.Args) == 0 {
		o.Args = []string{"-"}
	}
	return each(c, o.Args, z.file)
}

func (z *zipper) file(name string) error {
	if name == "-" {
		return z.stream(z.c.Out, z.c.In)
	}
	in, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) && z.decompress && !strings.HasSuffix(name, ".gz") {
		name += ".gz"
		in, err = os.Open(name)
	}
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	if st.IsDir() {
		return fmt.Errorf("%s: %w", name, errIsDir)
	}
	if z.stdout || z.test {
		return z.stream(z.c.Out, in)
	}
	target, err := z.target(name)
	if err != nil {
		return err
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if z.force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	out, err := os.OpenFile(target, flags, st.Mode().Perm())
	if err != nil {
		return err
	}
	err = errors.Join(z.stream(out, in), out.Close())
	if err == nil {
		err = os.Chtimes(target, st.ModTime(), st.ModTime())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", name, err), os.Remove(target))
	}
	if z.keep {
		return nil
	}
	return os.Remove(name)
}

func (z *zipper) target(name string) (string, error) {
	if !z.decompress {
		return name + ".gz", nil
	}
	if plain, ok := strings.CutSuffix(name, ".tgz"); ok {
		return plain + ".tar", nil
	}
	plain, ok := strings.CutSuffix(name, ".gz")
	if !ok {
		return "", fmt.Errorf("%s: the name does not end in .gz", name)
	}
	return plain, nil
}

func (z *zipper) stream(w io.Writer, r io.Reader) error {
	out := bufio.NewWriterSize(w, 64<<10)
	if !z.decompress {
		zip, err := gzip.NewWriterLevel(out, z.level)
		if err != nil {
			return err
		}
		_, err = io.Copy(zip, r)
		return errors.Join(err, zip.Close(), out.Flush())
	}
	zip, err := gzip.NewReader(bufio.NewReaderSize(r, 64<<10))
	if err != nil {
		return err
	}
	if z.test {
		out = bufio.NewWriter(io.Discard)
	}
	_, err = io.Copy(out, zip)
	return errors.Join(err, out.Flush())
}
