package files

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/pattern"
)

// An archive is one run of tar.
type archive struct {
	c                           *applet.Call
	o                           *applet.Options
	names                       names
	exclude                     []*regexp.Regexp
	strip                       int
	links                       map[inode]string
	bad, verbose, gzip, numeric bool
	operands                    []string
	warned                      bool
}

func tarApplet(c *applet.Call) error {
	call := *c
	if len(call.Args) > 0 && !strings.HasPrefix(call.Args[0], "-") { // tar xzf FILE: the first word is flags
		call.Args = append(bundle(call.Args[0], call.Args[1:]), call.Args[valued(call.Args[0])+1:]...)
	}
	o, err := call.Options("cxtvzf:C:kOpPmhoa", "create=c", "extract=x", "get=x", "list=t", "verbose=v", "gzip=z", "file=f", "directory=C",
		"keep-old-files=k", "to-stdout=O", "preserve-permissions=p", "absolute-names=P", "dereference=h", "strip-components:", "exclude:", "numeric-owner", "no-same-owner=o", "same-owner", "touch=m")
	if err != nil {
		return err
	}
	a := &archive{c: c, o: o, links: map[inode]string{}, verbose: o.Has("v"), gzip: o.Has("z"), numeric: o.Has("numeric-owner"), operands: o.Args}
	if a.strip, err = o.Int("strip-components", 0); err != nil {
		return err
	}
	for _, glob := range o.All("exclude") {
		re, err := regexp.Compile("(?s)(^|/)" + strings.TrimPrefix(pattern.Glob(glob), "^"))
		if err != nil {
			return fmt.Errorf("exclude %q: %w", glob, err)
		}
		a.exclude = append(a.exclude, re)
	}
	file := o.Value("f", "-")
	if file != "-" && o.Has("C") && !filepath.IsAbs(file) {
		if file, err = filepath.Abs(file); err != nil {
			return err
		}
	}
	switch mode := o.Last("c", "x", "t"); mode {
	case "c":
		err = a.create(file)
	case "":
		return applet.UsageError("one of -c, -x and -t says what to do")
	default:
		err = a.read(file, mode == "x")
	}
	if err == nil {
		err = failed(a.bad)
	}
	return err
}

// bundle turns the old form of tar's flags, whose values follow in order, into
// flags of the usual form.
func bundle(flags string, rest []string) []string {
	var args []string
	for _, f := range flags {
		args = append(args, "-"+string(f))
		if strings.ContainsRune("fC", f) && len(rest) > 0 {
			args = append(args, rest[0])
			rest = rest[1:]
		}
	}
	return args
}

func valued(flags string) int { return strings.Count(flags, "f") + strings.Count(flags, "C") }

func (a *archive) warn(err error) {
	a.c.Warn(err)
	a.bad = true
}

func (a *archive) excluded(name string) bool {
	for _, re := range a.exclude {
		if re.MatchString(strings.TrimSuffix(name, "/")) {
			return true
		}
	}
	return false
}

func (a *archive) create(file string) (err error) {
	if len(a.operands) == 0 {
		return applet.UsageError("refusing to make an archive of nothing")
	}
	out := a.c.Out
	if file != "-" {
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	buffered := bufio.NewWriterSize(out, 64<<10)
	var sink io.Writer = buffered
	var zip *gzip.Writer
	if a.gzip || a.o.Has("a") && strings.HasSuffix(file, "gz") {
		zip = gzip.NewWriter(buffered)
		sink = zip
	}
	w := tar.NewWriter(sink)
	if dir := a.o.Value("C", ""); dir != "" {
		if err := os.Chdir(dir); err != nil {
			return err
		}
	}
	for _, operand := range a.operands {
		err := filepath.WalkDir(operand, func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				err = a.add(w, path)
			}
			if errors.Is(err, filepath.SkipDir) {
				return err
			}
			if err != nil {
				a.warn(err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	err = w.Close()
	if zip != nil {
		err = errors.Join(err, zip.Close())
	}
	return errors.Join(err, buffered.Flush())
}

// add writes one file into the archive.
func (a *archive) add(w *tar.Writer, path string) error {
	look := os.Lstat
	if a.o.Has("h") {
		look = os.Stat
	}
	info, err := look(path)
	if err != nil {
		return err
	}
	if a.excluded(path) {
		if info.IsDir() {
			return filepath.SkipDir
		}
		return nil
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	h.Name = path
	if !a.o.Has("P") {
		h.Name = strings.TrimLeft(path, "/")
		if h.Name != path && !a.warned {
			a.warned = true
			fmt.Fprintln(a.c.Err, "tar: removing leading / from names")
		}
	}
	if info.IsDir() {
		h.Name += "/"
	}
	st := statOf(info)
	h.Uname, h.Gname = a.names.user(st.Uid), a.names.group(st.Gid)
	if first, again := a.links[inodeOf(info)]; again && info.Mode().IsRegular() {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
	} else if st.Nlink > 1 {
		a.links[inodeOf(info)] = h.Name
	}
	if a.verbose {
		fmt.Fprintln(a.c.Err, h.Name)
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(w, f, h.Size)
	return err
}

// read lists or extracts. Compression is seen by itself.
func (a *archive) read(file string, extract bool) error {
	in := a.c.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	buffered := bufio.NewReaderSize(in, 64<<10)
	var source io.Reader = buffered
	if magic, err := buffered.Peek(2); err == nil && string(magic) == "\x1f\x8b" {
		zip, err := gzip.NewReader(buffered)
		if err != nil {
			return err
		}
		source = zip
	}
	dir := a.o.Value("C", ".")
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // nothing was written through it
	out := bufio.NewWriter(a.c.Out)
	x := &extractor{a: a, root: root, dir: dir}
	for r := tar.NewReader(source); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		if a.excluded(h.Name) || !a.wanted(h.Name) {
			continue
		}
		switch {
		case !extract:
			a.list(out, h)
		case a.o.Has("O"):
			_, err = io.Copy(out, r)
		default:
			if a.verbose {
				fmt.Fprintln(out, h.Name)
			}
			err = x.extract(h, r)
		}
		if err != nil {
			a.warn(err)
		}
	}
	return errors.Join(x.finish(), out.Flush())
}

// wanted reports whether the operands name the entry or a directory above it.
func (a *archive) wanted(name string) bool {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	for _, operand := range a.operands {
		operand = strings.TrimSuffix(strings.TrimPrefix(operand, "./"), "/")
		if name == operand || strings.HasPrefix(name, operand+"/") {
			return true
		}
	}
	return len(a.operands) == 0
}

func (a *archive) list(out io.Writer, h *tar.Header) {
	if !a.verbose {
		fmt.Fprintln(out, h.Name)
		return
	}
	owner := h.Uname + "/" + h.Gname
	if h.Uname == "" || a.numeric {
		owner = strconv.Itoa(h.Uid) + "/" + strconv.Itoa(h.Gid)
	}
	link := ""
	switch h.Typeflag {
	case tar.TypeSymlink:
		link = " -> " + h.Linkname
	case tar.TypeLink:
		link = " link to " + h.Linkname
	}
	mode := modeString(h.FileInfo().Mode())
	if h.Typeflag == tar.TypeLink {
		mode = "h" + mode[1:]
	}
	fmt.Fprintf(out, "%s %s %9d %s %s%s\n", mode, owner, h.Size, h.ModTime.Local().Format("2006-01-02 15:04"), h.Name, link)
}
