package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// The largest passwd or group file that is read, the largest user or group number
// that Docker accepts (moby/sys/user, maxID), and the most groups that the kernel
// gives a process (NGROUPS_MAX).
const (
	maxAccountBytes = 16 << 20
	maxID           = 1<<31 - 1
	maxGroups       = 65536
)

// A User is who a process in the container runs as.
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary; none when the group was named
	Home     string   // "/" where passwd says nothing
	Name     string   // as in passwd; empty for a number that it does not have
}

// LookupUser resolves "user[:group]", each a name or a number, by the root's
// own /etc/passwd and /etc/group, with Docker's semantics: nothing means user
// 0; a number counts as a user id even where a name looks like one; a number
// needs no entry, a name does; the group defaults to that of the entry or 0;
// naming a group leaves the supplementary groups away. The files are parsed
// here, never by the host's name services. Missing files count as empty.
func LookupUser(rootfd int, spec string) (User, error) {
	u, err := lookupUser(rootfd, spec)
	if err != nil {
		return User{}, step.Fail("look up user", strconv.Quote(spec), err)
	}
	return u, nil
}

// LookupGroup resolves a group name or number by the root's own /etc/group, as
// for docker run --group-add.
func LookupGroup(rootfd int, name string) (uint32, error) {
	data, err := readAccounts(rootfd, "/etc/group")
	if err == nil {
		var gid uint32
		if gid, err = findGroup(data, name); err == nil {
			return gid, nil
		}
	}
	return 0, step.Fail("look up group", strconv.Quote(name), err)
}

func lookupUser(rootfd int, spec string) (User, error) {
	passwd, err := readAccounts(rootfd, "/etc/passwd")
	if err != nil {
		return User{}, err
	}
	group, err := readAccounts(rootfd, "/etc/group")
	if err != nil {
		return User{}, err
	}
	return resolveUser(passwd, group, spec)
}

func readAccounts(rootfd int, name string) ([]byte, error) {
	data, err := ReadFile(rootfd, name, maxAccountBytes)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	return data, err
}

// resolveUser is the pure part of LookupUser.
func resolveUser(passwd, group []byte, spec string) (User, error) {
	userName, groupName, _ := strings.Cut(spec, ":")
	u := User{Home: "/"}
	entry, err := findUser(passwd, userName)
	if err != nil {
		return User{}, err
	}
	u.UID, u.GID, u.Name = entry.uid, entry.gid, entry.name
	if entry.home != "" {
		u.Home = entry.home
	}
	if groupName != "" {
		u.GID, err = findGroup(group, groupName)
		return u, err
	}
	for g := range parseGroup(group) {
		if u.Name == "" || !g.has(u.Name) {
			continue
		}
		if len(u.Groups) == maxGroups {
			return User{}, fmt.Errorf("%s is in more than %d groups", strconv.Quote(u.Name), maxGroups)
		}
		u.Groups = append(u.Groups, g.gid)
	}
	return u, nil
}

// findUser returns the entry for a name or number. A number without an entry
// gives an entry with nothing but that number.
func findUser(passwd []byte, name string) (passwdEntry, error) {
	if name == "" {
		name = "0"
	}
	id, isNumber, err := parseID(name)
	if err != nil {
		return passwdEntry{}, err
	}
	for e := range parsePasswd(passwd) {
		if isNumber && e.uid == id || !isNumber && e.name == name {
			return e, nil
		}
	}
	if !isNumber {
		return passwdEntry{}, fmt.Errorf("no user %q in /etc/passwd", name)
	}
	return passwdEntry{uid: id}, nil
}

func findGroup(group []byte, name string) (uint32, error) {
	id, isNumber, err := parseID(name)
	if err != nil || isNumber {
		return id, err
	}
	for e := range parseGroup(group) {
		if string(e.name) == name {
			return e.gid, nil
		}
	}
	return 0, fmt.Errorf("no group %q in /etc/group", name)
}

// parseID reads a user or group number. What is a number, but out of range, is
// an error; what is none is a name.
func parseID(s string) (id uint32, isNumber bool, err error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if errors.Is(err, strconv.ErrSyntax) {
		return 0, false, nil
	}
	if err != nil || n < 0 || n > maxID {
		return 0, false, fmt.Errorf("%s is outside 0-%d", s, maxID)
	}
	return uint32(n), true, nil
}

type passwdEntry struct {
	name     string
	uid, gid uint32
	home     string
}

// parsePasswd yields the lines of a passwd file (passwd(5)) and passes over
// those that are none: comments, blank lines, missing or impossible numbers.
func parsePasswd(data []byte) iter.Seq[passwdEntry] {
	return func(yield func(passwdEntry) bool) {
		fields := make([][]byte, 0, 7)
		for line := range bytes.Lines(data) {
			// name:password:UID:GID:GECOS:directory:shell
			f := accountFields(line, fields)
			if len(f) < 4 {
				continue
			}
			uid, uidOK, err1 := parseID(string(f[2]))
			gid, gidOK, err2 := parseID(string(f[3]))
			if !uidOK || !gidOK || err1 != nil || err2 != nil {
				continue
			}
			e := passwdEntry{name: string(f[0]), uid: uid, gid: gid}
			if len(f) > 5 {
				e.home = string(f[5])
			}
			if !yield(e) {
				return
			}
		}
	}
}

// accountFields splits a line into fields, of which into has room for the first
// few; none if the line is empty or a comment, or no text. They are parts of the
// line, which may have been made as long as the file.
func accountFields(line []byte, into [][]byte) [][]byte {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] == ':' || line[0] == '#' || bytes.IndexByte(line, 0) >= 0 {
		return nil
	}
	for more := true; more && len(into) < cap(into); {
		var field []byte
		field, line, more = bytes.Cut(line, []byte(":"))
		into = append(into, field)
	}
	return into
}

type groupEntry struct {
	name    []byte
	gid     uint32
	members []byte // with commas between them
}

func (g groupEntry) has(member string) bool {
	for m := range bytes.SplitSeq(g.members, []byte(",")) {
		if string(m) == member {
			return true
		}
	}
	return false
}

// parseGroup yields the lines of a group file (group(5)) and passes over those
// that are none.
func parseGroup(data []byte) iter.Seq[groupEntry] {
	return func(yield func(groupEntry) bool) {
		fields := make([][]byte, 0, 4)
		for line := range bytes.Lines(data) {
			// group_name:password:GID:user_list
			f := accountFields(line, fields)
			if len(f) < 3 {
				continue
			}
			gid, ok, err := parseID(string(f[2]))
			if !ok || err != nil {
				continue
			}
			e := groupEntry{name: f[0], gid: gid}
			if len(f) > 3 {
				e.members = f[3]
			}
			if !yield(e) {
				return
			}
		}
	}
}
