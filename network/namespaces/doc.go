// Package namespaces reads which namespaces a machine has, who is in each, what else
// keeps it alive, and whose it is.
//
// Linux has eight kinds, namespaces(7). A process is in exactly one of each, and its
// links in /proc/PID/ns say in which: net:[4026531840]. Two processes whose links
// have the same number share that room; there is no other list of namespaces. Read
// therefore goes through all processes, and then after what a process does not show:
//
//	/proc/PID/ns/KIND        processes         Namespace.Processes
//	/proc/PID/mountinfo      bind mounts       Namespace.Paths, such as /run/netns/blue
//	/proc/PID/fd             open descriptors  Namespace.Held
//	ioctl_ns(2)              relations         Namespace.Parent, Namespace.UserOwner
//
// A namespace that nobody is in lives as long as one of the others has it. What is
// returned is a moment that never was as a whole: processes come and go while /proc
// is read, and whatever vanishes meanwhile is left out.
//
// Read needs PTRACE_MODE_READ_FSCREDS on each process, ptrace(2), which root has;
// others see their own processes.
package namespaces
