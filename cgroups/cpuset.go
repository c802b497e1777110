package cgroups

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/minictr/minictr/runtime/step"
)

// InheritCpuset gives a group of the v1 cpuset hierarchy, and those above it,
// the cpus and memory nodes of its parent. A new group has neither, and no
// process may enter it before (Documentation/admin-guide/cgroup-v1/cpusets.rst,
// 2.3). Undo has nothing to do: the files go with the group.
type InheritCpuset struct {
	Mountpoint string
	Path       string
}

// files are what a process needs a group to have.
var cpusetFiles = []string{"cpuset.cpus", "cpuset.mems"}

// Apply copies downwards what is empty.
func (s InheritCpuset) Apply() error {
	dirs := s.dirs()
	for i, dir := range dirs[1:] {
		for _, name := range cpusetFiles {
			if err := inherit(filepath.Join(dirs[i], name), filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s InheritCpuset) dirs() []string {
	return append(ancestors(s.Mountpoint, s.Path), filepath.Join(s.Mountpoint, s.Path))
}

func inherit(parent, child string) error {
	have, err := readFile(child)
	if err != nil || strings.TrimSpace(string(have)) != "" {
		return step.Fail("read", child, err)
	}
	value, err := readFile(parent)
	if err != nil {
		return step.Fail("read", parent, err)
	}
	return step.Fail("write", child, writeFile(child, strings.TrimSpace(string(value))))
}

// Undo does nothing; see the type.
func (s InheritCpuset) Undo() error { return nil }

// Check tells whether the group has cpus and memory nodes.
func (s InheritCpuset) Check() error {
	for _, name := range cpusetFiles {
		file := filepath.Join(s.Mountpoint, s.Path, name)
		content, err := readFile(file)
		if err == nil && strings.TrimSpace(string(content)) == "" {
			err = errors.New("empty")
		}
		if err != nil {
			return step.Fail("read", file, err)
		}
	}
	return nil
}

// Words implements step.Step.
func (s InheritCpuset) Words() string {
	return fmt.Sprintf("give %s the cpus and memory nodes of the group above", s.Path)
}

func (s InheritCpuset) String() string {
	var lines []string
	dirs := s.dirs()
	for i, dir := range dirs[1:] {
		for _, name := range cpusetFiles {
			child := quote(filepath.Join(dir, name))
			lines = append(lines, fmt.Sprintf("test -n \"$(cat %s)\" || cat %s > %s", child, quote(filepath.Join(dirs[i], name)), child))
		}
	}
	return strings.Join(lines, "\n")
}
