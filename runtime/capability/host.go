package capability

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// lastCapFile holds the number of the newest capability of the running kernel
// (Linux 3.2).
const lastCapFile = "/proc/sys/kernel/cap_last_cap"

// A Host is what limits the capabilities that can be given to a container.
type Host struct {
	Known Set // what the running kernel has
	Held  Set // what this process may pass on: its permitted and bounding sets
}

// Resolve reads the host's limits from /proc/sys/kernel/cap_last_cap, capget(2)
// and prctl(2) PR_CAPBSET_READ. The error is a *step.Error.
func Resolve() (Host, error) {
	known, err := resolveKnown()
	if err != nil {
		return Host{}, err
	}
	permitted, err := resolvePermitted()
	if err != nil {
		return Host{}, err
	}
	held := permitted & known
	for bit := range len(names) {
		one := Set(1) << bit
		if !held.Has(one) {
			continue
		}
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(bit), 0, 0, 0)
		if err != nil {
			return Host{}, step.Fail("read the bounding set for", bitName(bit), err)
		}
		if in == 0 {
			held &^= one
		}
	}
	return Host{Known: known, Held: held}, nil
}

// resolveKnown returns the capabilities that the kernel has and this table names.
func resolveKnown() (Set, error) {
	text, err := os.ReadFile(lastCapFile)
	if err != nil {
		return 0, step.Fail("read", lastCapFile, err)
	}
	last, err := parseLast(text)
	if err != nil {
		return 0, step.Fail("read", lastCapFile, err)
	}
	return upTo(last) & Named, nil
}

func parseLast(text []byte) (int, error) {
	last, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		return 0, err
	}
	if last < 0 || last > 63 {
		return 0, fmt.Errorf("capability number %d is not between 0 and 63", last)
	}
	return last, nil
}

// upTo is the set of the capabilities 0 to last. (For 63 the shift leaves zero,
// and zero minus one is every bit.)
func upTo(last int) Set { return Set(1)<<(last+1) - 1 }

// resolvePermitted returns the permitted set of the calling thread.
func resolvePermitted() (Set, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // bits 0–31 and 32–63
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, step.Fail("capget", "", err)
	}
	return Set(data[0].Permitted) | Set(data[1].Permitted)<<32, nil
}

// UnavailableError is a capability that exists but cannot be given here.
type UnavailableError struct {
	Name   string // "CAP_BPF"
	Reason string // "this kernel does not have it"
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("capability %s: %s", e.Name, e.Reason)
}

// Apply returns the base set changed by the names of --cap-add and --cap-drop,
// by Docker's rules (moby daemon/pkg/oci/caps/utils.go, TweakCapabilities):
//
//	add has ALL    everything that is held, less the names in drop
//	drop has ALL   the names in add and nothing else
//	otherwise      base, less drop, and then add: a name in both is added
//
// ALL in both lists is the first case, and ALL in drop then takes nothing away.
// What this process does not hold is left out of base and of ALL without a
// word, but is an *UnavailableError when add names it. (Docker refuses it in drop
// as well; here it has been dropped already.) A name that is no capability is an
// *UnknownError in either list.
func (h Host) Apply(base Set, add, drop []string) (Set, error) {
	added, addAll, err := parseList(add)
	if err != nil {
		return 0, err
	}
	dropped, dropAll, err := parseList(drop)
	if err != nil {
		return 0, err
	}
	if err := h.available(added); err != nil {
		return 0, err
	}
	switch {
	case addAll:
		return h.Held &^ dropped, nil
	case dropAll:
		return added, nil
	}
	return base&h.Held&^dropped | added, nil
}

// parseList returns the capabilities that the list names one by one, and
// whether ALL is among them.
func parseList(list []string) (named Set, all bool, err error) {
	isAll := func(name string) bool { return strings.EqualFold(name, "ALL") }
	named, err = ParseNames(slices.DeleteFunc(slices.Clone(list), isAll))
	return named, slices.ContainsFunc(list, isAll), err
}

func (h Host) available(want Set) error {
	if missing := want &^ h.Known; missing != 0 {
		return &UnavailableError{missing.Names()[0], "this kernel does not have it"}
	}
	if missing := want &^ h.Held; missing != 0 {
		return &UnavailableError{missing.Names()[0], "minictr was started without it and cannot give it"}
	}
	return nil
}
