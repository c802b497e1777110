package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/rootfs/volume"
	"github.com/minictr/minictr/runtime"
)

// A mountKey is a key of --mount: the types of mount that have it, and what it
// does. Of a key that is a word of its own, the value may be missing.
type mountKey struct {
	types string // of bind, volume and tmpfs
	word  bool
	set   func(*mountFlag, string) error
}

// mountFlag is one --mount, half read.
type mountFlag struct {
	runtime.Mount
	readonly, nonrecursive bool
	recursive, propagation string
	data                   []string // of a tmpfs
}

const every, binds, volumes, tmpfses = "bind volume tmpfs", "bind", "volume", "tmpfs"

// mountKeys are Docker's (docker run, "--mount"), and idmap as podman has it.
func mountKeys() map[string]mountKey {
	keys := map[string]mountKey{
		"type":              {every, false, func(m *mountFlag, v string) error { return nil }}, // read first
		"source":            {"bind volume", false, func(m *mountFlag, v string) error { m.Source = v; return nil }},
		"target":            {every, false, func(m *mountFlag, v string) error { m.Destination = v; return nil }},
		"readonly":          {every, true, flagValue(func(m *mountFlag, on bool) { m.readonly = on })},
		"consistency":       {every, false, oneOf([]string{"default", "consistent", "cached", "delegated"}, func(*mountFlag, string) {})},
		"bind-propagation":  {binds, false, oneOf([]string{"private", "rprivate", "shared", "rshared", "slave", "rslave"}, func(m *mountFlag, v string) { m.propagation = v })},
		"bind-nonrecursive": {binds, true, flagValue(func(m *mountFlag, on bool) { m.nonrecursive = on })},
		"bind-recursive":    {binds, false, oneOf([]string{"enabled", "disabled", "writable", "readonly"}, func(m *mountFlag, v string) { m.recursive = v })},
		"bind-create-src":   {binds, true, flagValue(func(m *mountFlag, on bool) { m.CreateSource = on })},
		"idmap":             {"bind volume", true, setIDMap},
		"volume-nocopy":     {volumes, true, flagValue(func(m *mountFlag, on bool) { m.Volume.NoCopy = on })},
		"volume-driver":     {volumes, false, setDriver},
		"volume-label":      {volumes, false, func(m *mountFlag, v string) error { return addPair(&m.Volume.Labels, v, false) }},
		"volume-opt":        {volumes, false, func(m *mountFlag, v string) error { return addPair(&m.Volume.Options, v, true) }},
		"volume-subpath":    {volumes, false, func(m *mountFlag, v string) error { m.Volume.Subpath = v; return volume.ValidateSubpath(v) }},
		"tmpfs-size":        {tmpfses, false, setTmpfsSize},
		"tmpfs-mode":        {tmpfses, false, setTmpfsMode},
	}
	for other, key := range map[string]string{"src": "source", "dst": "target", "destination": "target", "ro": "readonly"} {
		keys[other] = keys[key]
	}
	return keys
}

// parseMount reads the comma-separated form of --mount.
func (f *runFlags) parseMount(text string) (runtime.Mount, error) {
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return runtime.Mount{}, bareCSV(err)
	}
	m := &mountFlag{Mount: runtime.Mount{Type: "volume"}} // as docker has it
	for _, field := range fields {
		if key, value, _ := strings.Cut(field, "="); strings.EqualFold(key, "type") {
			m.Type = strings.ToLower(value)
		}
	}
	if !slices.Contains(strings.Fields(every), m.Type) {
		return m.Mount, fmt.Errorf("unknown type %q; there are bind, volume and tmpfs", m.Type)
	}
	keys := mountKeys()
	for _, field := range fields {
		name, value, given := strings.Cut(field, "=")
		name = strings.ToLower(name)
		key, known := keys[name]
		switch {
		case !known:
			return m.Mount, fmt.Errorf("unknown key %q", name)
		case !strings.Contains(key.types, m.Type):
			return m.Mount, fmt.Errorf("key %s: only a mount of type %s has it, not one of type %s", name, strings.ReplaceAll(key.types, " ", " or "), m.Type)
		case !given && !key.word || given && value == "":
			return m.Mount, fmt.Errorf("key %s: its value is missing", name)
		}
		if err := key.set(m, value); err != nil {
			return m.Mount, fmt.Errorf("key %s: %w", name, err)
		}
		if name == "consistency" {
			f.warn("consistency is ignored: it means something on a Mac only")
		}
	}
	return m.finish()
}

// bareCSV takes the position out of an error: there is only one line.
func bareCSV(err error) error {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return parse.Err
	}
	return errors.New("it is empty")
}

