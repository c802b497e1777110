package names

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A Record is what the name server knows of one container on one network.
type Record struct {
	Container string // id; its first ShortID digits are a name, too
	Name      string
	Aliases   []string // on this network only

	Address  netip.Addr // IPv4; the zero Addr for none
	Address6 netip.Addr // IPv6; the zero Addr for none

	// Gateway and Gateway6 are the bridge's addresses and the lengths of the
	// network's subnets, as in 172.17.0.1/16; the zero Prefix for none.
	Gateway  netip.Prefix
	Gateway6 netip.Prefix

	// Internal says that the network has no way out.
	Internal bool
	// Servers are the container's own (--dns), asked in place of the host's.
	Servers []netip.Addr
}

// ShortID is how many digits of a container's id are a name of it.
const ShortID = 12

// Names are all names that the record is found by, in lower case.
func (r Record) Names() []string {
	list := append([]string{r.Name, r.Container[:min(ShortID, len(r.Container))]}, r.Aliases...)
	for i, name := range list {
		list[i] = strings.ToLower(strings.TrimSuffix(name, "."))
	}
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(name string) bool { return name == "" })
}

// Root is the directory with a directory for each network.
func Root(runroot string) string { return filepath.Join(runroot, "names") }

// Directory is where the records of a network are.
func Directory(runroot, network string) string { return filepath.Join(Root(runroot), network) }

// Read reads the file of a record.
func Read(file string) (Record, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Record{}, err
	}
	r, err := parse(string(text))
	return r, step.Fail("parse", file, err)
}

// List returns the records of a network in the order of their names. Those that
// can be read are returned beside an error.
func List(runroot, network string) ([]Record, error) {
	if err := valid(network); err != nil {
		return nil, err
	}
	dir := Directory(runroot, network)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	errs := []error{err}
	var list []Record
	for _, entry := range entries {
		r, err := Read(filepath.Join(dir, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Container, b.Container))
	})
	return list, errors.Join(errs...)
}

// valid keeps what becomes the name of a file from leading elsewhere.
func valid(names ...string) error {
	for _, name := range names {
		if name == "" || name[0] == '.' || strings.ContainsAny(name, "/\x00") || len(name) > unix.NAME_MAX {
			return fmt.Errorf("%q: %w", name, unix.EINVAL)
		}
	}
	return nil
}

// write puts the record into its file, at once or not at all.
func write(runroot, network string, r Record) error {
	text, err := r.text()
	if err != nil {
		return err
	}
	// Not in the directory itself: one that was left there by a crash would keep
	// the server.
	temporary := temporary(runroot, network, r.Container)
	dir := Directory(runroot, network)
	err = insist(func() error {
		if err := makeDirectory(dir); err != nil {
			return err
		}
		if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
			return err
		}
		return os.Rename(temporary, filepath.Join(dir, r.Container))
	})
	if err != nil {
		return errors.Join(err, unlink(temporary))
	}
	return nil
}

func temporary(runroot, network, container string) string {
	return filepath.Join(Root(runroot), "."+network+"."+container)
}

// unlink removes a file that may be gone.
func unlink(file string) error {
	if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
