package text

import (
	"bufio"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

func base64Applet(c *applet.Call) error {
	o, err := c.Options("diw:", "decode=d", "ignore-garbage=i", "wrap=w")
	if err != nil {
		return err
	}
	width, err := o.Int("w", 76)
	if err != nil {
		return err
	}
	return eachFile(c, o.Args, func(_ string, r io.Reader) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if o.Has("d") {
			text := strings.Map(func(r rune) rune {
				if r == '\n' || r == '\r' || o.Has("i") && !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", r) {
					return -1
				}
				return r
			}, string(data))
			plain, err := base64.StdEncoding.DecodeString(text)
			if _, writeErr := c.Out.Write(plain); writeErr != nil {
				return writeErr
			}
			if err != nil {
				return errors.New("invalid input")
			}
			return nil
		}
		text := base64.StdEncoding.EncodeToString(data)
		for width > 0 && len(text) > width {
			fmt.Fprintln(c.Out, text[:width])
			text = text[width:]
		}
		if width > 0 && text != "" {
			text += "\n"
		}
		_, err = io.WriteString(c.Out, text)
		return err
	})
}

func digest(c *applet.Call) error {
	o, err := c.Options("cbtws", "check=c", "binary=b", "text=t", "status=s", "quiet")
	if err != nil {
		return err
	}
	make := map[string]func() hash.Hash{"md5sum": md5.New, "sha1sum": sha1.New, "sha256sum": sha256.New, "sha512sum": sha512.New}[c.Name]
	sum := func(r io.Reader) (string, error) {
		h := make()
		_, err := io.Copy(h, r)
		return hex.EncodeToString(h.Sum(nil)), err
	}
	if !o.Has("c") {
		return eachFile(c, o.Args, func(name string, r io.Reader) error {
			text, err := sum(r)
			if err == nil {
				fmt.Fprintf(c.Out, "%s  %s\n", text, name)
			}
			return err
		})
	}
	wrong := 0
	err = eachFile(c, o.Args, func(_ string, r io.Reader) error {
		return eachLine(r, '\n', func(line []byte, _ bool) error {
			want, name, ok := strings.Cut(string(line), " ")
			if !ok || len(name) < 2 {
				return nil
			}
			name = name[1:]
			got := ""
			err := oneFile(c, name, func(_ string, r io.Reader) (err error) {
				got, err = sum(r)
				return err
			})
			verdict := "OK"
			if err != nil {
				c.Warn(err)
				verdict = "FAILED open or read"
			} else if !strings.EqualFold(got, want) {
				verdict = "FAILED"
			}
			if verdict != "OK" {
				wrong++
			}
			if !o.Has("s") && (verdict != "OK" || !o.Has("quiet")) {
				fmt.Fprintf(c.Out, "%s: %s\n", name, verdict)
			}
			return nil
		})
	})
	if wrong > 0 && !o.Has("s") {
		c.Warn(fmt.Errorf("WARNING: %d computed checksum did NOT match", wrong))
	}
	if err != nil {
		return err
	}
	return failed(wrong > 0)
}

// limited reads the part of the input that -s and -n or -l name.
func limited(r io.Reader, o *applet.Options) ([]byte, int64, error) {
	var skip, n int64
	for name, to := range map[string]*int64{"s": &skip, "n": &n, "l": &n, "N": &n, "j": &skip} {
		if o.Has(name) {
			v, err := strconv.ParseInt(o.Value(name, ""), 0, 64)
			if err != nil {
				return nil, 0, applet.UsageError(fmt.Sprintf("%q is not a number", o.Value(name, "")))
			}
			*to = v
		}
	}
	if _, err := io.CopyN(io.Discard, r, skip); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	if n > 0 {
		r = io.LimitReader(r, n)
	}
	data, err := io.ReadAll(r)
	return data, skip, err
}

// hexdump shows bytes as hexdump -C does, and as xxd under that name.
func hexdump(c *applet.Call) error {
	o, err := c.Options("Cvn:s:l:g:p")
	if err != nil {
		return err
	}
	w := bufio.NewWriter(c.Out)
	err = eachFile(c, o.Args, func(_ string, r io.Reader) error {
		data, at, err := limited(r, o)
		if err != nil {
			return err
		}
		if o.Has("p") {
			fmt.Fprintln(w, hex.EncodeToString(data))
			return nil
		}
		for i := 0; i < len(data); i += 16 {
			row := data[i:min(i+16, len(data))]
			if c.Name == "xxd" {
				fmt.Fprintf(w, "%08x: %-40s %s\n", at+int64(i), pairs(row), printable(row))
			} else {
				fmt.Fprintf(w, "%08x  %-49s |%s|\n", at+int64(i), singles(row), printable(row))
			}
		}
		if c.Name != "xxd" && len(data) > 0 {
			fmt.Fprintf(w, "%08x\n", at+int64(len(data)))
		}
		return nil
	})
	return errors.Join(err, w.Flush())
}

