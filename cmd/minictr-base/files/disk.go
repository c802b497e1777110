package files

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// A measurer is one run of du.
type measurer struct {
	c                    *applet.Call
	out                  *bufio.Writer
	all, summary, actual bool
	oneFS, follow        bool
	max                  int
	show                 func(bytes int64) string
	seen                 map[inode]bool
	bad                  bool
}

func du(c *applet.Call) error {
	o, err := c.Options("abcd:hksmxLl", "all=a", "bytes=b", "total=c", "max-depth=d", "human-readable=h", "summarize=s", "one-file-system=x", "apparent-size")
	if err != nil {
		return err
	}
	m := &measurer{
		c: c, out: bufio.NewWriter(c.Out), all: o.Has("a"), summary: o.Has("s"), actual: o.Has("b", "apparent-size"), oneFS: o.Has("x"),
		follow: o.Has("L"), seen: map[inode]bool{}, show: sizeColumn(o.Last("h", "m", "k", "b")),
	}
	if m.max, err = o.Int("d", -1); err != nil {
		return err
	}
	if m.summary {
		m.max = 0
	}
	operands := o.Args
	if len(operands) == 0 {
		operands = []string{"."}
	}
	var total int64
	for _, name := range operands {
		total += m.measure(name, 0, 0)
	}
	if o.Has("c") {
		fmt.Fprintf(m.out, "%s\ttotal\n", m.show(total))
	}
	if err := m.out.Flush(); err != nil {
		return err
	}
	return failed(m.bad)
}

// sizeColumn shows a size in bytes in the unit that the flag stands for.
func sizeColumn(flag string) func(int64) string {
	unit := map[string]int64{"b": 1, "m": 1 << 20}[flag]
	if unit == 0 {
		unit = 1 << 10
	}
	return func(n int64) string {
		if flag == "h" {
			return human(n)
		}
		return strconv.FormatInt((n+unit-1)/unit, 10)
	}
}

// measure returns the bytes of a file and what is below it. A file with several
// names counts once.
func (m *measurer) measure(path string, depth int, dev uint64) int64 {
	info, err := os.Lstat(path)
	if m.follow && err == nil {
		info, err = os.Stat(path)
	}
	if err != nil {
		m.c.Warn(err)
		m.bad = true
		return 0
	}
	id := inodeOf(info)
	if depth == 0 {
		dev = id.dev
	}
	if m.seen[id] || m.oneFS && id.dev != dev {
		return 0
	}
	if statOf(info).Nlink > 1 || info.IsDir() {
		m.seen[id] = true
	}
	bytes := statOf(info).Blocks * 512
	if m.actual {
		bytes = info.Size()
	}
	if info.IsDir() {
		items, err := os.ReadDir(path)
		if err != nil {
			m.c.Warn(err)
			m.bad = true
		}
		for _, item := range items {
			bytes += m.measure(strings.TrimSuffix(path, "/")+"/"+item.Name(), depth+1, dev)
		}
	}
	if depth == 0 || (info.IsDir() || m.all) && (m.max < 0 || depth <= m.max) {
		fmt.Fprintf(m.out, "%s\t%s\n", m.show(bytes), path)
	}
	return bytes
}

func syncFiles(c *applet.Call) error {
	o, err := c.Options("df", "data=d", "file-system=f")
	if err != nil {
		return err
	}
	if len(o.Args) == 0 {
		unix.Sync()
		return nil
	}
	return each(c, o.Args, func(name string) error {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if o.Has("f") {
			return wrap(name, unix.Syncfs(int(f.Fd())))
		}
		return f.Sync()
	})
}

// parseSize reads 10, 10k, 10K, 10M, 10MB, 10G.
func parseSize(text string) (int64, error) {
	digits := strings.TrimRight(text, "kKMGTBiwcb")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, applet.UsageError(fmt.Sprintf("%q is not a size", text))
	}
	units := map[string]int64{
		"": 1, "c": 1, "w": 2, "b": 512, "k": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
		"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9,
	}
	unit, ok := units[text[len(digits):]]
	if !ok {
		return 0, applet.UsageError(fmt.Sprintf("%q is not a size", text))
	}
	return n * unit, nil
}

func truncate(c *applet.Call) error {
	o, err := c.Options("cs:", "size=s", "no-create=c")
	if err != nil {
		return err
	}
	text := o.Value("s", "")
	if text == "" {
		return applet.UsageError("needs a size: -s SIZE")
	}
	size, err := parseSize(strings.TrimLeft(text, "+-"))
	if err != nil {
		return err
	}
	return each(c, o.Args, func(name string) error {
		flags := os.O_WRONLY | os.O_CREATE
		if o.Has("c") {
			flags = os.O_WRONLY
		}
		f, err := os.OpenFile(name, flags, 0o666)
		if errors.Is(err, fs.ErrNotExist) && o.Has("c") {
			return nil
		}
		if err != nil {
			return err
		}
		to := size
		if st, statErr := f.Stat(); statErr == nil {
			switch text[0] {
			case '+':
				to = st.Size() + size
			case '-':
				to = max(0, st.Size()-size)
			}
		}
		return errors.Join(f.Truncate(to), f.Close())
	})
}

