// Package program is the vocabulary of what a container's first process does
// between clone(2) and execve(2): a list of system calls, as data.
//
// A Program is made by the parent, while it is still an ordinary Go process:
// every decision is taken, every string is built, every descriptor that can be
// opened beforehand is open. Start clones a child, and the child runs the list
// in order: no Go runtime, no allocation, no second start of the program, no C.
// It ends in execve, or it writes eight bytes to a pipe (which operation, which
// errno) and exits.
//
//	parent                                child
//	------                                -----
//	Program{fsopen, fsmount, …, execve}
//	Start ── clone3 ────────────────────► interpret: op 0, op 1, op 2 …
//	set up network and cgroup             … read(sync) waits for one byte
//	Release ── one byte ────────────────► … setresuid, seccomp, execve
//	Receive ◄─ end of file: it runs       (the report pipe is close-on-exec)
//	        ◄─ 8 bytes: op 7, EPERM
//
// Because a launch is data it can be printed (Op.String, in the notation of
// strace(1)), compared with a golden file, and failed on purpose at any point
// (FailAt). An operation that needs an "if" does not exist: the plan has decided
// it. There is one exception, the fork: after an operation with Parent set, the
// process that gets a non-zero result goes on at that index (see Clone3).
//
// Results of one call that another needs, such as descriptors, go through
// slots: Openat2(…).Into(s) fills slot s, and s as an argument reads it.
package program
