package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	moby "github.com/moby/profiles/seccomp"
)

// The committed files of both architectures are what the module of go.mod gives.
func TestFilesAreCurrent(t *testing.T) {
	for goarch := range targets {
		source, err := os.ReadFile(filepath.Join("../..", "zdefault_"+goarch+".go"))
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(source), ";")
		want, err := generate(goarch, head[strings.LastIndex(head, " ")+1:])
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range want {
			got, err := os.ReadFile(filepath.Join("../..", name))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, content) {
				t.Errorf("%s is not current: run go generate ./runtime/seccomp", name)
			}
		}
	}
}

// What the profile may ask that the generator does not answer is an error.
func TestResolveRefuses(t *testing.T) {
	for name, call := range map[string]*moby.Syscall{
		"a newer kernel":   {Includes: &moby.Filter{MinKernel: &moby.KernelVersion{Kernel: 5, Major: 11}}},
		"an older kernel":  {Excludes: &moby.Filter{MinKernel: &moby.KernelVersion{Kernel: 4, Major: 8}}},
		"no capability":    {Includes: &moby.Filter{Caps: []string{"CAP_FLY"}}},
		"no capability to": {Excludes: &moby.Filter{Caps: []string{"CAP_FLY"}}},
	} {
		if entries, err := resolve([]*moby.Syscall{call}, "amd64"); err == nil {
			t.Errorf("%s: %v", name, entries)
		}
	}
	settled := []*moby.Syscall{{Includes: &moby.Filter{MinKernel: &moby.KernelVersion{Kernel: 5, Major: 10}}}}
	if entries, err := resolve(settled, "amd64"); err != nil || len(entries) != 1 {
		t.Errorf("Linux 5.10: %v, %v", entries, err)
	}
}
