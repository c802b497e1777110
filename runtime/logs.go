package runtime

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/minictr/minictr/runtime/logfile"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// LogOptions say which part of a container's log is wanted. The zero value is
// none of it: Tail is the number of lines from the end, AllLines for all.
type LogOptions struct {
	Tail   int
	Since  time.Time // zero: from the beginning
	Until  time.Time // zero: to the end
	Follow bool      // go on until the container has ended, or Until has come
}

// AllLines is the Tail of a whole log.
const AllLines = -1

// NoLogError is a container whose output went to who ran it: it was not
// detached, and has not been started again since.
type NoLogError struct{ Name string }

func (e *NoLogError) Error() string {
	return "read the log of " + e.Name + ": there is none, its output went to the command that ran it"
}

// followInterval is how often a log that is followed is looked at.
const followInterval = 100 * time.Millisecond

// Logs calls emit for each entry of the container's log that is wanted, in
// their order. An error of emit ends it. Lines that are none, as a full disk
// leaves them, are passed over and reported when all others have been read.
func (r *Runtime) Logs(c *Container, o LogOptions, emit func(logfile.Entry) error) error {
	file, err := os.Open(r.lasting(c.Config.ID, logfile.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has never run
	}
	if err != nil {
		return step.Fail("read the log of", c.Config.Name, bareCause(err))
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() == 0 && !c.Config.Detach {
		return &NoLogError{c.Config.Name}
	}
	l := logReader{file: bufio.NewReaderSize(file, 64<<10), options: o, emit: emit}
	if o.Tail >= 0 {
		if err := seekTail(file, o.Tail); err != nil {
			return step.Fail("read the log of", c.Config.Name, bareCause(err))
		}
	}
	if o.Follow && c.Status == Running {
		err = r.follow(c, &l)
	} else {
		err = l.read()
	}
	return errors.Join(err, step.Fail("read the log of", c.Config.Name, l.corrupt()))
}

// seekTail goes to where the last n lines of output begin.
func seekTail(file *os.File, n int) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	start, err := tailOffset(file, info.Size(), n)
	if err != nil {
		return err
	}
	_, err = file.Seek(start, io.SeekStart)
	return err
}

func bareCause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// follow reads until the container has ended and its monitor has written the
// last line, which is when nobody holds the container's lock any more.
func (r *Runtime) follow(c *Container, l *logReader) error {
	fd, err := c.pidfd()
	if isNotRunning(err) {
		return errors.Join(r.await(c.Config.ID), l.read())
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for ended := false; ; {
		if err := l.read(); err != nil || ended || l.past {
			return err
		}
		if u := l.options.Until; !u.IsZero() && time.Now().After(u) {
			return nil
		}
		if ended = waitPidfd(fd, followInterval); ended {
			if err := r.await(c.Config.ID); err != nil {
				return err
			}
		}
	}
}

// logReader reads entries and keeps those that are wanted.
type logReader struct {
	file    *bufio.Reader
	options LogOptions
	emit    func(logfile.Entry) error
	partial []byte // the beginning of a line that is still being written
	past    bool   // what follows is later than Until
	bad     int    // lines that could not be read
	cause   error  // of the first of them
}

// read reads all that is there.
func (l *logReader) read() error {
	for !l.past {
		line, err := l.file.ReadBytes('\n')
		l.partial = append(l.partial, line...)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		entry, err := logfile.Parse(bytes.TrimSuffix(l.partial, []byte("\n")))
		if err != nil {
			l.bad++
			l.cause = firstError(l.cause, err)
		} else if err := l.keep(entry); err != nil {
			return err
		}
		l.partial = l.partial[:0]
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *logReader) keep(e logfile.Entry) error {
	if e.Time.Before(l.options.Since) {
		return nil
	}
	if u := l.options.Until; !u.IsZero() && e.Time.After(u) {
		l.past = true
		return nil
	}
	return l.emit(e)
}

// corrupt says that lines could not be read.
func (l *logReader) corrupt() error {
	if l.bad == 0 {
		return nil
	}
	return fmt.Errorf("%d lines passed over, the first: %w", l.bad, l.cause)
}

// tailBlock is how much of the log is read at a time from its end, in bytes.
const tailBlock = 64 << 10

// tailOffset returns where the last n lines of output begin, reading from the
// end: the cost does not grow with the log. A line of output is one entry or, if
// it came in parts, several. A part that lies before the end of an earlier line,
// which takes an unfinished line on the other stream, is not found.
func tailOffset(file io.ReaderAt, size int64, n int) (int64, error) {
	if n == 0 {
		return size, nil
	}
	end, start := size, size // the entry that ends at end; where the tail found so far begins
	for b := (&backward{file: file, begin: size}); end > 0; {
		begin, line, err := b.lineBefore(end)
		if err != nil {
			return 0, err
		}
		if entry, err := logfile.Parse(line); err == nil && (entry.Full || end == size) {
			if n--; n < 0 {
				return start, nil
			}
		}
		end, start = begin, begin
	}
	return 0, nil
}

// backward reads a file in blocks from its end.
type backward struct {
	file  io.ReaderAt
	begin int64  // of the block, in the file
	block []byte // what has been read, up to the end of the file or of an earlier line
}

// lineBefore returns the line that ends at end, without its newline, and where
// it begins. Calls go backward.
func (b *backward) lineBefore(end int64) (begin int64, line []byte, err error) {
	for {
		text := bytes.TrimSuffix(b.block[:max(0, end-b.begin)], []byte("\n"))
		if i := bytes.LastIndexByte(text, '\n'); i >= 0 || b.begin == 0 {
			return b.begin + int64(i) + 1, text[i+1:], nil
		}
		n := min(b.begin, tailBlock)
		more := make([]byte, n, n+int64(len(b.block)))
		if _, err := b.file.ReadAt(more, b.begin-n); err != nil {
			return 0, nil, err
		}
		b.block = append(more, b.block[:max(0, end-b.begin)]...)
		b.begin -= n
	}
}
