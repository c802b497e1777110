package cgroups

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A Program is a BPF program that is attached to a group.
type Program struct {
	Attach string // where, as bpftool(8) names it: "ingress", "connect4", …
	ID     uint32
}

// NetworkPrograms lists the programs attached to the group of the directory, of cgroup
// v2, that see packets or the calls of sockets and may refuse them. A group of v1 has
// none.
func NetworkPrograms(dir string) ([]Program, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close() // a directory: nothing is lost with it
	var list []Program
	for _, place := range networkPlaces() {
		ids, err := attachedOf(int(f.Fd()), place.kind)
		if errors.Is(err, unix.EBADF) || errors.Is(err, unix.EINVAL) { // v1, or a kernel without such a place
			continue
		}
		if err != nil {
			return list, os.NewSyscallError("bpf(BPF_PROG_QUERY)", err)
		}
		for _, id := range ids {
			list = append(list, Program{place.name, id})
		}
	}
	return list, nil
}

// Detach takes the program off the group of the directory, as bpftool cgroup detach does.
func (p Program) Detach(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close() // a directory: nothing is lost with it
	program, err := programByID(p.ID)
	if err != nil {
		return os.NewSyscallError("bpf(BPF_PROG_GET_FD_BY_ID)", err)
	}
	defer closeFile(program)
	for _, place := range networkPlaces() {
		if place.name == p.Attach {
			return os.NewSyscallError("bpf(BPF_PROG_DETACH)", detachProgram(int(f.Fd()), program, place.kind))
		}
	}
	return fmt.Errorf("detach program %d: no such place: %s", p.ID, p.Attach)
}

// networkPlaces are the places of linux/bpf.h, enum bpf_attach_type.
func networkPlaces() []struct {
	name string
	kind uint32
} {
	return []struct {
		name string
		kind uint32
	}{
		{"ingress", unix.BPF_CGROUP_INET_INGRESS},
		{"egress", unix.BPF_CGROUP_INET_EGRESS},
		{"sock_create", unix.BPF_CGROUP_INET_SOCK_CREATE},
		{"bind4", unix.BPF_CGROUP_INET4_BIND},
		{"bind6", unix.BPF_CGROUP_INET6_BIND},
		{"connect4", unix.BPF_CGROUP_INET4_CONNECT},
		{"connect6", unix.BPF_CGROUP_INET6_CONNECT},
		{"sendmsg4", unix.BPF_CGROUP_UDP4_SENDMSG},
		{"sendmsg6", unix.BPF_CGROUP_UDP6_SENDMSG},
		{"recvmsg4", unix.BPF_CGROUP_UDP4_RECVMSG},
		{"recvmsg6", unix.BPF_CGROUP_UDP6_RECVMSG},
	}
}
