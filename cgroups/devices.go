package cgroups

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// DefaultDevices returns the rules that Docker and runc give a container: deny
// all, then allow mknod of anything (what was made still cannot be opened), and
// the devices of the OCI runtime-spec (config-linux.md, "Default Devices").
func DefaultDevices() []specs.LinuxDeviceCgroup {
	rules := []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	for _, d := range defaultDevices {
		rules = append(rules, allow(d.kind, d.major, d.minor, d.access))
	}
	return rules
}

// AllDevices returns the rule of a privileged container: allow all.
func AllDevices() []specs.LinuxDeviceCgroup {
	return []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
}

const anyNumber = -1

var defaultDevices = []struct {
	kind         string
	major, minor int64
	access       string
}{
	{"c", anyNumber, anyNumber, "m"},
	{"b", anyNumber, anyNumber, "m"},
	{"c", 1, 3, "rwm"},           // null
	{"c", 1, 5, "rwm"},           // zero
	{"c", 1, 7, "rwm"},           // full
	{"c", 1, 8, "rwm"},           // random
	{"c", 1, 9, "rwm"},           // urandom
	{"c", 5, 0, "rwm"},           // tty
	{"c", 5, 1, "rwm"},           // console
	{"c", 5, 2, "rwm"},           // ptmx
	{"c", 136, anyNumber, "rwm"}, // pts/0, pts/1, …
}

func allow(kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
	rule := specs.LinuxDeviceCgroup{Allow: true, Type: kind, Access: access}
	if major != anyNumber {
		rule.Major = &major
	}
	if minor != anyNumber {
		rule.Minor = &minor
	}
	return rule
}

// A deviceMatch is what a rule applies to: "c 1:3". Majors and minors may be
// anyNumber.
type deviceMatch struct {
	kind         byte // 'c', 'b', or 'a' for all
	major, minor int64
}

func (m deviceMatch) String() string {
	if m.kind == 'a' {
		return "a *:*"
	}
	return fmt.Sprintf("%c %s:%s", m.kind, starred(m.major), starred(m.minor))
}

func starred(n int64) string {
	if n == anyNumber {
		return "*"
	}
	return strconv.FormatInt(n, 10)
}

// access is a set of the operations on a device, in the bits of
// bpf_cgroup_dev_ctx (linux/bpf.h, BPF_DEVCG_ACC_*).
type access uint8

const (
	accessMknod access = 1 << iota
	accessRead
	accessWrite

	accessAll = accessMknod | accessRead | accessWrite
)

func (a access) String() string {
	text := ""
	for _, bit := range []struct {
		access access
		letter string
	}{{accessRead, "r"}, {accessWrite, "w"}, {accessMknod, "m"}} {
		if a&bit.access != 0 {
			text += bit.letter
		}
	}
	return text
}

// parseRule takes an OCI rule apart. A rule of type a is for every device and
// every access, as in the kernel's v1, which knows no other.
func parseRule(rule specs.LinuxDeviceCgroup) (deviceMatch, access, error) {
	m := deviceMatch{kind: 'a', major: number(rule.Major), minor: number(rule.Minor)}
	set, err := parseAccess(rule.Access)
	if err != nil {
		return m, 0, err
	}
	switch rule.Type {
	case "", "a":
		if m.major != anyNumber || m.minor != anyNumber || set != 0 && set != accessAll {
			return m, 0, errors.New("a rule for devices of type a is for all numbers and for rwm")
		}
		return m, accessAll, nil
	case "b", "c":
		m.kind = rule.Type[0]
	default:
		return m, 0, fmt.Errorf("type: unknown device type %q", rule.Type)
	}
	if set == 0 {
		return m, 0, errors.New("access: empty")
	}
	for _, n := range []int64{m.major, m.minor} {
		if n < anyNumber || n > 1<<32-1 {
			return m, 0, fmt.Errorf("major, minor: %d is no device number", n)
		}
	}
	return m, set, nil
}

// number reads a major or minor: absent and -1 stand for any.
func number(p *int64) int64 {
	if p == nil {
		return anyNumber
	}
	return *p
}

func parseAccess(text string) (access, error) {
	var set access
	for _, letter := range text {
		switch letter {
		case 'r':
			set |= accessRead
		case 'w':
			set |= accessWrite
		case 'm':
			set |= accessMknod
		default:
			return 0, fmt.Errorf("access: unknown letter %q, want r, w, m", letter)
		}
	}
	return set, nil
}

// allowsAll tells whether the policy has no exception from "allow all".
func (p policy) allowsAll() bool { return p.allow && len(p.exceptions) == 0 }

// A policy is the state of a v1 devices group: allow or deny everything, but
// for a list of exceptions.
type policy struct {
	allow      bool
	exceptions []exception
}

type exception struct {
	match  deviceMatch
	access access
}

