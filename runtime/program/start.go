package program

import (
	"bytes"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This is the only file of the project with nosplit code, and, beside two raw
// system calls elsewhere, the only one with unsafe. What runs in the child may
// call nothing but syscall.RawSyscall and RawSyscall6: the child is a copy of
// one thread of the parent, without the threads that the Go runtime needs. The
// linker checks the frame size of interpret but not its calls, so a test
// disassembles it.

// instruction is an Op in the form that the interpreter reads: no strings, no
// slices. The memory that args point to is kept alive by the image.
type instruction struct {
	number uintptr
	args   [6]uintptr
	slots  uint8 // bit i: args[i] is the index of a slot to read
	save   uint8
	accept [2]uint16
	parent uint32
	want   uintptr
}

// context is what the child needs beside the instructions.
type context struct {
	first  *instruction
	count  uintptr
	report uintptr // descriptor of the report pipe
	trace  uintptr // descriptor of the trace pipe, or 0
	slots  [maxSlots]uintptr
	record [2]uint64 // scratch of a report or a trace record
	clock  unix.Timespec
}

// failed marks a report of a failure; the rest is index<<32 | errno.
const failed = 1 << 63

// interpret runs the instructions; it returns only by a bug.
//
//go:nosplit
//go:norace
//go:nocheckptr
func interpret(c *context) {
	for i := uintptr(0); i < c.count; i++ {
		in := (*instruction)(unsafe.Add(unsafe.Pointer(c.first), i*unsafe.Sizeof(instruction{})))
		a := in.args
		for j := uintptr(0); j < 6; j++ {
			if in.slots&(1<<j) != 0 {
				a[j] = c.slots[a[j]&(maxSlots-1)]
			}
		}
		r, _, e := syscall.RawSyscall6(in.number, a[0], a[1], a[2], a[3], a[4], a[5])
		if c.trace != 0 {
			syscall.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&c.clock)), 0)
			c.record[0] = uint64(i)<<32 | uint64(uint32(e))
			c.record[1] = uint64(c.clock.Sec)*1e9 + uint64(c.clock.Nsec)
			syscall.RawSyscall(unix.SYS_WRITE, c.trace, uintptr(unsafe.Pointer(&c.record)), 16)
		}
		if e != 0 && e != syscall.Errno(in.accept[0]) && e != syscall.Errno(in.accept[1]) || e == 0 && in.want != 0 && r != in.want {
			c.record[0] = failed | uint64(i)<<32 | uint64(uint32(e))
			syscall.RawSyscall(unix.SYS_WRITE, c.report, uintptr(unsafe.Pointer(&c.record)), 8)
			return
		}
		if e != 0 {
			continue
		}
		if in.save != 0 {
			c.slots[in.save&(maxSlots-1)] = r
		}
		if in.parent != 0 && r != 0 {
			i = uintptr(in.parent) - 1
		}
	}
}

// cloneArguments is struct clone_args of clone3(2), Linux 5.7.
type cloneArguments struct {
	flags, pidfd, childTid, parentTid, exitSignal, stack, stackSize, tls, setTid, setTidSize, cgroup uint64
}

// cloneAndInterpret clones and, in the child, runs the program to its end.
//
//go:nosplit
//go:norace
//go:nocheckptr
func cloneAndInterpret(args *cloneArguments, c *context) (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(cloneArguments{}), 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	interpret(c)
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 127, 0, 0)
	}
}

// clone makes the child with all signals blocked, so that no handler of the Go
// runtime can run in it. The program unblocks them before its execve.
func clone(flags uint64, cgroup int, c *context) (pid, pidfd int, err error) {
	fd := int32(-1)
	args := &cloneArguments{flags: flags | unix.CLONE_CLEAR_SIGHAND | unix.CLONE_PIDFD, exitSignal: uint64(unix.SIGCHLD), pidfd: uint64(uintptr(unsafe.Pointer(&fd)))}
	if cgroup > 0 {
		args.flags |= unix.CLONE_INTO_CGROUP
		args.cgroup = uint64(cgroup)
	}
	all, old := ^uint64(0), uint64(0)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	r, errno := cloneAndInterpret(args, c)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	runtime.KeepAlive(args)
	if errno != 0 {
		return 0, -1, errno
	}
	return int(r), int(fd), nil
}

