// Package logfile is the file that a container's output is kept in, in the
// format that the Kubernetes container runtime interface defines and podman
// calls k8s-file: one line of text for each line of output,
//
//	2026-01-02T15:04:05.000000006Z stdout F the line
//	└ when it was read             │      └ F: a full line, P: its end follows
//	                               └ or stderr
//
// It needs no escaping, every shell tool can read it, and writing it takes
// nothing but time.Time and write(2): the monitor that does it stays small.
package logfile

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// Name is the log's name in the container's directory.
const Name = "log"

// longest is where a line is cut into parts, as containerd and CRI-O do.
const longest = 16 << 10

// Writer turns one stream of output into lines of the log.
type Writer struct {
	W      io.Writer // each line is one Write
	Stream string    // stdout or stderr
	Now    func() time.Time
	line   []byte
}

// Write logs p. A line that p does not end is logged as a part at once, so that
// it can be followed.
func (w *Writer) Write(p []byte) (int, error) {
	stamp := w.Now().UTC().Format(time.RFC3339Nano)
	for rest := p; len(rest) > 0; {
		var text []byte
		tag := "P"
		if i := bytes.IndexByte(rest, '\n'); i >= 0 && i <= longest {
			text, tag, rest = rest[:i], "F", rest[i+1:]
		} else {
			n := min(len(rest), longest)
			text, rest = rest[:n], rest[n:]
		}
		w.line = append(w.line[:0], stamp...)
		w.line = append(w.line, ' ')
		w.line = append(w.line, w.Stream...)
		w.line = append(w.line, ' ')
		w.line = append(w.line, tag...)
		w.line = append(w.line, ' ')
		w.line = append(w.line, text...)
		w.line = append(w.line, '\n')
		if _, err := w.W.Write(w.line); err != nil {
			return len(p) - len(rest), err
		}
	}
	return len(p), nil
}

// Entry is one line of the log.
type Entry struct {
	Time   time.Time
	Stream string // stdout or stderr
	Full   bool   // the end of a line of output
	Text   []byte // without the line's end
}

// Parse reads one line of the log, without its newline.
func Parse(line []byte) (Entry, error) {
	f := bytes.SplitN(line, []byte(" "), 4)
	if len(f) != 4 {
		return Entry{}, fmt.Errorf("log line %.40q: %d fields, not 4", line, len(f))
	}
	at, err := time.Parse(time.RFC3339Nano, string(f[0]))
	if err != nil {
		return Entry{}, fmt.Errorf("log line %.40q: %w", line, err)
	}
	if s := string(f[1]); s != "stdout" && s != "stderr" {
		return Entry{}, fmt.Errorf("log line %.40q: unknown stream", line)
	}
	if t := string(f[2]); t != "F" && t != "P" {
		return Entry{}, fmt.Errorf("log line %.40q: unknown tag", line)
	}
	return Entry{Time: at, Stream: string(f[1]), Full: string(f[2]) == "F", Text: f[3]}, nil
}
