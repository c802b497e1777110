package volume

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// A Volume is what volume.json says.
type Volume struct {
	Name    string            `json:"name"`
	Driver  string            `json:"driver"` // "local"
	Created time.Time         `json:"created"`
	Labels  map[string]string `json:"labels,omitempty"`
	Options map[string]string `json:"options,omitempty"` // type, device and o, as volume create -o has them
	// Owner is the id of the container for which an anonymous volume was made:
	// when that never came to be, the volume goes with what else there is of it.
	Owner string `json:"owner,omitempty"`
}

// Local is the name of the only driver: the directory lies on this machine.
const Local = "local"

// AnonymousLabel marks a volume that nobody has named, as Docker marks it.
const AnonymousLabel = "com.docker.volume.anonymous"

// Anonymous reports whether the volume was made without a name.
func (v *Volume) Anonymous() bool {
	_, marked := v.Labels[AnonymousLabel]
	return marked
}

const (
	alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	maxName      = 255 // bytes, NAME_MAX
)

// ValidateName reports a name that a volume cannot have. The rule is Docker's.
func ValidateName(name string) error {
	if len(name) < 2 || len(name) > maxName || !strings.Contains(alphanumeric, name[:1]) || strings.Trim(name, alphanumeric+"_.-") != "" {
		return fmt.Errorf("volume name %q: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, at least two and at most %d characters; a directory of the host is given by its absolute path", name, maxName)
	}
	return nil
}

// validate reports what a volume cannot be.
func (v *Volume) validate() error {
	if err := ValidateName(v.Name); err != nil {
		return err
	}
	if v.Driver != Local {
		return fmt.Errorf("volume driver %q: there is only %q", v.Driver, Local)
	}
	for _, key := range slices.Sorted(maps.Keys(v.Options)) {
		if !slices.Contains([]string{"type", "device", "o"}, key) {
			return fmt.Errorf("volume option %q: there are type, device and o", key)
		}
	}
	return v.validateOptions()
}

func (v *Volume) validateOptions() error {
	switch v.kind() {
	case plain:
		return nil
	case bind:
		if !path.IsAbs(v.Options["device"]) {
			return fmt.Errorf("volume option device=%s: no absolute path of a directory", v.Options["device"])
		}
	case tmpfs:
		if _, data := v.words(); len(data) > 0 {
			return checkTmpfs(data)
		}
		return nil
	default:
		return fmt.Errorf("volume option type=%s: there are tmpfs, and none with o=bind and device=DIRECTORY", v.Options["type"])
	}
	if _, data := v.words(); len(data) > 0 {
		return fmt.Errorf("volume option o=%s: %q is no option of a bind mount", v.Options["o"], data[0])
	}
	return nil
}

// checkTmpfs holds the options of tmpfs(5) that say how big it is and whose.
func checkTmpfs(data []string) error {
	known := []string{"size", "nr_blocks", "nr_inodes", "mode", "uid", "gid", "huge"}
	for _, d := range data {
		key, value, _ := strings.Cut(d, "=")
		if !slices.Contains(known, key) || value == "" {
			return fmt.Errorf("volume option o=%s: not of a mount or of tmpfs, which has %s", d, strings.Join(known, ", "))
		}
	}
	return nil
}

// A kind is where the content of a volume lies.
type kind int

const (
	plain   kind = iota // in _data
	bind                // in a directory of the host
	tmpfs               // in memory, while a container uses it
	unknown             // a file system that is not supported
)

func (v *Volume) kind() kind {
	o := strings.Split(v.Options["o"], ",")
	switch t := v.Options["type"]; {
	case t == "tmpfs":
		return tmpfs
	case t == "bind", (t == "" || t == "none") && (slices.Contains(o, "bind") || slices.Contains(o, "rbind")):
		return bind
	case t == "" && len(v.Options) == 0:
		return plain
	}
	return unknown
}

// InMemory reports whether the volume is a tmpfs, which ends with its last user.
func (v *Volume) InMemory() bool { return v.kind() == tmpfs }

// ofMount are the words of option o that every mount takes.
const ofMount = " bind rbind ro rw nosuid suid nodev dev noexec exec noatime relatime strictatime nodiratime diratime "

// MountOptions are the options of the volume that every mount of it gets.
func (v *Volume) MountOptions() []string {
	generic, _ := v.words()
	return generic
}

// words takes option o apart: what is the mount's, and what the file system's.
func (v *Volume) words() (generic, data []string) {
	for word := range strings.SplitSeq(v.Options["o"], ",") {
		switch {
		case word == "" || word == "bind" || word == "rbind":
		case strings.Contains(ofMount, " "+word+" "):
			generic = append(generic, word)
		default:
			data = append(data, word)
		}
	}
	return generic, data
}

// parse reads volume.json.
func parse(b []byte) (*Volume, error) {
	v := new(Volume)
	if err := json.Unmarshal(b, v); err != nil {
		return nil, err
	}
	return v, v.validate()
}
