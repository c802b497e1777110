package lab

import (
	"os/exec"
	"slices"
	"strings"
)

// packages names the Debian package of each command of the host that a lab needs. All
// else is in minictr/base.
func packages() map[string]string {
	return map[string]string{"ip": "iproute2", "sh": "dash", "nft": "nftables", "nsenter": "util-linux"}
}

// A MissingCommandsError is that the machine lacks what a lab needs.
type MissingCommandsError struct{ Commands []string }

func (e *MissingCommandsError) Error() string {
	return "a lab needs commands that are not on this machine: " + strings.Join(e.Commands, ", ")
}

// Hint says what may help.
func (e *MissingCommandsError) Hint() string {
	var names []string
	for _, c := range e.Commands {
		names = append(names, packages()[c])
	}
	slices.Sort(names)
	return "Debian and Ubuntu: apt install " + strings.Join(slices.Compact(names), " ")
}

// missing looks whether the exercise can be done on this machine.
func missing(e Exercise) error {
	var not []string
	for _, name := range append([]string{"ip", "sh"}, e.needs...) {
		if !found(name) {
			not = append(not, name)
		}
	}
	if len(not) > 0 {
		return &MissingCommandsError{not}
	}
	return nil
}

// found reports whether a command is in PATH, or where root's are.
func found(name string) bool {
	for _, path := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if _, err := exec.LookPath(path); err == nil {
			return true
		}
	}
	return false
}
