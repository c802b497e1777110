package program

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The stub is a program of some 200 bytes that stands between the interpreter
// and the container's own program.
//
// A script that begins with "#!/proc/self/exe" makes the kernel run whatever
// executable the process had before: without the stub that would be minictr's
// file on the host, inside the container, and a process there could keep it
// open and overwrite it later (CVE-2019-5736). With the stub it is a sealed
// memfd that can do nothing but call execve. Others copy their whole binary
// into a memfd and start it again; the stub costs about a tenth of that.
//
//	argv[0]     the descriptor of the report pipe as one byte; and, as a second
//	            one, that of a pipe to read a byte from first
//	argv[1…]    the candidates: absolute paths to try, in order
//	""          an empty string ends them
//	…           the real argv
//
// It marks the pipes as close-on-exec, waits, and tries the candidates as
// execvp(3) does: ENOENT, ENOTDIR and EACCES go on to the next, and EACCES is
// remembered. When none can be run it writes the errno to the report pipe.

// stubFailed is the index that the stub reports in place of its operation's.
const stubFailed = 0x7fffffff

// StubArgv returns the argv with which the stub runs one of the candidates. With
// wait not 0, it first reads a byte from that descriptor; when it meets the end
// of the file instead, it exits. Waiting in the stub, and not in the program
// before it, leaves the kernel time to take the copy of the parent down.
func StubArgv(report, wait uint8, candidates, argv []string) []string {
	head := []byte{report}
	if wait != 0 {
		head = append(head, wait)
	}
	out := append([]string{string(head)}, candidates...)
	return append(append(out, ""), argv...)
}

// OpenStub makes the stub as a sealed memfd, memfd_create(2). The descriptor is
// close-on-exec and the caller's.
func OpenStub() (int, error) {
	fd, err := unix.MemfdCreate("minictr-stub", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // MFD_EXEC is new in Linux 6.3
		fd, err = unix.MemfdCreate("minictr-stub", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return -1, fmt.Errorf("make the launch stub: %w", os.NewSyscallError("memfd_create", err))
	}
	if _, err := unix.Write(fd, stubFile()); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("make the launch stub: %w", os.NewSyscallError("write", err))
	}
	seals := unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("seal the launch stub: %w", os.NewSyscallError("fcntl", err))
	}
	return fd, nil
}

// stubFile returns the stub as an ELF executable, elf(5): a file header, one
// loadable segment, the code.
func stubFile() []byte {
	const base, headers = 0x400000, 64 + 56
	code := stubCode()
	le := binary.LittleEndian
	b := []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	b = le.AppendUint16(b, 2) // ET_EXEC
	b = le.AppendUint16(b, stubMachine)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+headers) // entry
	b = le.AppendUint64(b, 64)           // program headers
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // PT_LOAD
	b = le.AppendUint32(b, 5) // PF_R|PF_X
	size := uint64(headers + len(code))
	for _, v := range []uint64{0, base, base, size, size, 0x1000} {
		b = le.AppendUint64(b, v)
	}
	return append(b, code...)
}
