package network

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// A leaseTable is the file with the leases of one network: text, which cat(1)
// shows, in lines of 128 bytes, padded with blanks. Every address has a line of
// its own, so that finding it costs the same however many there are:
//
//	0       last 172.17.0.3 2                  where the last search ended, how many have leases
//	1       from 172.17.0.0 fd4d:12::          the addresses that lines 2 and 3 are for
//	2k+2    172.17.0.k   4f0c9d2e…             an address and its owner
//	2k+3    fd4d:12::k   4f0c9d2e…             the IPv6 address that belongs to it
//	131104  fd4d:12::beef:1  b81e7703…         from here on those that are further away: leasefar.go
//
// What was never written is a hole in the file, and takes no room. A line of
// blanks, or one that does not parse, is as free.
//
// A lease is made and given back by overwriting one line in place. That costs
// some microseconds on any file system, where a new name costs 200 on ext4 and
// a file replaced by rename 1400 and more; /run is not a tmpfs everywhere. It
// is safe against kill -9 at any moment, because a line lies within one page:
// write(2) looks for a fatal signal between pages, not within one
// (generic_perform_write). A line that a crash of the machine garbled does not
// parse, and counts as free; the containers are gone then, too.
//
// Line 0 is written before a lease is made and after one is given back. Who is
// killed between makes its number too large, never too small.
type leaseTable struct {
	file string
	fd   int           // -1: there is no file
	from [2]netip.Addr // what lines 2 and 3 are for; the zero Addr: nothing
	last netip.Addr    // the address given last in turn; the zero Addr when that is not known
	// leased is how many containers have a lease, or more; -1 when that is not known.
	leased int
	// err is what kept all from reading on.
	err error
}

// A leaseLine is a lease; the zero value is a free line.
type leaseLine struct {
	address netip.Addr
	owner   string
}

const (
	leaseLineBytes = 128
	leaseLineForm  = "%-39s %-87s\n"
	maxOwnerBytes  = 87
	lastWord       = "last"
	fromWord       = "from"

	headLines  = 2
	nearLeases = 1 << 16 // how many addresses of a family have lines of their own
)

// withTable opens the table, makes it if it is missing, and calls f with it.
// The caller holds the lock.
func withTable(file string, f func(*leaseTable) error) error {
	return openTable(file, unix.O_RDWR|unix.O_CREAT, f)
}

// changeTable calls f with the table, unless there is none. The caller holds the lock.
func changeTable(file string, f func(*leaseTable) error) error {
	return ignoreNoTable(file, openTable(file, unix.O_RDWR, f))
}

// readTable calls f with the table, to be read only. A missing one is empty.
func readTable(file string, f func(*leaseTable) error) error {
	err := openTable(file, unix.O_RDONLY, f)
	if err != nil && ignoreNoTable(file, err) == nil {
		t := &leaseTable{file: file, fd: -1}
		defer t.close()
		return f(t)
	}
	return err
}

func ignoreNoTable(file string, err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok && errors.Is(e.Err, unix.ENOENT) && e.Path == file {
		return nil
	}
	return err
}

func openTable(file string, flags int, f func(*leaseTable) error) error {
	fd, err := unix.Open(file, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "open", Path: file, Err: err}
	}
	t := &leaseTable{file: file, fd: fd}
	defer t.close()
	if err := t.readHead(); err != nil {
		return err
	}
	if err := f(t); err != nil {
		return err
	}
	return t.err
}

func (t *leaseTable) close() {
	if t.fd >= 0 {
		closeFD(t.fd)
	}
}

// readHead reads the first two lines. What is missing there is not known; a table
// without line 1 is an old one, see leaseold.go.
func (t *leaseTable) readHead() error {
	head, err := t.read(0, headLines)
	if err != nil {
		return err
	}
	t.leased = -1
	if word, rest := cutLine(head[:leaseLineBytes]); word == lastWord && len(rest) > 0 {
		t.last, _ = netip.ParseAddr(rest[0])
		if len(rest) > 1 {
			if n, err := strconv.Atoi(rest[1]); err == nil && n >= 0 {
				t.leased = n
			}
		}
	}
	if word, rest := cutLine(head[leaseLineBytes:]); word == fromWord {
		for _, text := range rest {
			if a, err := netip.ParseAddr(text); err == nil {
				t.from[half(a)] = a
			}
		}
	}
	return nil
}

func cutLine(line []byte) (word string, rest []string) {
	words := bytes.Fields(line)
	if len(words) == 0 || line[leaseLineBytes-1] != '\n' {
		return "", nil
	}
	for _, w := range words[1:] {
		rest = append(rest, string(w))
	}
	return string(words[0]), rest
}

// half is the index of the address's family: 0 for IPv4, 1 for IPv6.
func half(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// arranged reports whether every address has its line, counted from these.
func (t *leaseTable) arranged(from [2]netip.Addr) bool { return t.from == from }

// read reads n lines; what the file does not have is zero.
func (t *leaseTable) read(line, n int) ([]byte, error) {
	b := make([]byte, n*leaseLineBytes)
	for got := 0; got < len(b) && t.fd >= 0; {
		more, err := unix.Pread(t.fd, b[got:], int64(line)*leaseLineBytes+int64(got))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: t.file, Err: err}
		}
		if more == 0 {
			break
		}
		got += more
	}
	return b, nil
}

