package text

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// A cutEnd is what head and tail are to show: N lines or bytes, from an end.
type cutEnd struct {
	n     int64
	bytes bool
	sign  byte // "-" of head -n -N, "+" of tail -n +N
}

// parseEnd reads -n and -c, and -5 for -n 5.
func parseEnd(c *applet.Call, letters string) (cutEnd, *applet.Options, error) {
	call := *c
	call.Args = append([]string(nil), c.Args...)
	for i, arg := range call.Args {
		if arg == "--" {
			break
		}
		if i > 0 && (call.Args[i-1] == "-n" || call.Args[i-1] == "-c") {
			continue // the value of a flag
		}
		if len(arg) > 1 && (arg[0] == '-' || arg[0] == '+' && c.Name == "tail" && i == 0) && arg[1] >= '0' && arg[1] <= '9' {
			if arg[0] == '-' {
				arg = arg[1:]
			}
			call.Args[i] = "-n" + strings.TrimRight(arg, "f")
			break
		}
	}
	o, err := call.Options(letters, "lines=n", "bytes=c", "quiet=q", "silent=q", "verbose=v", "follow?", "retry", "sleep-interval=s")
	e := cutEnd{n: 10}
	if err != nil {
		return e, nil, err
	}
	text := o.Value("n", "")
	if o.Last("n", "c") == "c" {
		e.bytes, text = true, o.Value("c", "")
	}
	if text == "" {
		return e, o, nil
	}
	if text[0] == '-' || text[0] == '+' {
		e.sign, text = text[0], text[1:]
	}
	digits := strings.TrimRight(text, "kKMGmb")
	n, err := strconv.ParseInt(digits, 10, 62)
	if err != nil {
		return e, nil, applet.UsageError(fmt.Sprintf("%q is not a number", text))
	}
	units := map[string]int64{"": 1, "b": 512, "k": 1 << 10, "K": 1 << 10, "m": 1 << 20, "M": 1 << 20, "G": 1 << 30}
	e.n = n * units[text[len(digits):]]
	return e, o, nil
}

// title shows the file's name above it, as head and tail do for several.
func title(w io.Writer, o *applet.Options, first *bool, name string) {
	if (len(o.Args) > 1 || o.Has("v")) && !o.Has("q") {
		if !*first {
			fmt.Fprintln(w)
		}
		if name == "-" {
			name = "standard input"
		}
		fmt.Fprintf(w, "==> %s <==\n", name)
	}
	*first = false
}

func head(c *applet.Call) error {
	e, o, err := parseEnd(c, "n:c:qv")
	if err != nil {
		return err
	}
	first := true
	return eachFile(c, o.Args, func(name string, r io.Reader) error {
		title(c.Out, o, &first, name)
		return e.head(c.Out, r)
	})
}