// policyV1 plays the rules through as the kernel's v1 does (security/
// device_cgroup.c), from a group that denies all: a rule of type a starts anew,
// any other adds to the exceptions or takes from them. A rule that takes a part
// out of a wider exception is an error, as in runc: the kernel would pass over
// it in silence.
func policyV1(rules []specs.LinuxDeviceCgroup) (policy, error) {
	var p policy
	for i, rule := range rules {
		m, set, err := parseRule(rule)
		switch {
		case err != nil:
		case m.kind == 'a':
			p = policy{allow: rule.Allow}
		case rule.Allow != p.allow:
			p.add(m, set)
		default:
			err = p.remove(m, set)
		}
		if err != nil {
			return policy{}, fmt.Errorf("linux.resources.devices[%d]: %w", i, err)
		}
	}
	return p, nil
}

func (p *policy) add(m deviceMatch, set access) {
	for i := range p.exceptions {
		if p.exceptions[i].match == m {
			p.exceptions[i].access |= set
			return
		}
	}
	p.exceptions = append(p.exceptions, exception{m, set})
}

func (p *policy) remove(m deviceMatch, set access) error {
	kept := p.exceptions[:0]
	for _, e := range p.exceptions {
		if e.match != m && e.access&set != 0 && e.match.overlaps(m) {
			if e.match.covers(m) {
				return fmt.Errorf("cgroup v1 cannot take %s %s out of the wider %s %s", m, set, e.match, e.access)
			}
			if !m.covers(e.match) {
				return fmt.Errorf("cgroup v1 cannot take %s %s out of %s %s, which it crosses", m, set, e.match, e.access)
			}
		}
		if m.covers(e.match) {
			e.access &^= set
		}
		if e.access != 0 {
			kept = append(kept, e)
		}
	}
	p.exceptions = kept
	return nil
}

// covers tells whether m matches every device that other matches.
func (m deviceMatch) covers(other deviceMatch) bool {
	return m.kind == other.kind &&
		(m.major == anyNumber || m.major == other.major) &&
		(m.minor == anyNumber || m.minor == other.minor)
}

// overlaps tells whether there is a device that both match.
func (m deviceMatch) overlaps(other deviceMatch) bool {
	same := func(a, b int64) bool { return a == b || a == anyNumber || b == anyNumber }
	return m.kind == other.kind && same(m.major, other.major) && same(m.minor, other.minor)
}

// A DeviceLine is one write to a devices group of v1.
type DeviceLine struct {
	File string // "devices.allow" or "devices.deny"
	Line string // "c 1:3 rwm"
}

// lines returns what brings a new group of v1, which allows what its parent
// does, to the policy.
func (p policy) lines() []DeviceLine {
	all, other := "devices.deny", "devices.allow"
	if p.allow {
		all, other = other, all
	}
	lines := []DeviceLine{{all, "a"}}
	for _, e := range p.exceptions {
		lines = append(lines, DeviceLine{other, e.match.String() + " " + e.access.String()})
	}
	return lines
}

// AllowDevices confines a group of the v1 devices hierarchy to the devices of
// its lines. Undo has nothing to do: the lines go with the group.
type AllowDevices struct {
	Dir   string
	Lines []DeviceLine
}

// Apply writes the lines, opening each file once.
func (s AllowDevices) Apply() error {
	descriptors := make(map[string]int)
	defer func() {
		for _, fd := range descriptors {
			closeFile(fd)
		}
	}()
	for _, l := range s.Lines {
		file := filepath.Join(s.Dir, l.File)
		fd, ok := descriptors[l.File]
		if !ok {
			var err error
			if fd, err = openFile(file, unix.O_WRONLY); err != nil {
				return step.Fail("open", file, err)
			}
			descriptors[l.File] = fd
		}
		if err := writeTo(fd, l.Line); err != nil {
			return step.Fail("write "+l.Line, "to "+file, err)
		}
	}
	return nil
}

// Undo does nothing; see the type.
func (s AllowDevices) Undo() error { return nil }

// Check reads devices.list, which has a line for each exception of a group that
// denies by default, and nothing but "a *:* rwm" in one that allows.
func (s AllowDevices) Check() error {
	file := filepath.Join(s.Dir, "devices.list")
	content, err := readFile(file)
	if err != nil {
		return step.Fail("read", file, err)
	}
	have := "\n" + string(content)
	for _, l := range s.Lines {
		if l.File == "devices.allow" && l.Line != "a" && !strings.Contains(have, "\n"+l.Line+"\n") {
			return step.Fail("check", file, fmt.Errorf("%q is not there", l.Line))
		}
	}
	if deniesAll := s.Lines[0].File == "devices.deny"; deniesAll == strings.Contains(have, "\na *:* rwm\n") {
		return step.Fail("check", file, errors.New("wrong default"))
	}
	return nil
}

// Words implements step.Step.
func (s AllowDevices) Words() string {
	return fmt.Sprintf("let the group use devices by %d rules", len(s.Lines))
}

func (s AllowDevices) String() string {
	var lines []string
	for _, l := range s.Lines {
		lines = append(lines, fmt.Sprintf("echo %s > %s", quote(l.Line), quote(filepath.Join(s.Dir, l.File))))
	}
	return strings.Join(lines, "\n")
}