// image is a program lowered to instructions, with the memory they point to.
type image struct {
	context context
	code    []instruction
	keep    []any
	arena   []byte
}

// lower turns the operations into instructions. The heap does not move, so the
// addresses stay true as long as the image is reachable.
func lower(p *Program, report, trace int) *image {
	im := &image{code: make([]instruction, len(p.Ops))}
	im.context = context{first: &im.code[0], count: uintptr(len(p.Ops)), report: uintptr(report), trace: uintptr(trace)}
	for i := range p.Ops {
		o, in := &p.Ops[i], &im.code[i]
		in.number, in.save, in.parent, in.want = o.Number, uint8(o.Save), uint32(o.Parent), o.Want
		for j, e := range o.Accept {
			in.accept[j] = uint16(e)
		}
		for j, a := range o.Args {
			if s, ok := a.(Slot); ok {
				in.slots |= 1 << j
				in.args[j] = uintptr(s)
				continue
			}
			in.args[j] = im.value(a)
		}
	}
	return im
}

// value returns the register that stands for an argument.
func (im *image) value(a Arg) uintptr {
	switch a := a.(type) {
	case Number:
		return uintptr(a)
	case Octal:
		return uintptr(a)
	case fileMode:
		return uintptr(a)
	case device:
		return uintptr(unix.Mkdev(a.major, a.minor))
	case Flags:
		return uintptr(a.Bits)
	case Constant:
		return uintptr(a.Value)
	case Text:
		return im.text(string(a))
	case Vector:
		return im.vector(a)
	case Memory:
		return im.memory(a.Bytes)
	case Filter:
		return im.filter(a)
	case Address:
		return uintptr(unsafe.Pointer(&im.context.slots[a&(maxSlots-1)]))
	case ReportPipe:
		return im.context.report
	}
	return 0 // Null
}

// text copies a string, with its NUL, into memory that the image keeps.
func (im *image) text(s string) uintptr {
	b := im.bytes(len(s) + 1)
	copy(b, s)
	return uintptr(unsafe.Pointer(&b[0]))
}

// bytes cuts n zeroed bytes from an arena, aligned to 8.
func (im *image) bytes(n int) []byte {
	n8 := (n + 7) &^ 7
	if n8 > len(im.arena) {
		im.arena = make([]byte, max(n8, 8<<10))
		im.keep = append(im.keep, im.arena)
	}
	b := im.arena[:n:n]
	im.arena = im.arena[n8:]
	return b
}

func (im *image) memory(b []byte) uintptr {
	if len(b) == 0 {
		return 0
	}
	m := im.bytes(len(b))
	copy(m, b)
	return uintptr(unsafe.Pointer(&m[0]))
}

func (im *image) vector(v Vector) uintptr {
	w := make([]uintptr, len(v)+1)
	for i, s := range v {
		w[i] = im.text(s)
	}
	im.keep = append(im.keep, w)
	return uintptr(unsafe.Pointer(&w[0]))
}

func (im *image) filter(f Filter) uintptr {
	p := &unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	im.keep = append(im.keep, p, f)
	return uintptr(unsafe.Pointer(p))
}

// stubAddress is where the stub's code lies in this executable (stub_*.s).
func stubAddress() unsafe.Pointer

// stubCode returns the stub's machine code: from its address to the two
// undefined instructions that end it.
func stubCode() []byte {
	const most = 1 << 10
	code := unsafe.Slice((*byte)(stubAddress()), most)
	return code[:bytes.Index(code, []byte(stubEnd))]
}
