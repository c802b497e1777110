package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A Store is where networks are kept. What was asked of them outlives the
// machine's uptime; what the kernel has of them, and who is on them, does not.
//
//	Root/networks/NAME.json     the definition of a made network (Network)
//	Runroot/leases/NAME         who has which address (Lease)
//
// The networks bridge, host and none are always there and have no definition.
type Store struct {
	Root    string // lasting state, /var/lib/minictr
	Runroot string // state of this boot, /run/minictr
}

// ErrNotFound says that there is no network of a name.
var ErrNotFound = errors.New("no such network")

// ErrExists says that a network's name is taken.
var ErrExists = errors.New("a network of that name exists")

// ErrPredefined says that a network is one of those that are always there.
var ErrPredefined = errors.New("it is always there")

// nameMax is how long the name of a network, or of a container on one, may be,
// in bytes. A label of the domain name system has at most 63 (RFC 1035, 2.3.4).
const nameMax = 63

// ValidateName tells why a network cannot have the name, nil when it can: names
// are words of letters, digits, and "_", ".", "-" inside.
func ValidateName(name string) error {
	alphanumeric := func(c rune) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	inside := func(c rune) bool { return alphanumeric(c) || strings.ContainsRune("_.-", c) }
	switch {
	case name == "":
		return errors.New(`"": a name has at least one character`)
	case len(name) > nameMax:
		return fmt.Errorf("%q: %d bytes long, at most %d are allowed", name, len(name), nameMax)
	case !alphanumeric(rune(name[0])) || strings.TrimFunc(name, inside) != "":
		return fmt.Errorf("%q: a name begins with a letter or digit and consists of those and of _ . -", name)
	}
	return nil
}

// predefined are the networks that are always there.
func predefined(name string) (n *Network, ok bool) {
	switch Mode(name) {
	case Bridge:
		return &Network{Name: DefaultNetwork, Driver: BridgeDriver, Bridge: DefaultBridge}, true
	case Host:
		return &Network{Name: name, Driver: "host"}, true
	case None:
		return &Network{Name: name, Driver: "null"}, true
	}
	return nil, false
}

func (s Store) dir() string             { return filepath.Join(s.Root, "networks") }
func (s Store) file(name string) string { return filepath.Join(s.dir(), name+".json") }

// Lookup finds a network by its name, or by its id or the beginning of it. Without
// one it fails with ErrNotFound.
func (s Store) Lookup(name string) (*Network, error) {
	if n, ok := predefined(name); ok {
		return n, nil
	}
	if ValidateName(name) != nil {
		return nil, step.Fail("find network", name, ErrNotFound)
	}
	n, err := s.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return s.byID(name)
	}
	return n, step.Fail("find network", name, err)
}

func (s Store) read(name string) (*Network, error) {
	text, err := os.ReadFile(s.file(name))
	if err != nil {
		return nil, err
	}
	n := &Network{}
	if err := json.Unmarshal(text, n); err != nil {
		return nil, fmt.Errorf("%s: %w", s.file(name), err)
	}
	return n, nil
}

// idMin is how much of an id has to be given, so that no word that is meant as a
// name finds a network by accident.
const idMin = 4

func (s Store) byID(prefix string) (*Network, error) {
	list, err := s.made()
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(n *Network) bool {
		return len(prefix) < idMin || !strings.HasPrefix(n.ID, prefix)
	})
	switch len(list) {
	case 0:
		return nil, step.Fail("find network", prefix, ErrNotFound)
	case 1:
		return list[0], nil
	}
	return nil, step.Fail("find network", prefix, errors.New("several networks have an id that begins so"))
}

// All are the networks, predefined ones too, in the order of their names.
func (s Store) All() ([]*Network, error) {
	list, err := s.made()
	for _, mode := range []Mode{Bridge, Host, None} {
		n, _ := predefined(string(mode))
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b *Network) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

// made are those that network create has made.
func (s Store) made() ([]*Network, error) {
	entries, err := os.ReadDir(s.dir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []*Network
	var errs []error
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		n, err := s.read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		list = append(list, n)
	}
	return list, errors.Join(errs...)
}

// stillThere fails with ErrNotFound when the network was removed since it was
// looked up, and perhaps another made under its name.
func (s Store) stillThere(n *Network) error {
	now, err := s.read(n.Name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now.ID != n.ID {
		err = ErrNotFound
	}
	return step.Fail("find network", n.Name, err)
}

// write writes a definition that is not there yet, whole or not at all.
func (s Store) write(n *Network) error {
	text, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	file := s.file(n.Name)
	temporary := file + ".new"
	if err := os.WriteFile(temporary, append(text, '\n'), 0o600); err != nil {
		return err
	}
	err = unix.Renameat2(unix.AT_FDCWD, temporary, unix.AT_FDCWD, file, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		err = ErrExists
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return nil
}

// locked calls f while nobody else makes or removes a network.
func (s Store) locked(f func() error) error { return withLock(s.dir(), f) }

// forget removes a definition. One that is gone is no error.
func (s Store) forget(n *Network) error { return ignoreMissing(os.Remove(s.file(n.Name))) }