// parseLease reads a line.
func parseLease(line []byte) leaseLine {
	word, rest, _ := bytes.Cut(line, []byte{' '})
	rest = bytes.TrimSpace(rest)
	// A line that was cut short ends in zeros when the next one has been written.
	if len(rest) == 0 || len(rest) > maxOwnerBytes || line[leaseLineBytes-1] != '\n' {
		return leaseLine{}
	}
	a, err := netip.ParseAddr(string(word))
	if err != nil || a.Zone() != "" {
		return leaseLine{}
	}
	return leaseLine{a, string(rest)}
}

// A spot is the line of an address, and whose the address is.
type spot struct {
	line    int
	address netip.Addr
	owner   string     // empty: nobody's
	twin    netip.Addr // another one that is leased and would have the same hardware address
}

// find looks an address up.
func (t *leaseTable) find(a netip.Addr) (spot, error) {
	if t.arranged([2]netip.Addr{}) {
		return t.findOld(a)
	}
	line, near := t.near(a)
	if !near {
		return t.findFar(a)
	}
	b, err := t.read(line, 1)
	if err != nil {
		return spot{}, err
	}
	s := spot{line: line, address: a}
	if l := parseLease(b); l.address == a {
		s.owner = l.owner
	}
	return s, nil
}

// near is the line of an address that has one of its own.
func (t *leaseTable) near(a netip.Addr) (line int, ok bool) {
	k, ok := distance(t.from[half(a)], a)
	return headLines + 2*k + half(a), ok && k < nearLeases
}

// put makes the lease, or gives it to another.
func (t *leaseTable) put(s spot, owner string) error {
	if s.line < headLines {
		return fmt.Errorf("%d addresses out of turn are leased, as many as there is room for: %w", farBuckets*bucketLines, unix.ENOSPC)
	}
	if len(owner) > maxOwnerBytes || owner == "" {
		return fmt.Errorf("owner %q: %w", owner, unix.ENAMETOOLONG)
	}
	return t.writeLine(s.line, s.address.String(), owner)
}

// clear frees the line.
func (t *leaseTable) clear(line int) error { return t.writeLine(line, "", "") }

// count writes line 0.
func (t *leaseTable) count(last netip.Addr, leased int) error {
	if last == t.last && leased == t.leased {
		return nil
	}
	t.last, t.leased = last, leased
	text := "-"
	if last.IsValid() {
		text = last.String()
	}
	return t.writeLine(0, lastWord, fmt.Sprintf("%s %d", text, leased))
}

func (t *leaseTable) writeLine(n int, word, rest string) error {
	_, err := unix.Pwrite(t.fd, fmt.Appendf(nil, leaseLineForm, word, rest), int64(n)*leaseLineBytes)
	return os.NewSyscallError("pwrite", err)
}

// owners counts the containers that have a lease.
func (t *leaseTable) owners() (int, error) {
	seen := map[string]bool{}
	for _, owner := range t.all() {
		seen[owner] = true
	}
	return len(seen), t.err
}

// all yields the leases in the order of their lines. When the file cannot be
// read on, it ends, and t.err says why.
func (t *leaseTable) all() iter.Seq2[netip.Addr, string] {
	return func(yield func(netip.Addr, string) bool) {
		for _, l := range t.lines() {
			if !yield(l.address, l.owner) {
				return
			}
		}
	}
}

// lines yields the lines that hold a lease.
func (t *leaseTable) lines() iter.Seq2[int, leaseLine] {
	const most = 512 // lines at a time
	return func(yield func(int, leaseLine) bool) {
		for begin, end := 0, 0; ; begin = min(begin+most, end) {
			if begin == end {
				if begin, end, t.err = t.data(end); begin == end {
					return
				}
			}
			text, err := t.read(begin, min(most, end-begin))
			if err != nil {
				t.err = err
				return
			}
			for i := 0; i < len(text)/leaseLineBytes; i++ {
				l := parseLease(text[i*leaseLineBytes:][:leaseLineBytes])
				if begin+i > 0 && l.owner != "" && !yield(begin+i, l) {
					return
				}
			}
		}
	}
}

// data finds the next lines that are not in a hole of the file; none at its end.
// A file system that does not know holes has one at the end.
func (t *leaseTable) data(line int) (begin, end int, err error) {
	if t.fd < 0 {
		return line, line, nil
	}
	from, err := unix.Seek(t.fd, int64(line)*leaseLineBytes, unix.SEEK_DATA)
	if err == unix.ENXIO {
		return line, line, nil
	}
	var to int64
	if err == nil {
		to, err = unix.Seek(t.fd, from, unix.SEEK_HOLE)
	}
	if err != nil {
		return line, line, &os.PathError{Op: "lseek", Path: t.file, Err: err}
	}
	return int(from / leaseLineBytes), int((to + leaseLineBytes - 1) / leaseLineBytes), nil
}

// tables are the tables of all networks below the directory.
func tables(root string) []string {
	list, _ := filepath.Glob(filepath.Join(root, "[0-9A-Za-z]*")) // the pattern is well-formed
	return list
}
