package program

import (
	"errors"
	"fmt"
	"syscall"
)

// maxSlots is the number of slots of a program. It is a power of two, so that
// the interpreter can mask an index instead of checking it.
const maxSlots = 64

// A Slot keeps the result of one operation for the arguments of later ones.
// Slots count from 1; the zero Slot means none.
type Slot uint8

// An Op is one system call the child will make. It is plain data.
type Op struct {
	Name   string  // the system call's name, as in section 2 of the manual
	Number uintptr // its number on this architecture
	Args   []Arg   // at most six
	Save   Slot    // where the result goes, or none

	// Accept holds errnos that are fine here, such as EEXIST for a mkdir; at
	// most two. The operation then counts as done, and Save stays as it was.
	Accept []syscall.Errno
	// Want, when not zero, is the only result that means success: the count of
	// a read(2) that must not meet the end of the file.
	Want uintptr
	// Parent, when not zero, is where the process goes on that gets a result
	// other than zero: the parent, after a clone3(2). The child goes on with
	// the next operation.
	Parent int

	// Stub marks the execveat of the launch stub: what the stub reports is this
	// operation's.
	Stub bool

	// Words says in plain words what this operation and those after it, up to
	// the next with Words, are for. Command is what an administrator would type
	// for the same effect, where there is such a command.
	Words   string
	Command string
}

// Into sets the slot that receives the result.
func (o Op) Into(s Slot) Op { o.Save = s; return o }

// Except sets the errnos that are fine.
func (o Op) Except(errnos ...syscall.Errno) Op { o.Accept = errnos; return o }

// A Program is a list of operations that ends in an execve or exit_group.
type Program struct {
	Ops   []Op
	slots Slot   // the highest that was given out
	free  []Slot // given back
	words string
	cmd   string
}

// Slot returns a slot that nobody uses.
func (p *Program) Slot() Slot {
	if n := len(p.free); n > 0 {
		s := p.free[n-1]
		p.free = p.free[:n-1]
		return s
	}
	p.slots++
	return p.slots
}

// Free gives a slot back, for other operations to use.
func (p *Program) Free(s Slot) { p.free = append(p.free, s) }

// Task names, in plain words and as a command, what the operations added next
// do together. An empty command means that none does the same.
func (p *Program) Task(words, command string) {
	p.words, p.cmd = words, command
}

// Add appends operations. The first one after Task carries its words.
func (p *Program) Add(ops ...Op) {
	for _, o := range ops {
		o.Words, o.Command = p.words, p.cmd
		p.words, p.cmd = "", ""
		p.Ops = append(p.Ops, o)
	}
}

// Words returns the words of the task that operation i belongs to.
func (p *Program) Words(i int) string {
	for i = min(i, len(p.Ops)-1); i >= 0; i-- {
		if p.Ops[i].Words != "" {
			return p.Ops[i].Words
		}
	}
	return ""
}

// Pausing returns the same program that stops before each task: it writes a byte to the
// descriptor announce, and goes on when it has read one from resume. The end of resume
// is the end of the program.
func (p *Program) Pausing(announce, resume int) *Program {
	q := *p
	q.Ops = nil
	scratch, moved := q.Slot(), make([]int, len(p.Ops))
	for i, o := range p.Ops {
		moved[i] = len(q.Ops)
		if o.Words != "" {
			q.Ops = append(q.Ops, Write(Number(announce), "."), Await(Number(resume), scratch))
		}
		q.Ops = append(q.Ops, o)
	}
	for i := range q.Ops {
		if to := q.Ops[i].Parent; to != 0 {
			q.Ops[i].Parent = moved[to]
		}
	}
	return &q
}

// Validate reports a program that the interpreter could not run: too many slots
// or arguments, a slot read before any operation could have filled it, an end
// that neither becomes another program nor exits.
func (p *Program) Validate() error {
	if len(p.Ops) == 0 {
		return errors.New("program: no operation")
	}
	if p.slots >= maxSlots {
		return fmt.Errorf("program: %d slots, at most %d", p.slots, maxSlots-1)
	}
	var filled [maxSlots]bool
	for i, o := range p.Ops {
		if len(o.Args) > 6 || len(o.Accept) > 2 || o.Parent >= len(p.Ops) || o.Save >= maxSlots {
			return fmt.Errorf("program: operation %d, %s: out of bounds", i, o.Name)
		}
		for _, a := range o.Args {
			if s, ok := a.(Slot); ok && (s == 0 || s >= maxSlots || !filled[s]) {
				return fmt.Errorf("program: operation %d, %s: slot %d is empty", i, o.Name, s)
			}
		}
		filled[o.Save] = true
	}
	switch last := p.Ops[len(p.Ops)-1].Name; last {
	case "execve", "execveat", "exit_group":
		return nil
	default:
		return fmt.Errorf("program: ends in %s, not in execve or exit_group", last)
	}
}

// Error is an operation that failed in the child.
type Error struct {
	Index int           // which operation
	Op    Op            // the operation
	Words string        // what it was for
	Errno syscall.Errno // 0: a result other than Op.Want
}

// Error says what failed in plain words, by which call, and why:
// "mount proc on /proc: fsmount: operation not permitted".
func (e *Error) Error() string {
	cause := "unexpected end of file"
	if e.Errno != 0 {
		cause = e.Errno.Error()
	}
	if e.Words == "" {
		return e.Op.Name + ": " + cause
	}
	return e.Words + ": " + e.Op.Name + ": " + cause
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// noSuchCall is a number that no system call has: the kernel answers ENOSYS.
const noSuchCall = 1 << 20

// FailAt returns the same program with operation i failing: its number becomes
// one that no system call has, so that the kernel refuses it with ENOSYS.
func (p *Program) FailAt(i int) *Program {
	q := *p
	q.Ops = append([]Op(nil), p.Ops...)
	q.Ops[i].Number, q.Ops[i].Accept = noSuchCall, nil
	return &q
}
