package cgroups

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of bpf(2) that device rules need. x/sys has none of them. Each
// attribute struct is a prefix of union bpf_attr; the kernel takes what lies
// beyond as zero. This is the package's only unsafe file.

// loadAttempts bounds the retries of a load that signals interrupt: the
// verifier gives up with EAGAIN (Linux 4.20), and the Go runtime's preemption
// signals come every 10 ms.
const loadAttempts = 30

// loadProgram has the kernel verify a device program and returns its
// descriptor.
func loadProgram(program []instruction) (int, error) {
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
		kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, count: uint32(len(program)),
		instructions: uint64(uintptr(unsafe.Pointer(&program[0]))),
		license:      uint64(uintptr(unsafe.Pointer(&license[0]))),
		name:         [16]byte{'m', 'i', 'n', 'i', 'c', 't', 'r', '_', 'd', 'e', 'v', 'i', 'c', 'e', 's'},
		attachType:   unix.BPF_CGROUP_DEVICE,
	}
	for attempt := 1; ; attempt++ {
		fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		if !errors.Is(err, unix.EAGAIN) || attempt == loadAttempts {
			return fd, err
		}
	}
}

// attachProgram attaches a program to a group, in the place of the one that is
// attached already (BPF_F_REPLACE, Linux 5.6).
func attachProgram(group, program int) error {
	ids, err := attachedPrograms(group)
	if err != nil {
		return err
	}
	attr := struct{ target, program, kind, flags, replace uint32 }{
		target: uint32(group), program: uint32(program),
		kind: unix.BPF_CGROUP_DEVICE, flags: unix.BPF_F_ALLOW_MULTI,
	}
	if len(ids) == 1 {
		old, err := programByID(ids[0])
		if err != nil {
			return err
		}
		defer closeFile(old)
		attr.replace, attr.flags = uint32(old), unix.BPF_F_ALLOW_MULTI|unix.BPF_F_REPLACE
	}
	_, err = bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// maxAttached is the most programs that a group takes (BPF_CGROUP_MAX_PROGS).
const maxAttached = 64

// attachedPrograms returns the ids of the device programs attached to the group
// itself.
func attachedPrograms(group int) ([]uint32, error) { return attachedOf(group, unix.BPF_CGROUP_DEVICE) }

// attachedOf is the same for programs of another kind.
func attachedOf(group int, kind uint32) ([]uint32, error) {
	ids := make([]uint32, maxAttached)
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(&ids[0])
	// Linux 6.17 to 7.1 write revision whatever size they are told (fixed by
	// 21c4b99b27f3), so the struct goes that far.
	attr := struct {
		target, kind, queryFlags, attachFlags uint32
		ids                                   uint64
		count, _                              uint32
		programFlags, linkIDs, linkFlags      uint64
		revision                              uint64
	}{
		target: uint32(group), kind: kind,
		ids: uint64(uintptr(unsafe.Pointer(&ids[0]))), count: maxAttached,
	}
	// Older kernels refuse a struct that is longer than theirs unless the rest
	// is zero, which it is.
	if _, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return nil, err
	}
	return ids[:min(int(attr.count), maxAttached)], nil
}

// detachProgram takes a program off a group.
func detachProgram(group, program int, kind uint32) error {
	attr := struct{ target, program, kind uint32 }{uint32(group), uint32(program), kind}
	_, err := bpf(unix.BPF_PROG_DETACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

func programByID(id uint32) (int, error) {
	attr := struct{ id, next, flags uint32 }{id: id}
	return bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

// bpf is bpf(2). Its descriptors are close-on-exec from birth.
func bpf(command uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(attr), size)
		runtime.KeepAlive(attr)
		if errno == 0 {
			return int(r), nil
		}
		if errno != unix.EINTR {
			return -1, errno
		}
	}
}
