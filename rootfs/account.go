package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// The largest passwd or group file that is read, and the largest user or group
// number that Docker accepts (moby/sys/user, maxID).
const (
	maxAccountBytes = 16 << 20
	maxID           = 1<<31 - 1
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
		if gid, err = findGroup(parseGroup(data), name); err == nil {
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
	entry, err := findUser(parsePasswd(passwd), userName)
	if err != nil {
		return User{}, err
	}
	u.UID, u.GID, u.Name = entry.uid, entry.gid, entry.name
	if entry.home != "" {
		u.Home = entry.home
	}
	groups := parseGroup(group)
	if groupName != "" {
		u.GID, err = findGroup(groups, groupName)
		return u, err
	}
	for _, g := range groups {
		if u.Name != "" && slices.Contains(g.members, u.Name) {
			u.Groups = append(u.Groups, g.gid)
		}
	}
	return u, nil
}

// findUser returns the entry for a name or number. A number without an entry
// gives an entry with nothing but that number.
func findUser(entries []passwdEntry, name string) (passwdEntry, error) {
	if name == "" {
		name = "0"
	}
	id, isNumber, err := parseID(name)
	if err != nil {
		return passwdEntry{}, err
	}
	for _, e := range entries {
		if isNumber && e.uid == id || !isNumber && e.name == name {
			return e, nil
		}
	}
	if !isNumber {
		return passwdEntry{}, fmt.Errorf("no user %q in /etc/passwd", name)
	}
	return passwdEntry{uid: id}, nil
}

func findGroup(entries []groupEntry, name string) (uint32, error) {
	id, isNumber, err := parseID(name)
	if err != nil || isNumber {
		return id, err
	}
	for _, e := range entries {
		if e.name == name {
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

// parsePasswd reads the lines of a passwd file (passwd(5)) and passes over
// those that are none: comments, blank lines, missing or impossible numbers.
func parsePasswd(data []byte) []passwdEntry {
	var entries []passwdEntry
	for line := range bytes.Lines(data) {
		// name:password:UID:GID:GECOS:directory:shell
		f := strings.Split(string(bytes.TrimSpace(line)), ":")
		if len(f) < 4 || f[0] == "" || f[0][0] == '#' {
			continue
		}
		uid, uidOK, err1 := parseID(f[2])
		gid, gidOK, err2 := parseID(f[3])
		if !uidOK || !gidOK || err1 != nil || err2 != nil {
			continue
		}
		e := passwdEntry{name: f[0], uid: uid, gid: gid}
		if len(f) > 5 {
			e.home = f[5]
		}
		entries = append(entries, e)
	}
	return entries
}

type groupEntry struct {
	name    string
	gid     uint32
	members []string
}

// parseGroup reads the lines of a group file (group(5)) and passes over those
// that are none.
func parseGroup(data []byte) []groupEntry {
	var entries []groupEntry
	for line := range bytes.Lines(data) {
		// group_name:password:GID:user_list
		f := strings.Split(string(bytes.TrimSpace(line)), ":")
		if len(f) < 3 || f[0] == "" || f[0][0] == '#' {
			continue
		}
		gid, ok, err := parseID(f[2])
		if !ok || err != nil {
			continue
		}
		e := groupEntry{name: f[0], gid: gid}
		if len(f) > 3 && f[3] != "" {
			e.members = strings.Split(f[3], ",")
		}
		entries = append(entries, e)
	}
	return entries
}
