package fault

import (
	"errors"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loadProgram has the kernel load a program that does nothing but return the value,
// and returns its descriptor.
func loadProgram(kind uint32, value int32) (int, error) {
	program := []uint64{
		unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K | uint64(uint32(value))<<32, // r0 = value
		unix.BPF_JMP | unix.BPF_EXIT,
	}
	license := []byte("Apache-2.0\x00")
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(&program[0])
	pinned.Pin(&license[0])
	attr := struct {
		kind, count           uint32
		instructions, license uint64
		logLevel, logSize     uint32
		log                   uint64
		kernelVersion, flags  uint32
		name                  [16]byte
		ifindex, attachType   uint32
	}{
		kind: kind, count: uint32(len(program)),
		instructions: uint64(uintptr(unsafe.Pointer(&program[0]))),
		license:      uint64(uintptr(unsafe.Pointer(&license[0]))),
		name:         programName(),
	}
	if kind == unix.BPF_PROG_TYPE_CGROUP_SKB {
		attr.attachType = unix.BPF_CGROUP_INET_EGRESS
	}
	for attempt := 1; ; attempt++ {
		fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		if !errors.Is(err, unix.EAGAIN) || attempt == loadAttempts {
			return fd, os.NewSyscallError("bpf(BPF_PROG_LOAD)", err)
		}
	}
}

// loadAttempts bounds the retries of a load that signals interrupt: the verifier
// gives up with EAGAIN (Linux 4.20), and the Go runtime's preemption signals come
// every 10 ms.
const loadAttempts = 30

// programName is the name of the programs that this package loads.
func programName() (name [16]byte) {
	copy(name[:], "minictr_fault")
	return name
}

// attachEgress has the program see what leaves by the sockets of a cgroup's processes.
func attachEgress(group, program int) error {
	attr := struct{ target, program, kind, flags, replace uint32 }{
		target: uint32(group), program: uint32(program), kind: unix.BPF_CGROUP_INET_EGRESS, flags: unix.BPF_F_ALLOW_MULTI,
	}
	_, err := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return os.NewSyscallError("bpf(BPF_PROG_ATTACH)", err)
}

func detachEgress(group, program int) error {
	attr := struct{ target, program, kind, flags uint32 }{
		target: uint32(group), program: uint32(program), kind: unix.BPF_CGROUP_INET_EGRESS,
	}
	_, err := bpf(unix.BPF_PROG_DETACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return os.NewSyscallError("bpf(BPF_PROG_DETACH)", err)
}

// maxPrograms is the most programs that a group takes (BPF_CGROUP_MAX_PROGS).
const maxPrograms = 64

// egressOf returns a descriptor of the program of ours at the group; -1 for none.
func egressOf(group int) (int, error) {
	ids := make([]uint32, maxPrograms)
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(&ids[0])
	// Linux 6.17 to 7.1 write revision whatever size they are told, as package
	// cgroups says.
	attr := struct {
		target, kind, queryFlags, attachFlags uint32
		ids                                   uint64
		count, _                              uint32
		programFlags, linkIDs, linkFlags      uint64
		revision                              uint64
	}{
		target: uint32(group), kind: unix.BPF_CGROUP_INET_EGRESS,
		ids: uint64(uintptr(unsafe.Pointer(&ids[0]))), count: maxPrograms,
	}
	if _, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return -1, os.NewSyscallError("bpf(BPF_PROG_QUERY)", err)
	}
	for _, id := range ids[:min(int(attr.count), maxPrograms)] {
		byID := struct{ id, next, flags uint32 }{id: id}
		fd, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&byID), unsafe.Sizeof(byID))
		if err != nil {
			continue // it has gone
		}
		if nameOf(fd) == programName() {
			return fd, nil
		}
		_ = unix.Close(fd) // somebody else's
	}
	return -1, nil
}

// nameOf is the name of a program, from struct bpf_prog_info.
func nameOf(program int) [16]byte {
	info := struct {
		kind, id              uint32
		tag                   [8]byte
		jitedLen, xlatedLen   uint32
		jited, xlated, loaded uint64
		createdBy, maps       uint32
		mapIDs                uint64
		name                  [16]byte
	}{}
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(&info)
	attr := struct {
		fd, length uint32
		info       uint64
	}{uint32(program), uint32(unsafe.Sizeof(info)), uint64(uintptr(unsafe.Pointer(&info)))}
	if _, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return [16]byte{}
	}
	return info.name
}

// bpf is bpf(2). Its descriptors are close-on-exec from birth.
func bpf(command uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(attr), size)
		runtime.KeepAlive(attr)
		if errno == 0 {
			return int(r), nil
		}
		if !errors.Is(errno, unix.EINTR) && !errors.Is(errno, unix.EAGAIN) {
			return -1, errno
		}
	}
}

// cgroupFilter is a program at a container's cgroup that throws away what its
// processes send.
type cgroupFilter struct{ Dir string }

// inGroup calls f with the directory and the program of ours there.
func (s *cgroupFilter) inGroup(f func(group, ours int) error) error {
	group, err := unix.Open(s.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: s.Dir, Err: err}
	}
	defer unix.Close(group)
	ours, err := egressOf(group)
	if err != nil {
		return err
	}
	if ours >= 0 {
		defer unix.Close(ours)
	}
	return f(group, ours)
}

func (s *cgroupFilter) has() (has bool, err error) {
	err = s.inGroup(func(_, ours int) error { has = ours >= 0; return nil })
	return has, err
}

func (s *cgroupFilter) put() error {
	return s.inGroup(func(group, _ int) error {
		program, err := loadProgram(unix.BPF_PROG_TYPE_CGROUP_SKB, 0) // 0: drop
		if err != nil {
			return err
		}
		defer unix.Close(program)
		return attachEgress(group, program)
	})
}

func (s *cgroupFilter) take() error {
	return s.inGroup(func(group, ours int) error { return detachEgress(group, ours) })
}

func (s *cgroupFilter) what() string { return "BPF program of cgroup " + s.Dir }

func (s *cgroupFilter) command(put bool) string {
	if !put {
		return "bpftool cgroup detach " + s.Dir + " egress name minictr_fault"
	}
	return "# drop.o is: SEC(\"cgroup_skb/egress\") int minictr_fault(void *packet) { return 0; }\n" +
		"bpftool prog load drop.o /sys/fs/bpf/drop && bpftool cgroup attach " + s.Dir + " egress pinned /sys/fs/bpf/drop multi"
}
