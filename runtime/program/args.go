package program

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// An Arg is one argument of a system call: a number, memory that the program
// keeps alive, or the slot that an earlier operation filled. It prints as
// strace(1) would.
type Arg interface{ String() string }

// Number is a plain number; a descriptor known beforehand too.
type Number uint64

func (n Number) String() string {
	if n == atFDCWD {
		return "AT_FDCWD"
	}
	if n > 1<<40 { // a negative number
		return strconv.FormatInt(int64(n), 10)
	}
	return strconv.FormatUint(uint64(n), 10)
}

// atFDCWD is AT_FDCWD as an unsigned register.
const atFDCWD = Number(1<<64 + unix.AT_FDCWD)

// CurrentDirectory is AT_FDCWD: paths are relative to the working directory.
func CurrentDirectory() Arg { return atFDCWD }

// Octal is a file mode.
type Octal uint32

func (o Octal) String() string { return fmt.Sprintf("%#o", uint32(o)) }

// Text is a NUL-terminated string. The empty Text is an empty string, not NULL.
type Text string

func (t Text) String() string { return strconv.Quote(string(t)) }

// Null is a NULL pointer.
type Null struct{}

func (Null) String() string { return "NULL" }

// Vector is a NULL-terminated array of strings, as argv and envp are.
type Vector []string

func (v Vector) String() string {
	if len(v) > 16 {
		return fmt.Sprintf("[/* %d strings */]", len(v))
	}
	q := make([]string, len(v))
	for i, s := range v {
		q[i] = strconv.Quote(s)
	}
	return "[" + strings.Join(q, ", ") + "]"
}

// Memory is a structure in the kernel's layout. Shown is how it prints.
type Memory struct {
	Bytes []byte
	Shown string
}

func (m Memory) String() string { return m.Shown }

// Filter is a seccomp program: a struct sock_fprog that points to it.
type Filter []unix.SockFilter

func (f Filter) String() string { return fmt.Sprintf("{len=%d, filter=…}", len(f)) }

func (s Slot) String() string { return "$" + strconv.Itoa(int(s)) }

// Address is the address of a slot, for calls that read or write memory.
type Address Slot

func (a Address) String() string { return "&$" + strconv.Itoa(int(a)) }

// ReportPipe is the descriptor of the pipe that tells the parent of failures.
type ReportPipe struct{}

func (ReportPipe) String() string { return "report" }

// Flags is a bit set that prints by the names of its bits.
type Flags struct {
	Bits  uint64
	Names []FlagName
}

// FlagName names one bit, or one value of several bits, of a flag argument.
type FlagName struct {
	Bits uint64
	Name string
}

func (f Flags) String() string {
	rest, names := f.Bits, []string(nil)
	for _, n := range f.Names {
		if n.Bits != 0 && rest&n.Bits == n.Bits {
			names, rest = append(names, n.Name), rest&^n.Bits
		}
	}
	if rest != 0 || len(names) == 0 {
		if rest == 0 && len(f.Names) > 0 && f.Names[0].Bits == 0 {
			return f.Names[0].Name // a name for zero, such as F_OK
		}
		names = append(names, fmt.Sprintf("%#x", rest))
	}
	if len(names) == 1 && names[0] == "0x0" {
		return "0"
	}
	return strings.Join(names, "|")
}

// Constant is a number that has a name, such as a prctl option.
type Constant struct {
	Value uint64
	Name  string
}

func (c Constant) String() string { return c.Name }

// words64 lays 64-bit values out as the kernel reads them.
func words64(v ...uint64) []byte {
	b := make([]byte, 0, 8*len(v))
	for _, w := range v {
		b = binary.NativeEndian.AppendUint64(b, w)
	}
	return b
}

// words32 lays 32-bit values out as the kernel reads them.
func words32(v ...uint32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, w := range v {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return b
}

// String prints the operation in the notation of strace(1), with $n for a slot:
// $3 = openat2(AT_FDCWD, "/proc", {…}, 24).
func (o Op) String() string {
	var b strings.Builder
	if o.Save != 0 {
		b.WriteString(o.Save.String() + " = ")
	}
	b.WriteString(o.Name + "(")
	for i, a := range o.Args {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.String())
	}
	b.WriteString(")")
	for i, e := range o.Accept {
		b.WriteString([]string{" or ", ", "}[min(i, 1)] + unix.ErrnoName(e))
	}
	if o.Parent != 0 {
		fmt.Fprintf(&b, "  # the parent goes on at %d", o.Parent)
	}
	return b.String()
}

// String prints the whole program, one operation a line, each task's words as a
// comment above its operations.
func (p *Program) String() string {
	var b strings.Builder
	for i, o := range p.Ops {
		if o.Words != "" {
			fmt.Fprintf(&b, "    # %s\n", o.Words)
		}
		fmt.Fprintf(&b, "%3d %s\n", i, o)
	}
	return b.String()
}
