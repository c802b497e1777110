package netnsdir

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Watch calls added and deleted for each name that comes or goes, inotify(7), until it
// fails. It makes the directory, without which nothing could be watched.
func (d Dir) Watch(added, deleted func(name string)) error {
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return err
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("inotify_init1", err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, string(d), unix.IN_CREATE|unix.IN_DELETE|unix.IN_ONLYDIR); err != nil {
		return &os.PathError{Op: "inotify_add_watch", Path: string(d), Err: err}
	}
	events := make([]byte, 64<<10)
	for {
		n, err := unix.Read(fd, events)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		eachEvent(events[:n], func(mask uint32, name string) {
			switch {
			case mask&unix.IN_CREATE != 0:
				added(name)
			case mask&unix.IN_DELETE != 0:
				deleted(name)
			}
		})
	}
}

// eachEvent reads what read(2) of an inotify descriptor gives: struct inotify_event,
// each followed by a name that NULs fill up.
func eachEvent(b []byte, each func(mask uint32, name string)) {
	for len(b) >= unix.SizeofInotifyEvent {
		mask, length := binary.NativeEndian.Uint32(b[4:]), int(binary.NativeEndian.Uint32(b[12:]))
		b = b[unix.SizeofInotifyEvent:]
		if length > len(b) {
			return
		}
		each(mask, unix.ByteSliceToString(b[:length]))
		b = b[length:]
	}
}
