package network

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// A leaseTable is the file with the leases of one network: text, which cat(1)
// shows, in lines of 128 bytes, padded with blanks.
//
//	last            172.17.0.4                              <- where the next search begins
//	172.17.0.2      4f0c9d2e…                               <- an address and its owner
//	                                                        <- a free line
//	172.17.0.4      b81e7703…
//
// A lease is made and given back by overwriting one line in place. That costs
// some microseconds on any file system, where a new name costs 200 on ext4 and
// a file replaced by rename 1400 and more; /run is not a tmpfs everywhere. It
// is safe against kill -9 at any moment, because a line lies within one page:
// write(2) looks for a fatal signal between pages, not within one
// (generic_perform_write). A line that a crash of the machine garbled does not
// parse, and counts as free; the containers are gone then, too.
type leaseTable struct {
	fd    int
	last  netip.Addr // the address given last; the zero Addr when that is not known
	lines []leaseLine
	at    map[netip.Addr]int // address -> line
}

// A leaseLine is a lease; the zero value is a free line.
type leaseLine struct {
	address netip.Addr
	owner   string
}

const (
	leaseLineBytes = 128
	leaseLineForm  = "%-15s %-111s\n"
	maxOwnerBytes  = 111
	lastWord       = "last"
)

// withTable opens the table, makes it if it is missing, and calls f with it.
// The caller holds the lock.
func withTable(file string, f func(*leaseTable) error) error {
	return openTable(file, unix.O_RDWR|unix.O_CREAT, f)
}

// readTable calls f with the table, to be read only. A missing one is empty.
func readTable(file string, f func(*leaseTable) error) error {
	err := openTable(file, unix.O_RDONLY, f)
	if e, ok := errors.AsType[*os.PathError](err); ok && errors.Is(e.Err, unix.ENOENT) && e.Path == file {
		return f(&leaseTable{})
	}
	return err
}

func openTable(file string, flags int, f func(*leaseTable) error) error {
	fd, err := unix.Open(file, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "open", Path: file, Err: err}
	}
	defer closeFD(fd)
	text, err := readAll(fd)
	if err != nil {
		return &os.PathError{Op: "read", Path: file, Err: err}
	}
	t := parseTable(text)
	t.fd = fd
	return f(t)
}

// readAll reads the descriptor to its end.
func readAll(fd int) ([]byte, error) {
	text := make([]byte, 0, 32*leaseLineBytes)
	for {
		n, err := unix.Read(fd, text[len(text):cap(text)])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return text, err
		}
		text = text[:len(text)+n]
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
	}
}

// parseTable reads a table. What does not parse is free.
func parseTable(text []byte) *leaseTable {
	t := &leaseTable{at: map[netip.Addr]int{}}
	for i := 0; len(text) > 0; i++ {
		line := text[:min(leaseLineBytes, len(text))]
		text = text[len(line):]
		word, rest, _ := bytes.Cut(line, []byte{' '})
		rest = bytes.TrimSpace(rest)
		if i == 0 {
			if string(word) == lastWord {
				t.last, _ = netip.ParseAddr(string(rest))
			}
			continue
		}
		l := leaseLine{}
		// A line that is cut short would end in zeros when the next one is written.
		if a, err := netip.ParseAddr(string(word)); err == nil && len(rest) > 0 && len(line) == leaseLineBytes {
			l = leaseLine{a, string(rest)}
			t.at[a] = len(t.lines)
		}
		t.lines = append(t.lines, l)
	}
	return t
}

// owner tells whose the address is.
func (t *leaseTable) owner(a netip.Addr) (owner string, held bool) {
	i, held := t.at[a]
	if !held {
		return "", false
	}
	return t.lines[i].owner, true
}

// all yields the leases in the order of their lines.
func (t *leaseTable) all() iter.Seq2[netip.Addr, string] {
	return func(yield func(netip.Addr, string) bool) {
		for _, l := range t.lines {
			if l.owner != "" && !yield(l.address, l.owner) {
				return
			}
		}
	}
}

// put writes the lease into the address's line, or else into the first free one.
func (t *leaseTable) put(a netip.Addr, owner string) error {
	i, held := t.at[a]
	if !held {
		i = slices.Index(t.lines, leaseLine{})
	}
	if i < 0 {
		i = len(t.lines)
	}
	return t.write(i, leaseLine{a, owner})
}

// clear frees the line of the address.
func (t *leaseTable) clear(a netip.Addr) error {
	i, held := t.at[a]
	if !held {
		return nil
	}
	return t.write(i, leaseLine{})
}

func (t *leaseTable) write(i int, l leaseLine) error {
	if len(l.owner) > maxOwnerBytes {
		return fmt.Errorf("owner %q: %w", l.owner, unix.ENAMETOOLONG)
	}
	word := ""
	if l.owner != "" {
		word = l.address.String()
	}
	return t.writeLine(i+1, word, l.owner)
}

// remember writes the first line.
func (t *leaseTable) remember(a netip.Addr) error { return t.writeLine(0, lastWord, a.String()) }

func (t *leaseTable) writeLine(n int, word, rest string) error {
	_, err := unix.Pwrite(t.fd, fmt.Appendf(nil, leaseLineForm, word, rest), int64(n)*leaseLineBytes)
	return os.NewSyscallError("pwrite", err)
}
