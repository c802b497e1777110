package names

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/minictr/minictr/runtime/step"
)

// AddName makes a container's names known on one network.
type AddName struct {
	Runroot string
	Network string // its name
	Record  Record
}

// Apply writes the record.
func (s AddName) Apply() error {
	err := valid(s.Network, s.Record.Container)
	if err == nil {
		err = write(s.Runroot, s.Network, s.Record)
	}
	return step.Fail("add name", s.object(), err)
}

// Undo removes it.
func (s AddName) Undo() error { return Remove(s.Runroot, s.Network, s.Record.Container) }

var errOtherRecord = errors.New("the file says something else")

// Check compares the file with the record. It says nothing of the server, see Alive.
func (s AddName) Check() error {
	r, err := Read(filepath.Join(Directory(s.Runroot, s.Network), s.Record.Container))
	if err == nil && !reflect.DeepEqual(r, s.Record) {
		err = errOtherRecord
	}
	return step.Fail("find name", s.object(), err)
}

// Words says which names.
func (s AddName) Words() string {
	return fmt.Sprintf("let the containers of network %s find %s by %s", s.Network, strings.Join(s.addresses(), " and "), strings.Join(s.Record.Names(), ", "))
}

// String is a comment: without a name server, a line in the other containers'
// files does the same.
func (s AddName) String() string {
	var lines []string
	for _, a := range s.addresses() {
		lines = append(lines, "# in /etc/hosts of the others: "+a+" "+strings.Join(s.Record.Names(), " "))
	}
	return strings.Join(lines, "\n")
}

func (s AddName) object() string { return s.Record.Name + " on " + s.Network }

func (s AddName) addresses() []string {
	var list []string
	for _, a := range []netip.Addr{s.Record.Address, s.Record.Address6} {
		if a.IsValid() {
			list = append(list, a.String())
		}
	}
	return list
}

// Remove takes the container's names off the network. One that has none is no error.
func Remove(runroot, network, container string) error {
	err := valid(network, container)
	if err == nil {
		dir := Directory(runroot, network)
		err = errors.Join(unlink(temporary(runroot, network, container)), unlink(filepath.Join(dir, container)), sweep(dir))
	}
	return step.Fail("remove name", container+" on "+network, err)
}

// RemoveContainer takes the container's names off all networks, as after a crash
// of which only its id is known.
func RemoveContainer(runroot, container string) error {
	if err := valid(container); err != nil {
		return step.Fail("remove names of", container, err)
	}
	entries, err := os.ReadDir(Root(runroot))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case entry.IsDir():
			errs = append(errs, unlinkRecord(Directory(runroot, name), container))
		case strings.HasSuffix(name, "."+container):
			errs = append(errs, unlink(filepath.Join(Root(runroot), name)))
		}
	}
	return step.Fail("remove names of", container, errors.Join(errs...))
}

// unlinkRecord leaves alone the directories of networks that the container is not on.
func unlinkRecord(dir, container string) error {
	err := os.Remove(filepath.Join(dir, container))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, sweep(dir))
}
