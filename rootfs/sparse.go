package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// minHoleBytes is how much of a file must be holes for it to be written
	// sparse: not every tar reads that, busybox's for one.
	minHoleBytes = 1 << 20
	// maxParts bounds the list of what is no hole; readers have limits there (Go's
	// archive/tar takes 1 MiB of it).
	maxParts = 4096
)

// A segment is a run of bytes of a file that are no hole.
type segment struct{ offset, length int64 }

// dataParts asks the file system where the data of a file lies (lseek(2),
// SEEK_DATA). Where there are too many parts, smaller holes count as data.
func dataParts(fd int, size int64) ([]segment, error) {
	for least := int64(4096); ; least *= 8 {
		parts, err := partsBetween(fd, size, least)
		if err != nil || len(parts) <= maxParts {
			return parts, err
		}
	}
}

// partsBetween lists the parts, with holes of less than least bytes in them. It
// stops when there are more than maxParts.
func partsBetween(fd int, size, least int64) ([]segment, error) {
	var parts []segment
	for end := int64(0); end < size && len(parts) <= maxParts; {
		start, err := unix.Seek(fd, end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && start >= size {
			break // a hole up to the end
		}
		if err != nil {
			return nil, err
		}
		if end, err = unix.Seek(fd, start, unix.SEEK_HOLE); err != nil {
			return nil, err
		}
		end = min(end, size)
		if n := len(parts); n > 0 && start-parts[n-1].offset-parts[n-1].length < least {
			parts[n-1].length = end - parts[n-1].offset
			continue
		}
		parts = append(parts, segment{start, end - start})
	}
	return parts, nil
}

// holes is how many bytes of the file are in no part.
func holes(parts []segment, size int64) int64 {
	for _, p := range parts {
		size -= p.length
	}
	return size
}

// sparse writes a file without its holes, in the format that GNU tar calls PAX
// 1.0 ("Storing Sparse Files" in its manual) and that Go's archive/tar reads, but
// does not write:
//
//	x   records: GNU.sparse.name, .realsize, and what else the header says
//	0   size of what follows: the list of the parts, padded to a block, and the parts
func (p *packer) sparse(f *packed, fd int, parts []segment) error {
	list := partList(parts)
	stored := int64(len(list))
	for _, part := range parts {
		stored += part.length
	}
	if err := p.archive.Flush(); err != nil {
		return err
	}
	if _, err := p.out.Write(append(sparseHeader(f, stored), list...)); err != nil {
		return err
	}
	for _, part := range parts {
		if err := p.content(f, fd, part, p.out); err != nil {
			return err
		}
	}
	_, err := p.out.Write(make([]byte, padding(stored)))
	return err
}

// partList is the list as the format has it, one number a line.
func partList(parts []segment) []byte {
	b := fmt.Appendf(nil, "%d\n", len(parts))
	for _, p := range parts {
		b = fmt.Appendf(b, "%d\n%d\n", p.offset, p.length)
	}
	return append(b, make([]byte, padding(int64(len(b))))...)
}

// padding is how many bytes are missing to a whole block.
func padding(size int64) int64 { return -size & (blockSize - 1) }

const blockSize = 512

// sparseHeader is the header with the records before it. Everything is in the
// records; the header proper has what fits.
func sparseHeader(f *packed, stored int64) []byte {
	h := &f.header
	records := map[string]string{
		"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
		"GNU.sparse.name": h.Name, "GNU.sparse.realsize": strconv.FormatInt(h.Size, 10),
		"size": strconv.FormatInt(stored, 10), "uid": strconv.Itoa(h.Uid), "gid": strconv.Itoa(h.Gid),
		"mtime": paxTime(f.stat.Mtim),
	}
	maps.Copy(records, h.PAXRecords)
	var data []byte
	for _, key := range slices.Sorted(maps.Keys(records)) {
		data = append(data, paxRecord(key, records[key])...)
	}
	b := ustarBlock('x', "PaxHeaders.0/sparse", []int64{0o644, 0, 0, int64(len(data)), 0})
	b = append(b, data...)
	b = append(b, make([]byte, padding(int64(len(data))))...)
	return append(b, ustarBlock('0', "GNUSparseFile.0/sparse", []int64{h.Mode, int64(h.Uid), int64(h.Gid), stored, max(0, f.stat.Mtim.Sec)})...)
}

// paxTime is a moment as pax(1) writes it: seconds and a decimal fraction. The
// nanoseconds of before 1970 count upwards from the second before.
func paxTime(t unix.Timespec) string {
	sec, nsec, sign := t.Sec, t.Nsec, ""
	if sec < 0 && nsec > 0 {
		sec, nsec = sec+1, 1e9-nsec
	}
	if sec < 0 || t.Sec < 0 {
		sec, sign = -sec, "-"
	}
	return fmt.Sprintf("%s%d.%09d", sign, sec, nsec)
}

// paxRecord is "LENGTH KEY=VALUE\n", where the length counts itself.
func paxRecord(key, value string) string {
	rest := " " + key + "=" + value + "\n"
	size := len(rest)
	for size != len(rest)+len(strconv.Itoa(size)) {
		size = len(rest) + len(strconv.Itoa(size))
	}
	return strconv.Itoa(size) + rest
}

// ustarBlock is a header of POSIX.1-1988 (pax(1), "ustar Interchange Format"):
// mode, owner, group, size and time, in octal. A number that does not fit is 0.
func ustarBlock(kind byte, name string, numbers []int64) []byte {
	b := make([]byte, blockSize)
	copy(b[0:100], name)
	fields := [][]byte{b[100:108], b[108:116], b[116:124], b[124:136], b[136:148]}
	for i, field := range fields {
		if text := fmt.Sprintf("%0*o", len(field)-1, numbers[i]); len(text) < len(field) {
			copy(field, text)
		} else {
			copy(field, bytes.Repeat([]byte("0"), len(field)-1))
		}
	}
	b[156] = kind
	copy(b[257:], "ustar\x0000")
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b
}
