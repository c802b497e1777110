// Package text holds the commands of the base image that read, filter and write
// text.
package text

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// Applets are the commands of this package.
func Applets() []applet.Applet {
	return []applet.Applet{
		{Name: "cat", Usage: "[-nbsETAveu] [FILE…]", Short: "show files one after the other", Run: cat},
		{Name: "tac", Usage: "[FILE…]", Short: "show lines, the last first", Run: tac},
		{Name: "rev", Usage: "[FILE…]", Short: "show lines backwards", Run: rev},
		{Name: "nl", Usage: "[-ba] [FILE…]", Short: "show lines with numbers", Run: nl},
		{Name: "head", Usage: "[-n N] [-c N] [-qv] [FILE…]", Short: "show the beginning of files", Run: head},
		{Name: "tail", Usage: "[-n N] [-c N] [-fFqv] [-s SECONDS] [FILE…]", Short: "show the end of files, and what is added", Run: tail},
		{Name: "wc", Usage: "[-clmwL] [FILE…]", Short: "count lines, words and bytes", Run: wc},
		{Name: "sort", Usage: "[-bcdfghiMnrsuVz] [-k KEY] [-t C] [-o FILE] [FILE…]", Short: "sort lines", Run: sortLines},
		{Name: "uniq", Usage: "[-cdiu] [-f N] [-s N] [-w N] [INPUT [OUTPUT]]", Short: "leave out lines that repeat the one before", Run: uniq},
		{Name: "cut", Usage: "-b|-c|-f LIST [-d C] [-s] [--complement] [FILE…]", Short: "show some columns", Run: cut},
		{Name: "paste", Usage: "[-s] [-d LIST] [FILE…]", Short: "put lines side by side", Run: paste},
		{Name: "tr", Usage: "[-cds] SET1 [SET2]", Short: "replace characters", Run: tr},
		{Name: "grep", Usage: "[-EFGHLchiLlnoqrRsvwxz] [-ABCm N] [-e PATTERN] [-f FILE] [PATTERN] [FILE…]", Short: "find lines", Run: grep},
		{Name: "egrep", Usage: "PATTERN [FILE…]", Short: "grep -E", Run: grep},
		{Name: "fgrep", Usage: "PATTERN [FILE…]", Short: "grep -F", Run: grep},
		{Name: "sed", Usage: "[-nEsz] [-i[SUFFIX]] [-e SCRIPT] [-f FILE] [SCRIPT] [FILE…]", Short: "edit a stream", Run: sed},
		{Name: "awk", Usage: "[-F FS] [-v NAME=VALUE] [-f FILE | PROGRAM] [FILE…]", Short: "scan and process patterns", Run: awk},
		{Name: "tee", Usage: "[-ai] [FILE…]", Short: "copy to files and on", Run: tee},
		{Name: "seq", Usage: "[-w] [-s SEPARATOR] [-f FORMAT] [FIRST [STEP]] LAST", Short: "count", Run: seq},
		{Name: "yes", Usage: "[WORD…]", Short: "say yes until nobody listens", Run: yes},
		{Name: "echo", Usage: "[-neE] [WORD…]", Short: "show words", Run: echo, Literal: true},
		{Name: "printf", Usage: "FORMAT [ARG…]", Short: "show words in a format", Run: printfApplet, Literal: true},
		{Name: "test", Usage: "EXPRESSION", Short: "compare, and look at files", Run: test, Literal: true},
		{Name: "[", Usage: "EXPRESSION ]", Short: "compare, and look at files", Run: test, Literal: true},
		{Name: "expr", Usage: "EXPRESSION", Short: "compute", Run: expr, Literal: true},
		{Name: "base64", Usage: "[-di] [-w N] [FILE]", Short: "encode or decode base64", Run: base64Applet},
		{Name: "md5sum", Usage: "[-c] [FILE…]", Short: "show MD5 digests", Run: digest},
		{Name: "sha1sum", Usage: "[-c] [FILE…]", Short: "show SHA-1 digests", Run: digest},
		{Name: "sha256sum", Usage: "[-c] [FILE…]", Short: "show or check SHA-256 digests", Run: digest},
		{Name: "sha512sum", Usage: "[-c] [FILE…]", Short: "show SHA-512 digests", Run: digest},
		{Name: "hexdump", Usage: "[-C] [-n N] [-s N] [FILE…]", Short: "show bytes", Run: hexdump},
		{Name: "xxd", Usage: "[-l N] [-s N] [FILE]", Short: "show bytes", Run: hexdump},
		{Name: "od", Usage: "[-c] [-t x1] [-An] [FILE]", Short: "show bytes", Run: od},
		{Name: "strings", Usage: "[-n N] [FILE…]", Short: "show the text in binary files", Run: stringsApplet},
		{Name: "cmp", Usage: "[-s] FILE FILE", Short: "compare two files", Run: cmp},
		{Name: "more", Usage: "[FILE…]", Short: "show files page by page", Run: more},
		{Name: "less", Usage: "[FILE…]", Short: "show files page by page", Run: more},
	}
}

func failed(yes bool) error {
	if yes {
		return applet.ExitError(1)
	}
	return nil
}

// eachFile runs f for each file, or for standard input where there is none or
// "-". It goes on after an error.
func eachFile(c *applet.Call, names []string, f func(name string, r io.Reader) error) error {
	if len(names) == 0 {
		names = []string{"-"}
	}
	bad := false
	for _, name := range names {
		if err := oneFile(c, name, f); err != nil {
			c.Warn(err)
			bad = true
		}
	}
	return failed(bad)
}

