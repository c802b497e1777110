package namespaces

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Kind is a kind of namespace, by the name of its link in /proc/PID/ns.
type Kind string

// The kinds of namespaces, namespaces(7).
const (
	Mount   Kind = "mnt"
	Network Kind = "net"
	PID     Kind = "pid"
	UTS     Kind = "uts"
	IPC     Kind = "ipc"
	User    Kind = "user"
	Cgroup  Kind = "cgroup" // Linux 4.6
	Time    Kind = "time"   // Linux 5.6
)

// Kinds are all kinds, in the order of lsns(8).
func Kinds() []Kind { return []Kind{Mount, Network, PID, UTS, IPC, User, Cgroup, Time} }

// flags are the flags of clone(2) and setns(2), in the order of Kinds.
var flags = [...]uint64{unix.CLONE_NEWNS, unix.CLONE_NEWNET, unix.CLONE_NEWPID, unix.CLONE_NEWUTS, unix.CLONE_NEWIPC, unix.CLONE_NEWUSER, unix.CLONE_NEWCGROUP, unix.CLONE_NEWTIME}

// Flag is the kind's flag of clone(2) and setns(2): CLONE_NEWNET. It is 0 for what
// is no kind.
func (k Kind) Flag() uint64 {
	if i := k.index(); i >= 0 {
		return flags[i]
	}
	return 0
}

func (k Kind) index() int { return slices.Index(Kinds(), k) }

// kindOf is the kind that has the flag, which is what NS_GET_NSTYPE returns.
func kindOf(flag int) (Kind, bool) {
	i := slices.Index(flags[:], uint64(flag))
	if i < 0 {
		return "", false
	}
	return Kinds()[i], true
}

// spellings are names that others have for kinds: nsenter's and unshare's options.
var spellings = map[string]Kind{"mount": Mount, "network": Network}

// ParseKind reads the name of a kind.
func ParseKind(name string) (Kind, error) {
	if k := Kind(name); k.index() >= 0 {
		return k, nil
	}
	if k, ok := spellings[name]; ok {
		return k, nil
	}
	return "", fmt.Errorf("unknown type of namespace %q; there are %s", name, strings.Join(names(), ", "))
}

func names() (list []string) {
	for _, k := range Kinds() {
		list = append(list, string(k))
	}
	return list
}