// A blockCopy is one run of dd.
type blockCopy struct {
	in, out           *os.File
	ibs, obs          int64
	count, skip, seek int64
	conv              map[string]bool
	full, part        [2]int64 // read, written
	bytes             int64
}

func dd(c *applet.Call) error {
	d := &blockCopy{ibs: 512, obs: 512, count: -1, conv: map[string]bool{}}
	values := map[string]string{}
	for _, arg := range c.Args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return applet.UsageError(fmt.Sprintf("%q is not NAME=VALUE", arg))
		}
		values[name] = value
	}
	for name, to := range map[string]*int64{"ibs": &d.ibs, "obs": &d.obs, "count": &d.count, "skip": &d.skip, "seek": &d.seek} {
		text, ok := values[name]
		if !ok && strings.HasSuffix(name, "bs") {
			text, ok = values["bs"]
		}
		if !ok {
			continue
		}
		n, err := parseSize(text)
		if err != nil {
			return err
		}
		*to = n
	}
	if d.ibs <= 0 || d.obs <= 0 {
		return applet.UsageError("a block has at least one byte")
	}
	for word := range strings.SplitSeq(values["conv"]+","+values["oflag"], ",") {
		d.conv[word] = true
	}
	if err := d.open(c, values["if"], values["of"]); err != nil {
		return err
	}
	begin := time.Now()
	err := d.run()
	if values["status"] != "none" {
		d.tell(c.Err, time.Since(begin), values["status"] == "noxfer")
	}
	return errors.Join(err, d.out.Close())
}

func (d *blockCopy) open(c *applet.Call, in, out string) (err error) {
	d.in, d.out = os.Stdin, os.Stdout
	if f, ok := c.In.(*os.File); ok {
		d.in = f
	}
	if f, ok := c.Out.(*os.File); ok {
		d.out = f
	}
	if in != "" {
		if d.in, err = os.Open(in); err != nil {
			return err
		}
	}
	if out != "" {
		flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		if d.conv["notrunc"] || d.seek > 0 {
			flags &^= os.O_TRUNC
		}
		if d.conv["append"] {
			flags |= os.O_APPEND
		}
		if d.out, err = os.OpenFile(out, flags, 0o666); err != nil {
			return err
		}
		if d.seek > 0 && !d.conv["notrunc"] {
			if st, err := d.out.Stat(); err == nil && st.Mode().IsRegular() {
				if err := d.out.Truncate(d.seek * d.obs); err != nil {
					return err
				}
			}
		}
	}
	if d.skip > 0 {
		if _, err := d.in.Seek(d.skip*d.ibs, io.SeekCurrent); err != nil {
			if _, err := io.CopyN(io.Discard, d.in, d.skip*d.ibs); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
	}
	if d.seek > 0 {
		_, err = d.out.Seek(d.seek*d.obs, io.SeekCurrent)
	}
	return err
}

func (d *blockCopy) run() error {
	block := make([]byte, d.ibs)
	for n := int64(0); d.count < 0 || n < d.count; n++ {
		read := d.in.Read
		if d.conv["fullblock"] {
			read = func(b []byte) (int, error) { return io.ReadFull(d.in, b) }
		}
		got, err := read(block)
		if got == 0 && (errors.Is(err, io.EOF) || err == nil) {
			break
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		d.note(0, got)
		piece := block[:got]
		if d.conv["sync"] {
			clear(block[got:])
			piece = block
		}
		if _, err := d.out.Write(piece); err != nil {
			return err
		}
		d.note(1, len(piece))
		d.bytes += int64(len(piece))
	}
	if d.conv["fsync"] || d.conv["fdatasync"] {
		return d.out.Sync()
	}
	return nil
}

func (d *blockCopy) note(which, n int) {
	if int64(n) == d.ibs {
		d.full[which]++
	} else {
		d.part[which]++
	}
}

func (d *blockCopy) tell(w io.Writer, took time.Duration, short bool) {
	fmt.Fprintf(w, "%d+%d records in\n%d+%d records out\n", d.full[0], d.part[0], d.full[1], d.part[1])
	if !short {
		fmt.Fprintf(w, "%d bytes (%sB) copied, %.6f s, %sB/s\n", d.bytes, human(d.bytes), took.Seconds(), human(int64(float64(d.bytes)/max(took.Seconds(), 1e-9))))
	}
}