func pairs(row []byte) string {
	var b strings.Builder
	for i, c := range row {
		if i > 0 && i%2 == 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%02x", c)
	}
	return b.String()
}

func singles(row []byte) string {
	var b strings.Builder
	for i, c := range row {
		if i == 8 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%02x ", c)
	}
	return b.String()
}

func printable(row []byte) string {
	out := make([]byte, len(row))
	for i, c := range row {
		out[i] = c
		if c < ' ' || c > '~' {
			out[i] = '.'
		}
	}
	return string(out)
}

func od(c *applet.Call) error {
	o, err := c.Options("cbxA:t:N:j:v")
	if err != nil {
		return err
	}
	w := bufio.NewWriter(c.Out)
	err = eachFile(c, o.Args, func(_ string, r io.Reader) error {
		data, at, err := limited(r, o)
		if err != nil {
			return err
		}
		address := func(n int64) {
			if o.Value("A", "o") == "x" {
				fmt.Fprintf(w, "%06x", n)
			} else if o.Value("A", "o") == "d" {
				fmt.Fprintf(w, "%07d", n)
			} else if o.Value("A", "o") != "n" {
				fmt.Fprintf(w, "%07o", n)
			}
		}
		for i := 0; i < len(data); i += 16 {
			address(at + int64(i))
			odRow(w, data[i:min(i+16, len(data))], o)
		}
		if o.Value("A", "o") != "n" {
			address(at + int64(len(data)))
			fmt.Fprintln(w)
		}
		return nil
	})
	return errors.Join(err, w.Flush())
}

func odRow(w io.Writer, row []byte, o *applet.Options) {
	form := o.Value("t", "o2")
	switch {
	case o.Has("c") || form == "c":
		names := map[byte]string{0: `\0`, '\a': `\a`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\v': `\v`}
		for _, b := range row {
			switch name, ok := names[b]; {
			case ok:
				fmt.Fprintf(w, "%4s", name)
			case b < ' ' || b > '~':
				fmt.Fprintf(w, " %03o", b)
			default:
				fmt.Fprintf(w, "   %c", b)
			}
		}
	case o.Has("b") || form == "o1":
		for _, b := range row {
			fmt.Fprintf(w, " %03o", b)
		}
	case form == "u1" || form == "d1":
		for _, b := range row {
			fmt.Fprintf(w, " %3d", b)
		}
	case form == "x1":
		for _, b := range row {
			fmt.Fprintf(w, " %02x", b)
		}
	default:
		for i := 0; i < len(row); i += 2 {
			v := uint16(row[i])
			if i+1 < len(row) {
				v |= uint16(row[i+1]) << 8
			}
			if o.Has("x") || form == "x2" {
				fmt.Fprintf(w, " %04x", v)
			} else {
				fmt.Fprintf(w, " %06o", v)
			}
		}
	}
	fmt.Fprintln(w)
}

func stringsApplet(c *applet.Call) error {
	o, err := c.Options("an:")
	if err != nil {
		return err
	}
	least, err := o.Int("n", 4)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(c.Out)
	err = eachFile(c, o.Args, func(_ string, r io.Reader) error {
		in := bufio.NewReader(r)
		var run []byte
		for {
			b, err := in.ReadByte()
			if err == nil && (b >= ' ' && b <= '~' || b == '\t') {
				run = append(run, b)
				continue
			}
			if len(run) >= least {
				fmt.Fprintf(w, "%s\n", run)
			}
			run = run[:0]
			if err != nil {
				return ignoreEOF(err)
			}
		}
	})
	return errors.Join(err, w.Flush())
}

func cmp(c *applet.Call) error {
	o, err := c.Options("sl", "quiet=s", "silent=s")
	if err != nil {
		return err
	}
	if len(o.Args) != 2 {
		return applet.UsageError("needs two files")
	}
	var readers [2]*bufio.Reader
	for i, name := range o.Args {
		if name == "-" {
			readers[i] = bufio.NewReader(c.In)
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			c.Warn(err)
			return applet.ExitError(2)
		}
		defer f.Close()
		readers[i] = bufio.NewReader(f)
	}
	for at, line := int64(1), 1; ; at++ {
		a, err1 := readers[0].ReadByte()
		b, err2 := readers[1].ReadByte()
		switch {
		case err1 != nil && err2 != nil:
			return nil
		case err1 != nil || err2 != nil:
			if !o.Has("s") {
				short := o.Args[0]
				if err2 != nil {
					short = o.Args[1]
				}
				fmt.Fprintf(c.Err, "cmp: EOF on %s\n", short)
			}
			return applet.ExitError(1)
		case a != b:
			if !o.Has("s") {
				fmt.Fprintf(c.Out, "%s %s differ: char %d, line %d\n", o.Args[0], o.Args[1], at, line)
			}
			return applet.ExitError(1)
		case a == '\n':
			line++
		}
	}
}