func oneFile(c *applet.Call, name string, f func(name string, r io.Reader) error) error {
	if name == "-" {
		return f("-", c.In)
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return f(name, file)
}

// eachLine runs f for each line, without its newline. newline says whether it
// had one.
func eachLine(r io.Reader, end byte, f func(line []byte, newline bool) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var long []byte
	for {
		line, err := in.ReadSlice(end)
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, line...)
			continue
		}
		if long != nil {
			line = append(long, line...)
			long = nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(line) > 0 {
			newline := line[len(line)-1] == end
			if newline {
				line = line[:len(line)-1]
			}
			if err := f(line, newline); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// filter is eachFile and eachLine with a buffered writer.
func filter(c *applet.Call, names []string, f func(w *bufio.Writer, line []byte, newline bool) error) error {
	w := bufio.NewWriterSize(c.Out, 64<<10)
	err := eachFile(c, names, func(_ string, r io.Reader) error {
		return eachLine(flushing(r, w), '\n', func(line []byte, newline bool) error { return f(w, line, newline) })
	})
	return errors.Join(err, w.Flush())
}

// flushing reads r and flushes w before it waits for more: what a person types
// is answered at once.
func flushing(r io.Reader, w *bufio.Writer) io.Reader {
	if f, ok := r.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			return r
		}
	}
	return &flushReader{r, w}
}

type flushReader struct {
	r io.Reader
	w *bufio.Writer
}

// Read flushes and reads.
func (f *flushReader) Read(b []byte) (int, error) {
	if err := f.w.Flush(); err != nil {
		return 0, err
	}
	return f.r.Read(b)
}

func cat(c *applet.Call) error {
	o, err := c.Options("nbsETAveut", "number=n", "number-nonblank=b", "squeeze-blank=s", "show-ends=E", "show-tabs=T", "show-all=A")
	if err != nil {
		return err
	}
	if !o.Has("n", "b", "s", "E", "T", "A", "v", "e", "t") {
		return eachFile(c, o.Args, func(_ string, r io.Reader) error {
			_, err := io.Copy(c.Out, r)
			return err
		})
	}
	number, blanks := 0, 0
	return filter(c, o.Args, func(w *bufio.Writer, line []byte, newline bool) error {
		if len(line) == 0 {
			if blanks++; blanks > 1 && o.Has("s") {
				return nil
			}
		} else {
			blanks = 0
		}
		if o.Has("b") && len(line) > 0 || o.Has("n") && !o.Has("b") {
			number++
			fmt.Fprintf(w, "%6d\t", number)
		}
		for _, b := range line {
			writeVisible(w, b, o.Has("v", "A", "e", "t"), o.Has("T", "A", "t"))
		}
		if o.Has("E", "A", "e") && newline {
			_ = w.WriteByte('$') // a writer keeps its error until Flush
		}
		return end(w, newline)
	})
}

func writeVisible(w *bufio.Writer, b byte, all, tabs bool) {
	switch {
	case b == '\t' && tabs:
		fmt.Fprint(w, "^I")
	case b == '\t' || !all:
		_ = w.WriteByte(b) // a writer keeps its error until Flush
	case b >= 0x80:
		fmt.Fprint(w, "M-")
		writeVisible(w, b-0x80, true, true)
	case b < ' ':
		fmt.Fprintf(w, "^%c", b+'@')
	case b == 0x7f:
		fmt.Fprint(w, "^?")
	default:
		_ = w.WriteByte(b) // a writer keeps its error until Flush
	}
}

func end(w *bufio.Writer, newline bool) error {
	if newline {
		return w.WriteByte('\n')
	}
	return nil
}

// put writes a line with its newline.
func put(w *bufio.Writer, line []byte) error {
	if _, err := w.Write(line); err != nil {
		return err
	}
	return w.WriteByte('\n')
}

// allLines reads all lines of the files.
func allLines(c *applet.Call, names []string, end byte) ([]string, error) {
	var lines []string
	err := eachFile(c, names, func(_ string, r io.Reader) error {
		return eachLine(r, end, func(line []byte, _ bool) error {
			lines = append(lines, string(line))
			return nil
		})
	})
	return lines, err
}

func tac(c *applet.Call) error {
	o, err := c.Options("")
	if err != nil {
		return err
	}
	lines, err := allLines(c, o.Args, '\n')
	w := bufio.NewWriter(c.Out)
	for i := len(lines) - 1; i >= 0; i-- {
		fmt.Fprintln(w, lines[i])
	}
	return errors.Join(err, w.Flush())
}

func rev(c *applet.Call) error {
	return filter(c, c.Args, func(w *bufio.Writer, line []byte, newline bool) error {
		runes := []rune(string(line))
		for i := len(runes) - 1; i >= 0; i-- {
			fmt.Fprint(w, string(runes[i]))
		}
		return end(w, newline)
	})
}

func nl(c *applet.Call) error {
	o, err := c.Options("b:w:s:v:")
	if err != nil {
		return err
	}
	number := 0
	return filter(c, o.Args, func(w *bufio.Writer, line []byte, _ bool) error {
		if len(line) == 0 && o.Value("b", "t") != "a" {
			fmt.Fprintln(w, "       ")
			return nil
		}
		number++
		fmt.Fprintf(w, "%6d%s%s\n", number, o.Value("s", "\t"), line)
		return nil
	})
}