func (e cutEnd) head(out io.Writer, r io.Reader) error {
	if e.sign == '-' {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		_, err = out.Write(data[:e.start(data)])
		return err
	}
	if e.bytes {
		_, err := io.CopyN(out, r, e.n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	w := bufio.NewWriter(out)
	n := e.n
	err := errDone
	if n > 0 {
		err = eachLine(flushing(r, w), '\n', func(line []byte, newline bool) error {
			if _, err := w.Write(line); err != nil {
				return err
			}
			if err := end(w, newline); err != nil {
				return err
			}
			if n--; n == 0 {
				return errDone
			}
			return nil
		})
	}
	if errors.Is(err, errDone) {
		err = nil
	}
	return errors.Join(err, w.Flush())
}

var errDone = errors.New("done")

// start returns where the last n lines or bytes begin.
func (e cutEnd) start(data []byte) int {
	if e.bytes {
		return max(0, len(data)-int(e.n))
	}
	if e.n == 0 {
		return len(data)
	}
	at := len(bytes.TrimSuffix(data, []byte("\n")))
	for range e.n {
		at = bytes.LastIndexByte(data[:at], '\n')
		if at < 0 {
			return 0
		}
	}
	return at + 1
}

func tail(c *applet.Call) error {
	e, o, err := parseEnd(c, "n:c:qvfFs:")
	if err != nil {
		return err
	}
	interval := time.Second / 4
	if o.Has("s") {
		seconds, err := strconv.ParseFloat(o.Value("s", ""), 64)
		if err != nil {
			return applet.UsageError(fmt.Sprintf("%q is not a number", o.Value("s", "")))
		}
		interval = time.Duration(seconds * float64(time.Second))
	}
	follow := o.Has("f", "F", "follow")
	first := true
	if !follow {
		return eachFile(c, o.Args, func(name string, r io.Reader) error {
			title(c.Out, o, &first, name)
			return e.tail(c.Out, r)
		})
	}
	t := &follower{c: c, o: o, byName: o.Has("F") || o.Value("follow", "") == "name", interval: interval}
	return t.run(e)
}

func (e cutEnd) tail(out io.Writer, r io.Reader) error {
	if e.sign == '+' {
		return e.from(out, r)
	}
	if f, ok := r.(*os.File); ok { // of a large file only the end is read
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Size() > 1<<20 {
			if done, err := e.tailOfFile(out, f, st.Size()); done {
				return err
			}
		}
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	_, err = out.Write(data[e.start(data):])
	return err
}

func (e cutEnd) tailOfFile(out io.Writer, f *os.File, size int64) (bool, error) {
	const window = 256 << 10
	data := make([]byte, window)
	if _, err := f.ReadAt(data, size-window); err != nil {
		return false, nil
	}
	at := e.start(data)
	if at == 0 {
		return false, nil // it begins further above
	}
	if _, err := f.Seek(size-window+int64(at), io.SeekStart); err != nil {
		return false, nil
	}
	_, err := io.Copy(out, f)
	return true, err
}

// from shows all from line or byte n on.
func (e cutEnd) from(out io.Writer, r io.Reader) error {
	skip := max(0, e.n-1)
	if e.bytes {
		if _, err := io.CopyN(io.Discard, r, skip); err != nil {
			return ignoreEOF(err)
		}
		_, err := io.Copy(out, r)
		return err
	}
	in := bufio.NewReader(r)
	for range skip {
		for {
			_, err := in.ReadSlice('\n')
			if err == nil {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return ignoreEOF(err)
			}
		}
	}
	_, err := in.WriteTo(out)
	return err
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// A follower shows what is added to files: tail -f. With byName it opens a file
// again that another has replaced.
type follower struct {
	c        *applet.Call
	o        *applet.Options
	byName   bool
	interval time.Duration
	last     string // whose name was shown last
}

type followed struct {
	name string
	file *os.File
	at   int64
}

func (t *follower) run(e cutEnd) error {
	if len(t.o.Args) == 0 {
		t.o.Args = []string{"-"}
	}
	var files []*followed
	bad, first := false, true
	for _, name := range t.o.Args {
		f := &followed{name: name}
		var err error
		if name == "-" {
			f.file = os.Stdin
		} else {
			f.file, err = os.Open(name)
		}
		if err != nil {
			t.c.Warn(err)
			bad = true
			f.file = nil
			if t.byName {
				files = append(files, f)
			}
			continue
		}
		title(t.c.Out, t.o, &first, name)
		t.last = name
		if err := e.tail(t.c.Out, f.file); err != nil {
			return err
		}
		if st, err := f.file.Stat(); err == nil && st.Mode().IsRegular() {
			f.at = st.Size()
			if f.at, err = f.file.Seek(0, io.SeekCurrent); err != nil {
				return err
			}
		} else if name == "-" {
			continue // a pipe has been read to its end
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return failed(bad)
	}
	for {
		for _, f := range files {
			if err := t.step(f); err != nil {
				return err
			}
		}
		time.Sleep(t.interval)
	}
}

// step shows what a file has got.
func (t *follower) step(f *followed) error {
	if t.byName && f.name != "-" {
		t.reopen(f)
	}
	if f.file == nil {
		return nil
	}
	if st, err := f.file.Stat(); err == nil && st.Mode().IsRegular() && st.Size() < f.at {
		fmt.Fprintf(t.c.Err, "tail: %s: file truncated\n", f.name)
		if f.at, err = f.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	data, err := io.ReadAll(f.file)
	if len(data) == 0 || err != nil {
		return ignoreEOF(err)
	}
	if t.last != f.name {
		first := false
		title(t.c.Out, t.o, &first, f.name)
		t.last = f.name
	}
	f.at += int64(len(data))
	_, err = t.c.Out.Write(data)
	return err
}

func (t *follower) reopen(f *followed) {
	there, err := os.Stat(f.name)
	if err != nil {
		return // not now; perhaps later
	}
	if f.file != nil {
		if st, err := f.file.Stat(); err == nil && os.SameFile(st, there) {
			return
		}
		f.file.Close()
	}
	if f.file, err = os.Open(f.name); err != nil {
		f.file = nil
		return
	}
	f.at = 0
	fmt.Fprintf(t.c.Err, "tail: %s: following the new file\n", f.name)
}
