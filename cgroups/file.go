package cgroups

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Control files are read and written by plain system calls: os.File would offer
// each descriptor to the runtime's poller first, two calls more for each of the
// dozens of files of a launch.

// readFile returns the content of a control file or of a file in /proc. The
// error is the bare errno.
func readFile(path string) ([]byte, error) {
	fd, err := openFile(path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer closeFile(fd)
	content := make([]byte, 0, 4096)
	for {
		if len(content) == cap(content) {
			content = append(content, 0)[:len(content)]
		}
		n, err := unix.Read(fd, content[len(content):cap(content)])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return content, nil
		}
		content = content[:len(content)+n]
	}
}

// writeFile writes the value to a control file in one write(2), as the kernel
// demands. The error is the bare errno.
func writeFile(path, value string) error {
	fd, err := openFile(path, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer closeFile(fd)
	return writeTo(fd, value)
}

func writeTo(fd int, value string) error {
	for {
		_, err := unix.Write(fd, []byte(value))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func openFile(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// closeFile closes a descriptor of a control file. The kernel reports nothing
// of interest there: a rejected value has made the write fail.
func closeFile(fd int) { _ = unix.Close(fd) }

// readWords returns the words of a control file that is a list, such as
// cgroup.controllers.
func readWords(path string) ([]string, error) {
	content, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(content)), nil
}

// readNumber returns the one number in a control file; "max" is Unlimited.
func readNumber(path string) (uint64, error) {
	content, err := readFile(path)
	if err != nil {
		return 0, err
	}
	return parseNumber(strings.TrimSpace(string(content)))
}

func parseNumber(text string) (uint64, error) {
	if text == "max" {
		return Unlimited, nil
	}
	return strconv.ParseUint(text, 10, 64)
}

// readKeys returns the numbers of a flat keyed file ("key value" on each line),
// such as memory.stat. Lines of another form are passed over.
func readKeys(path string) (map[string]uint64, error) {
	content, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return parseKeys(string(content)), nil
}

func parseKeys(content string) map[string]uint64 {
	keys := make(map[string]uint64)
	for line := range strings.Lines(content) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := parseNumber(value); err == nil {
			keys[key] = n
		}
	}
	return keys
}

// gone tells whether an error means that the group, or the file in it, is no
// longer there: ENODEV is what an open file of a removed group answers.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV)
}
