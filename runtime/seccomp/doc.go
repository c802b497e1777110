// Package seccomp compiles the seccomp profile of an OCI config into the
// program that the kernel runs before every system call of a container.
//
// A profile is written in names: "allow read; allow clone if these bits of its
// first argument are 0; refuse the rest with EPERM". The kernel takes classic
// BPF (seccomp(2), Linux 3.5): at most 4096 instructions on one 32-bit
// accumulator, forward jumps only, that read a struct seccomp_data
//
//	offset 0   int nr                      the number of the system call
//	       4   u32 arch                    AUDIT_ARCH_…: whose numbers these are
//	       8   u64 instruction_pointer
//	      16   u64 args[6]                 of the machine's byte order
//
// and return a verdict: an action in the upper 16 bits, in the lower ones its
// data, such as the errno. Other runtimes have libseccomp make that program;
// here it is done in Go, and the tests hold the two against each other.
//
// # From profile to program
//
//	profile ──► policy ──► one section for each architecture ──► program
//	names,      verdicts,  numbers, ranges, search tree
//	JSON paths  rules
//
// A program looks at the architecture first, since the same number means
// another call in another table: 59 is execve on x86_64 and oldolduname on x86,
// which every x86_64 process can call by int 0x80. What comes from an
// architecture that the profile does not list is killed. x32 shares x86_64's
// AUDIT_ARCH value and is told apart by bit 30 of the number.
//
// Inside a section neighbouring numbers with one verdict are one range, and the
// ranges are the leaves of a binary tree whose wide ranges lie high: three to
// seven comparisons lead to a verdict or to the conditions on the arguments.
// 64-bit arguments are compared in halves, the upper one first.
//
// # What several rules for one call mean
//
// The conditions of one rule must all hold; of several rules for one call any
// may hold. The rest is libseccomp's custom, which profiles count on:
//
//   - A rule whose action is the default action is left out, even if it would
//     have been the exception to another rule.
//   - A rule without conditions makes all others for that call void; the
//     first such rule in the profile counts.
//   - Rules are tried from the specific to the general, whatever their order in
//     the profile: see (rule).compare. Two rules with the same conditions and
//     different actions contradict each other, which is an error.
//   - If a rule has two conditions on one argument, each of its conditions is a
//     rule of its own: "arg 0 is 1" and "arg 0 is 2" means either (runc has
//     this for the sake of old profiles).
//   - On a 32-bit architecture only the lower halves are compared.
//   - A name that the table does not have is passed over: profiles list
//     calls of newer kernels and of other architectures.
//   - On x86, s390x and ppc64le, "socket" also means socketcall(SYS_SOCKET), and
//     "semop" ipc(SEMOP), without a look at the arguments behind the pointer.
//
// # Calls newer than the profile
//
// A profile cannot name the calls of kernels to come. Were they refused with
// EPERM, a C library that tries the newest call first would take it for an
// answer, where ENOSYS makes it fall back to the older one: containers broke
// over faccessat2, clone3 and close_range before runc did what is done here.
// When the default action refuses, numbers above the highest that the
// profile names for the architecture are answered ENOSYS instead (runc,
// libcontainer/seccomp/patchbpf).
//
// # The default profile
//
// Default returns the filter for Docker's profile. It was compiled when the
// package was generated; only if a capability was added or dropped that the
// profile asks about is it compiled anew, from a table.
package seccomp
