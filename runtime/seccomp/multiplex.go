package seccomp

// A multiplexer is a system call that holds others: socketcall(2), ipc(2). Its
// first argument says which is meant, and the meant call's own arguments lie
// behind a pointer, where a filter cannot look.
type multiplexer struct {
	name    string
	members []member
}

// A member is a call that can be made through a multiplexer.
type member struct {
	name string
	code uint64 // value of the multiplexer's first argument
}

// multiplexers of the older architectures: linux/net.h and linux/ipc.h.
var multiplexers = [...]multiplexer{
	{"socketcall", []member{
		{"socket", 1},
		{"bind", 2},
		{"connect", 3},
		{"listen", 4},
		{"accept", 5},
		{"getsockname", 6},
		{"getpeername", 7},
		{"socketpair", 8},
		{"send", 9},
		{"recv", 10},
		{"sendto", 11},
		{"recvfrom", 12},
		{"shutdown", 13},
		{"setsockopt", 14},
		{"getsockopt", 15},
		{"sendmsg", 16},
		{"recvmsg", 17},
		{"accept4", 18},
		{"recvmmsg", 19},
		{"sendmmsg", 20},
	}},
	{"ipc", []member{
		{"semop", 1},
		{"semget", 2},
		{"semctl", 3},
		{"semtimedop", 4},
		{"msgsnd", 11},
		{"msgrcv", 12},
		{"msgget", 13},
		{"msgctl", 14},
		{"shmat", 21},
		{"shmdt", 22},
		{"shmget", 23},
		{"shmctl", 24},
	}},
}

// multiplexed returns the name of the call that holds the named one, and the
// code for it.
func multiplexed(name string) (holder string, code uint64, ok bool) {
	for _, m := range multiplexers {
		for _, one := range m.members {
			if one.name == name {
				return m.name, one.code, true
			}
		}
	}
	return "", 0, false
}

// through returns the rule for a call as the rule for its multiplexer: the
// code takes the place of a condition on the first argument. This is what
// libseccomp does (abi_rule_add), down to keeping the other conditions.
func (r *rule) through(code uint64) *rule {
	held := *r
	held.conditions = []condition{{index: 0, operator: equal, mask: ^uint64(0), value: code}}
	for _, c := range r.conditions {
		if c.index != 0 {
			held.conditions = append(held.conditions, c)
		}
	}
	return &held
}
