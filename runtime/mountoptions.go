package runtime

import (
	"strings"

	"golang.org/x/sys/unix"
)

// mountOptions is a list of mount(8) options, sorted by what the kernel takes
// where: attributes of the mount, its propagation, and the file system's own.
type mountOptions struct {
	set, clear  uint64   // MOUNT_ATTR_*
	recursive   bool     // rbind: the mounts below too
	propagation uint64   // MS_PRIVATE, …, or 0
	deep        bool     // the propagation of the mounts below too
	data        []string // key or key=value, the file system's own
	bind        bool
	// writableBelow leaves the mounts below as they are when a bind mount becomes
	// read-only, as Docker did before version 25.
	writableBelow bool
	idmap         *string // what stands behind idmap=, or nil
}

// Options of ours, beside those of mount(8).
const (
	optionIDMap         = "idmap"          // as podman and crun have it
	optionWritableBelow = "writable-below" // --mount bind-recursive=writable
)

// mountOption is what one option changes.
type mountOption struct {
	set, clear  uint64
	propagation uint64
	bind, deep  bool
}

// optionTable holds the options that are not the file system's own; see mount(8)
// and OCI runtime-spec, config.md, "Linux mount options".
var optionTable = map[string]mountOption{
	"defaults":    {},
	"ro":          {set: unix.MOUNT_ATTR_RDONLY},
	"rro":         {set: unix.MOUNT_ATTR_RDONLY}, // all of a bind mount; "ro" is the same here
	"rw":          {clear: unix.MOUNT_ATTR_RDONLY},
	"nosuid":      {set: unix.MOUNT_ATTR_NOSUID},
	"suid":        {clear: unix.MOUNT_ATTR_NOSUID},
	"nodev":       {set: unix.MOUNT_ATTR_NODEV},
	"dev":         {clear: unix.MOUNT_ATTR_NODEV},
	"noexec":      {set: unix.MOUNT_ATTR_NOEXEC},
	"exec":        {clear: unix.MOUNT_ATTR_NOEXEC},
	"noatime":     {set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME},
	"relatime":    {clear: unix.MOUNT_ATTR__ATIME},
	"strictatime": {set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME},
	"nodiratime":  {set: unix.MOUNT_ATTR_NODIRATIME},
	"diratime":    {clear: unix.MOUNT_ATTR_NODIRATIME},
	"nosymfollow": {set: unix.MOUNT_ATTR_NOSYMFOLLOW},
	"symfollow":   {clear: unix.MOUNT_ATTR_NOSYMFOLLOW},
	"bind":        {bind: true},
	"rbind":       {bind: true, deep: true},
	"private":     {propagation: unix.MS_PRIVATE},
	"rprivate":    {propagation: unix.MS_PRIVATE, deep: true},
	"slave":       {propagation: unix.MS_SLAVE},
	"rslave":      {propagation: unix.MS_SLAVE, deep: true},
	"shared":      {propagation: unix.MS_SHARED},
	"rshared":     {propagation: unix.MS_SHARED, deep: true},
	"unbindable":  {propagation: unix.MS_UNBINDABLE},
	"runbindable": {propagation: unix.MS_UNBINDABLE, deep: true},
}

// parseMountOptions sorts the options; a later one wins over an earlier one.
// What the table does not know is the file system's own: it is the kernel that
// refuses it, by name.
func parseMountOptions(options []string) mountOptions {
	var m mountOptions
	for _, o := range options {
		if m.own(o) {
			continue
		}
		t, known := optionTable[o]
		if !known {
			m.data = append(m.data, o)
			continue
		}
		m.set = m.set&^t.clear | t.set
		m.clear = m.clear&^t.set | t.clear&^t.set
		switch {
		case t.bind:
			m.bind, m.recursive = true, t.deep
		case t.propagation != 0:
			m.propagation, m.deep = t.propagation, t.deep
		}
	}
	return m
}

// own takes an option that is none of mount(8)'s.
func (m *mountOptions) own(option string) bool {
	key, value, _ := strings.Cut(option, "=")
	switch key {
	case optionIDMap:
		m.idmap = &value
	case optionWritableBelow:
		m.writableBelow = true
	default:
		return false
	}
	return true
}

// mountOptionText is the list for a command line, without what bind implies.
func mountOptionText(options []string) string {
	var kept []string
	for _, o := range options {
		if o != "bind" && o != "rbind" && o != "rprivate" && o != optionWritableBelow {
			kept = append(kept, o)
		}
	}
	return strings.Join(kept, ",")
}
