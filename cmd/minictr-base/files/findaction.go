package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

func (f *finder) print(end string) test {
	return func(one *found) bool {
		fmt.Fprint(f.out, one.path, end)
		return true
	}
}

func (f *finder) remove(one *found) bool {
	if one.path == "." {
		return true
	}
	if err := os.Remove(one.path); err != nil {
		f.warn(err)
		return false
	}
	return true
}

func (f *finder) long(one *found) bool {
	st := statOf(one.info)
	fmt.Fprintf(f.out, "%9d %6d %s %3d %-8s %-8s %8d %s %s\n", st.Ino, st.Blocks/2, modeString(one.info.Mode()), st.Nlink,
		f.names.user(st.Uid), f.names.group(st.Gid), one.info.Size(), one.info.ModTime().Format("Jan _2 15:04"), one.path)
	return true
}

// exec reads -exec COMMAND… ; or -exec COMMAND… {} +.
func (f *finder) exec(name string) (test, error) {
	var command []string
	for len(f.words) > 0 {
		word := f.take()
		if word == "+" && len(command) > 0 && command[len(command)-1] == "{}" && name == "-exec" {
			b := &batch{f: f, command: command[:len(command)-1]}
			f.batches = append(f.batches, b)
			return b.add, nil
		}
		if word == ";" {
			if len(command) == 0 {
				break
			}
			return func(one *found) bool { return f.execOne(name, command, one) }, nil
		}
		command = append(command, word)
	}
	return nil, errors.New(name + " needs a command and \\; or {} + behind it")
}

func (f *finder) execOne(name string, command []string, one *found) bool {
	path := one.path
	dir := ""
	if name == "-execdir" {
		dir, path = filepath.Dir(path), "./"+filepath.Base(path)
	}
	args := make([]string, len(command))
	for i, word := range command {
		args[i] = strings.ReplaceAll(word, "{}", path)
	}
	if name == "-ok" {
		k := &copier{c: f.c}
		if !k.confirm("< " + strings.Join(args, " ") + " > ?") {
			return false
		}
	}
	return f.runCommand(dir, args) == nil
}

// runCommand runs a command, after what was printed so far.
func (f *finder) runCommand(dir string, args []string) error {
	if err := f.out.Flush(); err != nil {
		return err
	}
	cmd := f.c.Command(args...)
	cmd.Dir = dir
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		f.warn(fmt.Errorf("%s: %w", args[0], errors.Unwrap(err)))
	}
	return err
}

// A batch is a command of -exec … {} +, which takes many files at once.
type batch struct {
	f       *finder
	command []string
	files   []string
	size    int
}

const maxBatchBytes = 100 << 10

func (b *batch) add(one *found) bool {
	b.files = append(b.files, one.path)
	if b.size += len(one.path) + 1; b.size > maxBatchBytes {
		b.run()
	}
	return true
}

func (b *batch) run() {
	if len(b.files) == 0 {
		return
	}
	if err := b.f.runCommand("", append(append([]string(nil), b.command...), b.files...)); err != nil {
		b.f.bad = true
	}
	b.files, b.size = nil, 0
}

// format is -printf: the usual directives.
func (f *finder) format(format string, one *found) string {
	var b strings.Builder
	st := statOf(one.info)
	for i := 0; i < len(format); i++ {
		if i+1 == len(format) || format[i] != '%' && format[i] != '\\' {
			b.WriteByte(format[i])
			continue
		}
		i++
		if format[i-1] == '\\' {
			b.WriteString(applet.Escape(format[i]))
			continue
		}
		switch format[i] {
		case 'p':
			b.WriteString(one.path)
		case 'f':
			b.WriteString(filepath.Base(one.path))
		case 'h':
			b.WriteString(filepath.Dir(one.path))
		case 's':
			b.WriteString(strconv.FormatInt(one.info.Size(), 10))
		case 'm':
			fmt.Fprintf(&b, "%o", applet.Bits(one.info.Mode()))
		case 'M':
			b.WriteString(modeString(one.info.Mode()))
		case 'u':
			b.WriteString(f.names.user(st.Uid))
		case 'g':
			b.WriteString(f.names.group(st.Gid))
		case 'U':
			fmt.Fprint(&b, st.Uid)
		case 'G':
			fmt.Fprint(&b, st.Gid)
		case 'i':
			fmt.Fprint(&b, st.Ino)
		case 'n':
			fmt.Fprint(&b, st.Nlink)
		case 'd':
			fmt.Fprint(&b, one.depth)
		case 'y':
			letter := typeLetter(one.info.Mode())
			if letter == '-' {
				letter = 'f'
			}
			b.WriteByte(letter)
		case 'l':
			target, _ := os.Readlink(one.path) // what is no link points nowhere
			b.WriteString(target)
		case 't':
			b.WriteString(one.info.ModTime().Format(time.ANSIC))
		case 'T':
			if i++; i < len(format) && format[i] == '@' {
				fmt.Fprintf(&b, "%d.%09d0", one.info.ModTime().Unix(), one.info.ModTime().Nanosecond())
			}
		case '%':
			b.WriteByte('%')
		default:
			b.WriteString("%" + format[i:i+1])
		}
	}
	return b.String()
}
