// Package capability names the privileges into which Linux divides the power
// of root, and works out which of them a container gets.
//
// The kernel knows a capability as a bit: CAP_CHOWN is bit 0, CAP_NET_ADMIN bit
// 12 (capabilities(7), linux/capability.h). People write names, with the prefix
// or without, in either case; a Set is what both become, 64 bits of which Linux
// uses 41 so far.
//
// Which bits may be given is up to the host. An old kernel knows fewer of them
// than this table, and root inside a container or a sandbox may itself have
// lost some. Resolve reads both facts; Host.Apply is pure, and turns a base set
// and the lists of --cap-add and --cap-drop into the container's set by the
// rules of docker run.
package capability

import (
	"fmt"
	"math/bits"
	"strings"
)

// A Set is a set of capabilities: bit n is the capability with the number n of
// linux/capability.h. The zero value is the empty set.
type Set uint64

// names lists the capabilities in the order of their numbers, without CAP_.
var names = [...]string{
	"CHOWN",
	"DAC_OVERRIDE",
	"DAC_READ_SEARCH",
	"FOWNER",
	"FSETID",
	"KILL",
	"SETGID",
	"SETUID",
	"SETPCAP",
	"LINUX_IMMUTABLE",
	"NET_BIND_SERVICE",
	"NET_BROADCAST",
	"NET_ADMIN",
	"NET_RAW",
	"IPC_LOCK",
	"IPC_OWNER",
	"SYS_MODULE",
	"SYS_RAWIO",
	"SYS_CHROOT",
	"SYS_PTRACE",
	"SYS_PACCT",
	"SYS_ADMIN",
	"SYS_BOOT",
	"SYS_NICE",
	"SYS_RESOURCE",
	"SYS_TIME",
	"SYS_TTY_CONFIG",
	"MKNOD",
	"LEASE",
	"AUDIT_WRITE",
	"AUDIT_CONTROL",
	"SETFCAP",
	"MAC_OVERRIDE",
	"MAC_ADMIN",
	"SYSLOG",
	"WAKE_ALARM",
	"BLOCK_SUSPEND",
	"AUDIT_READ",
	"PERFMON",            // Linux 5.8
	"BPF",                // Linux 5.8
	"CHECKPOINT_RESTORE", // Linux 5.9
}

// Named is every capability that has a name here, up to
// CAP_CHECKPOINT_RESTORE of Linux 5.9, the newest there is.
const Named Set = 1<<len(names) - 1

// Default is what Docker gives a container that asks for nothing: what the
// usual root processes of an image need (chown, switching users, low ports,
// raw sockets for ping), and nothing that reaches the host.
// Source: moby daemon/pkg/oci/caps/defaults.go.
const Default Set = 1<<0 | // CHOWN
	1<<1 | // DAC_OVERRIDE
	1<<3 | // FOWNER
	1<<4 | // FSETID
	1<<5 | // KILL
	1<<6 | // SETGID
	1<<7 | // SETUID
	1<<8 | // SETPCAP
	1<<10 | // NET_BIND_SERVICE
	1<<13 | // NET_RAW
	1<<18 | // SYS_CHROOT
	1<<27 | // MKNOD
	1<<29 | // AUDIT_WRITE
	1<<31 // SETFCAP

// UnknownError is a name that is no capability.
type UnknownError struct {
	Name string // as it was written
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("unknown capability %q", e.Name)
}

// Parse returns the one capability of that name, or, for "ALL", Named. Case and
// the prefix CAP_ do not matter: "NET_ADMIN", "cap_net_admin" and
// "CAP_NET_ADMIN" are the same. The error is an *UnknownError.
func Parse(name string) (Set, error) {
	short := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	if strings.EqualFold(name, "ALL") {
		return Named, nil
	}
	for bit, known := range names {
		if short == known {
			return 1 << bit, nil
		}
	}
	return 0, &UnknownError{Name: name}
}

// ParseNames returns the set of the named capabilities, as an OCI config lists
// them. The error is an *UnknownError for the first name that is none.
func ParseNames(list []string) (Set, error) {
	var set Set
	for _, name := range list {
		one, err := Parse(name)
		if err != nil {
			return 0, err
		}
		set |= one
	}
	return set, nil
}

// Has says whether all of the given capabilities are in the set.
func (s Set) Has(all Set) bool { return s&all == all }

// Names lists the capabilities by name, "CAP_CHOWN", in the order of their
// numbers. A bit without a name appears as its number: "CAP_41".
func (s Set) Names() []string {
	list := make([]string, 0, bits.OnesCount64(uint64(s)))
	for rest := uint64(s); rest != 0; rest &= rest - 1 {
		list = append(list, bitName(bits.TrailingZeros64(rest)))
	}
	return list
}

// String lists the names with a comma between them, "none" for the empty set.
func (s Set) String() string {
	if s == 0 {
		return "none"
	}
	return strings.Join(s.Names(), ",")
}

func bitName(bit int) string {
	if bit < len(names) {
		return "CAP_" + names[bit]
	}
	return fmt.Sprintf("CAP_%d", bit)
}
