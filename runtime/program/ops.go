package program

import (
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The constructors bear the names of the system calls and take their arguments
// in the same order; a descriptor is an Arg because it may be a Slot.

func op(name string, number uintptr, args ...Arg) Op {
	return Op{Name: name, Number: number, Args: args}
}

// Mount is mount(2), for what the descriptor-based calls cannot do: changing the
// propagation of a whole tree.
func Mount(source, target Arg, fstype Arg, flags uint64, options Arg) Op {
	return op("mount", unix.SYS_MOUNT, source, target, fstype, Flags{flags, mountFlags}, options)
}

// Fsopen is fsopen(2), Linux 5.2: a new file system context.
func Fsopen(fstype string) Op {
	return op("fsopen", unix.SYS_FSOPEN, Text(fstype), Flags{unix.FSOPEN_CLOEXEC, fsopenFlags})
}

// FsconfigString is fsconfig(2) with FSCONFIG_SET_STRING.
func FsconfigString(fs Arg, key, value string) Op {
	return op("fsconfig", unix.SYS_FSCONFIG, fs, Constant{unix.FSCONFIG_SET_STRING, "FSCONFIG_SET_STRING"}, Text(key), Text(value), Number(0))
}

// FsconfigFlag is fsconfig(2) with FSCONFIG_SET_FLAG.
func FsconfigFlag(fs Arg, key string) Op {
	return op("fsconfig", unix.SYS_FSCONFIG, fs, Constant{unix.FSCONFIG_SET_FLAG, "FSCONFIG_SET_FLAG"}, Text(key), Null{}, Number(0))
}

// FsconfigCreate is fsconfig(2) with FSCONFIG_CMD_CREATE: make the superblock.
func FsconfigCreate(fs Arg) Op {
	return op("fsconfig", unix.SYS_FSCONFIG, fs, Constant{unix.FSCONFIG_CMD_CREATE, "FSCONFIG_CMD_CREATE"}, Null{}, Null{}, Number(0))
}

// Fsmount is fsmount(2): a detached mount of the context's file system.
func Fsmount(fs Arg, attributes uint64) Op {
	return op("fsmount", unix.SYS_FSMOUNT, fs, Flags{unix.FSMOUNT_CLOEXEC, fsmountFlags}, Flags{attributes, mountAttributes})
}

// OpenTree is open_tree(2) with OPEN_TREE_CLONE: a detached bind mount.
func OpenTree(directory Arg, path string, flags uint64) Op {
	return op("open_tree", unix.SYS_OPEN_TREE, directory, Text(path), Flags{flags | unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC, openTreeFlags})
}

// MoveMount is move_mount(2) of a detached mount onto a held descriptor, or,
// when path is not empty, onto a path below it.
func MoveMount(mount, target Arg, path string) Op {
	flags := uint64(unix.MOVE_MOUNT_F_EMPTY_PATH)
	if path == "" {
		flags |= unix.MOVE_MOUNT_T_EMPTY_PATH
	}
	return op("move_mount", unix.SYS_MOVE_MOUNT, mount, Text(""), target, Text(path), Flags{flags, moveMountFlags})
}

// MountSetattr is mount_setattr(2), Linux 5.12, on the mount that the descriptor
// holds: set and clear attributes, set a propagation; recursive for a tree.
func MountSetattr(mount Arg, set, clear, propagation uint64, recursive bool) Op {
	flags := uint64(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	shown := fmt.Sprintf("{attr_set=%s, attr_clr=%s, propagation=%s, userns_fd=0}",
		Flags{set, mountAttributes}, Flags{clear, mountAttributes}, Flags{propagation, mountFlags})
	return op("mount_setattr", unix.SYS_MOUNT_SETATTR, mount, Text(""), Flags{flags, atFlags},
		Memory{words64(set, clear, propagation, 0), shown}, Number(unix.MOUNT_ATTR_SIZE_VER0))
}

// Openat2 is openat2(2), Linux 5.6. Resolution says how far a path may lead;
// InRoot is the one for everything in a container's root file system.
func Openat2(directory Arg, path string, flags, mode, resolution uint64) Op {
	shown := "{flags=" + Flags{flags | unix.O_CLOEXEC, openFlags}.String()
	if mode != 0 {
		shown += ", mode=" + Octal(mode).String()
	}
	if resolution != 0 {
		shown += ", resolve=" + Flags{resolution, resolveFlags}.String()
	}
	return op("openat2", unix.SYS_OPENAT2, directory, Text(path), Memory{words64(flags|unix.O_CLOEXEC, mode, resolution), shown + "}"}, Number(unix.SizeofOpenHow))
}

// InRoot confines a path to the directory it starts from, symbolic links and
// ".." included, and refuses the magic links of procfs.
const InRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// Mkdirat is mkdirat(2).
func Mkdirat(directory Arg, path string, mode uint32) Op {
	return op("mkdirat", unix.SYS_MKDIRAT, directory, Text(path), Octal(mode))
}

// Mknodat is mknodat(2) of a device.
func Mknodat(directory Arg, path string, mode, major, minor uint32) Op {
	return op("mknodat", unix.SYS_MKNODAT, directory, Text(path), fileMode(mode), device{major, minor})
}

// Symlinkat is symlinkat(2).
func Symlinkat(target string, directory Arg, path string) Op {
	return op("symlinkat", unix.SYS_SYMLINKAT, Text(target), directory, Text(path))
}

// Fchownat is fchownat(2) that does not follow symbolic links.
func Fchownat(directory Arg, path string, uid, gid uint32) Op {
	return op("fchownat", unix.SYS_FCHOWNAT, directory, Text(path), Number(uid), Number(gid), Flags{unix.AT_SYMLINK_NOFOLLOW, atFlags})
}

// Fchdir is fchdir(2).
func Fchdir(fd Arg) Op { return op("fchdir", unix.SYS_FCHDIR, fd) }

// Chdir is chdir(2).
func Chdir(path string) Op { return op("chdir", unix.SYS_CHDIR, Text(path)) }

// Chroot is chroot(2).
func Chroot(path string) Op { return op("chroot", unix.SYS_CHROOT, Text(path)) }

// PivotRoot is pivot_root(2).
func PivotRoot(newRoot, putOld string) Op {
	return op("pivot_root", unix.SYS_PIVOT_ROOT, Text(newRoot), Text(putOld))
}

// Umount2 is umount2(2).
func Umount2(path string, flags uint64) Op {
	return op("umount2", unix.SYS_UMOUNT2, Text(path), Flags{flags, umountFlags})
}

// Sethostname is sethostname(2).
func Sethostname(name string) Op {
	return op("sethostname", unix.SYS_SETHOSTNAME, Text(name), Number(len(name)))
}

// Setdomainname is setdomainname(2).
func Setdomainname(name string) Op {
	return op("setdomainname", unix.SYS_SETDOMAINNAME, Text(name), Number(len(name)))
}

// Write is write(2) of the whole text.
func Write(fd Arg, text string) Op {
	o := op("write", unix.SYS_WRITE, fd, Text(text), Number(len(text)))
	o.Want = uintptr(len(text))
	return o
}

// Report writes the slot's value to the parent; see Process.Receive.
func Report(s Slot) Op {
	o := op("write", unix.SYS_WRITE, ReportPipe{}, Address(s), Number(8))
	o.Want = 8
	return o
}

// Await is a read(2) of one byte: it waits until the parent lets it go on, and
// fails when the parent is gone.
func Await(fd Arg, scratch Slot) Op {
	o := op("read", unix.SYS_READ, fd, Address(scratch), Number(1))
	o.Want = 1
	return o
}

// Close is close(2).
func Close(fd Arg) Op { return op("close", unix.SYS_CLOSE, fd) }

// CloseOnExecFrom is close_range(2) with CLOSE_RANGE_CLOEXEC, Linux 5.11: marks
// every descriptor from first on as close-on-exec.
func CloseOnExecFrom(first uint) Op {
	return op("close_range", unix.SYS_CLOSE_RANGE, Number(first), Number(^uint32(0)), Flags{unix.CLOSE_RANGE_CLOEXEC, closeRangeFlags})
}

// Dup3 is dup3(2).
func Dup3(fd Arg, to uint, flags uint64) Op {
	return op("dup3", unix.SYS_DUP3, fd, Number(to), Flags{flags, openFlags})
}

// DupAbove is fcntl(2) with F_DUPFD_CLOEXEC: a copy numbered least or higher.
func DupAbove(fd Arg, least uint) Op {
	return op("fcntl", unix.SYS_FCNTL, fd, Constant{unix.F_DUPFD_CLOEXEC, "F_DUPFD_CLOEXEC"}, Number(least))
}

// JoinSessionKeyring is keyctl(2) with KEYCTL_JOIN_SESSION_KEYRING: a new,
// anonymous session keyring.
func JoinSessionKeyring() Op {
	return op("keyctl", unix.SYS_KEYCTL, Constant{unix.KEYCTL_JOIN_SESSION_KEYRING, "KEYCTL_JOIN_SESSION_KEYRING"}, Null{})
}

// PidfdOpen is pidfd_open(2), Linux 5.3.
func PidfdOpen(pid Arg) Op { return op("pidfd_open", unix.SYS_PIDFD_OPEN, pid, Number(0)) }

// Setsid is setsid(2).
func Setsid() Op { return op("setsid", unix.SYS_SETSID) }

// ControllingTerminal is ioctl(2) with TIOCSCTTY.
func ControllingTerminal(fd Arg) Op {
	return op("ioctl", unix.SYS_IOCTL, fd, Constant{unix.TIOCSCTTY, "TIOCSCTTY"}, Number(0))
}

// Unshare is unshare(2).
func Unshare(flags uint64) Op { return op("unshare", unix.SYS_UNSHARE, Flags{flags, cloneFlags}) }

// Setns is setns(2): into one namespace, or with a pidfd (Linux 5.8) into all
// those that the flags name.
func Setns(fd Arg, flags uint64) Op {
	return op("setns", unix.SYS_SETNS, fd, Flags{flags, cloneFlags})
}

// Clone3 is clone3(2) with no stack of its own: a fork. cgroup is a descriptor
// of a cgroup v2 directory, used with CLONE_INTO_CGROUP (Linux 5.7). The child
// goes on with the next operation, the parent at index parent.
func Clone3(flags uint64, signal syscall.Signal, cgroup int, parent int) Op {
	shown := "{flags=" + Flags{flags, cloneFlags}.String() + fmt.Sprintf(", exit_signal=%d", int(signal))
	if cgroup > 0 {
		shown += fmt.Sprintf(", cgroup=%d", cgroup)
	}
	args := words64(flags, 0, 0, 0, uint64(signal), 0, 0, 0, 0, 0, uint64(max(cgroup, 0)))
	o := op("clone3", unix.SYS_CLONE3, Memory{args, shown + "}"}, Number(len(args)))
	o.Parent = parent
	return o
}

// Prctl is prctl(2) with one argument.
func Prctl(option Constant, value uint64) Op {
	return op("prctl", unix.SYS_PRCTL, option, Number(value), Number(0), Number(0), Number(0))
}

// Prctl2 is prctl(2) with two arguments.
func Prctl2(option, value Constant, more uint64) Op {
	return op("prctl", unix.SYS_PRCTL, option, value, Number(more), Number(0), Number(0))
}

// Setrlimit is prlimit64(2) on the caller itself. Soft and hard are in the
// resource's own unit, getrlimit(2).
func Setrlimit(resource Constant, soft, hard uint64) Op {
	shown := fmt.Sprintf("{rlim_cur=%s, rlim_max=%s}", rlimitText(soft), rlimitText(hard))
	return op("prlimit64", unix.SYS_PRLIMIT64, Number(0), resource, Memory{words64(soft, hard), shown}, Null{})
}

func rlimitText(v uint64) string {
	if v == unix.RLIM_INFINITY {
		return "RLIM64_INFINITY"
	}
	return fmt.Sprint(v)
}

// Umask is umask(2).
func Umask(mask uint32) Op { return op("umask", unix.SYS_UMASK, Octal(mask)) }

// Setgroups is setgroups(2).
func Setgroups(groups []uint32) Op {
	if len(groups) == 0 {
		return op("setgroups", unix.SYS_SETGROUPS, Number(0), Null{})
	}
	shown := strings.Join(strings.Fields(fmt.Sprint(groups)), ", ")
	return op("setgroups", unix.SYS_SETGROUPS, Number(len(groups)), Memory{words32(groups...), shown})
}

// Setresgid is setresgid(2) of all three ids.
func Setresgid(gid uint32) Op {
	return op("setresgid", unix.SYS_SETRESGID, Number(gid), Number(gid), Number(gid))
}

// Setresuid is setresuid(2) of all three ids.
func Setresuid(uid uint32) Op {
	return op("setresuid", unix.SYS_SETRESUID, Number(uid), Number(uid), Number(uid))
}

// Capset is capset(2) with the 64-bit sets of capabilities(7).
func Capset(effective, permitted, inheritable uint64) Op {
	data := words32(uint32(effective), uint32(permitted), uint32(inheritable),
		uint32(effective>>32), uint32(permitted>>32), uint32(inheritable>>32))
	return op("capset", unix.SYS_CAPSET,
		Memory{words32(unix.LINUX_CAPABILITY_VERSION_3, 0), "{version=_LINUX_CAPABILITY_VERSION_3, pid=0}"},
		Memory{data, fmt.Sprintf("{effective=%#x, permitted=%#x, inheritable=%#x}", effective, permitted, inheritable)})
}

// Seccomp is seccomp(2) with SECCOMP_SET_MODE_FILTER.
func Seccomp(filter []unix.SockFilter, flags uint64) Op {
	return op("seccomp", unix.SYS_SECCOMP, Constant{unix.SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER"}, Flags{flags, seccompFlags}, Filter(filter))
}

// UnblockSignals is rt_sigprocmask(2) with an empty set.
func UnblockSignals() Op {
	return op("rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, Constant{unix.SIG_SETMASK, "SIG_SETMASK"}, Memory{words64(0), "[]"}, Null{}, Number(8))
}

// Execve is execve(2).
func Execve(path string, argv, envp []string) Op {
	return op("execve", unix.SYS_EXECVE, Text(path), Vector(argv), Vector(envp))
}

// ExecveFd is execveat(2) with AT_EMPTY_PATH: executes the open file.
func ExecveFd(fd Arg, argv, envp []string) Op {
	return op("execveat", unix.SYS_EXECVEAT, fd, Text(""), Vector(argv), Vector(envp), Flags{unix.AT_EMPTY_PATH, atFlags})
}

// ExecveStub is execveat(2) of the launch stub, see OpenStub and StubArgv.
func ExecveStub(stub Arg, argv, envp []string) Op {
	o := ExecveFd(stub, argv, envp)
	o.Stub = true
	return o
}

// ExitGroup is exit_group(2).
func ExitGroup(status uint8) Op { return op("exit_group", unix.SYS_EXIT_GROUP, Number(status)) }