// finish is what can be said when all keys are known.
func (m *mountFlag) finish() (runtime.Mount, error) {
	if m.Destination == "" {
		return m.Mount, errors.New("the target is missing")
	}
	if m.Type == "tmpfs" {
		options := m.data
		if m.readonly {
			options = append(options, "ro")
		}
		return tmpfsMount(m.Destination, options)
	}
	if err := validTarget(&m.Mount); err != nil {
		return m.Mount, err
	}
	if m.Type == "volume" {
		if m.Source != "" {
			if err := volume.ValidateName(m.Source); err != nil {
				return m.Mount, err
			}
		}
		if m.readonly {
			m.Options = append(m.Options, "ro")
		}
		return m.Mount, nil
	}
	if !filepath.IsAbs(m.Source) {
		return m.Mount, fmt.Errorf("the source %q is no absolute path", m.Source)
	}
	m.Source = filepath.Clean(m.Source)
	return m.Mount, m.finishBind()
}

// finishBind works out the options of a bind mount: what Docker calls recursive
// is whether the mounts below come too, and whether they become read-only too.
func (m *mountFlag) finishBind() error {
	options := []string{"rbind"}
	if m.nonrecursive || m.recursive == "disabled" {
		options[0] = "bind"
	}
	if m.nonrecursive && m.recursive != "" && m.recursive != "disabled" {
		return fmt.Errorf("bind-nonrecursive and bind-recursive=%s contradict each other", m.recursive)
	}
	switch {
	case m.recursive == "readonly" && !m.readonly, m.recursive == "writable" && !m.readonly:
		return fmt.Errorf("bind-recursive=%s says something of a read-only mount: readonly is missing", m.recursive)
	case m.recursive == "readonly":
		options = append(options, "rro")
	case m.recursive == "writable":
		options = append(options, "ro", "writable-below")
	case m.readonly:
		options = append(options, "ro")
	}
	if m.propagation != "" {
		options = append(options, m.propagation)
	}
	m.Options = append(options, m.Options...)
	return conflicting(m.Options)
}

// flagValue reads a key that may stand without a value.
func flagValue(set func(*mountFlag, bool)) func(*mountFlag, string) error {
	return func(m *mountFlag, text string) error {
		on := true
		if text != "" {
			var err error
			if on, err = strconv.ParseBool(text); err != nil {
				return fmt.Errorf("%q is neither true nor false", text)
			}
		}
		set(m, on)
		return nil
	}
}

// oneOf reads a key that has few values.
func oneOf(values []string, set func(*mountFlag, string)) func(*mountFlag, string) error {
	return func(m *mountFlag, text string) error {
		if !slices.Contains(values, text) {
			return fmt.Errorf("%q: there are %s", text, strings.Join(values, ", "))
		}
		set(m, text)
		return nil
	}
}

func setIDMap(m *mountFlag, text string) error {
	if text == "" {
		return addIDMap(&m.Mount, "idmap")
	}
	return addIDMap(&m.Mount, "idmap="+text)
}

func setDriver(m *mountFlag, text string) error {
	if text != volume.Local {
		return fmt.Errorf("%q: there is only %s", text, volume.Local)
	}
	m.Volume.Driver = text
	return nil
}

// addPair adds NAME=VALUE to a map; a label may be a NAME alone.
func addPair(to *map[string]string, text string, valued bool) error {
	name, value, given := strings.Cut(text, "=")
	if name == "" || valued && !given {
		return fmt.Errorf("%q: not of the form NAME=VALUE", text)
	}
	if *to == nil {
		*to = map[string]string{}
	}
	if _, twice := (*to)[name]; twice {
		return fmt.Errorf("%s is given twice", name)
	}
	(*to)[name] = value
	return nil
}

func setTmpfsSize(m *mountFlag, text string) error {
	bytes, err := cgroups.ParseMemory(text)
	if err != nil {
		return err
	}
	m.data = append(m.data, "size="+strconv.FormatInt(bytes, 10))
	return nil
}

func setTmpfsMode(m *mountFlag, text string) error {
	if _, err := strconv.ParseUint(text, 8, 12); err != nil {
		return fmt.Errorf("%q is no octal mode", text)
	}
	m.data = append(m.data, "mode="+text)
	return nil
}

// pairs reads a list of NAME=VALUE flags.
func pairs(flag string, list []string, valued bool) (map[string]string, error) {
	var m map[string]string
	for _, text := range list {
		if err := addPair(&m, text, valued); err != nil {
			return nil, usageError{fmt.Errorf("--%s: %w", flag, err)}
		}
	}
	return maps.Clone(m), nil
}
