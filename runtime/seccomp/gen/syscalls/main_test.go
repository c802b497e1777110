package main

import (
	"bytes"
	"os"
	"testing"
)

// The committed table is what the module of go.mod gives.
func TestTableIsCurrent(t *testing.T) {
	dir, version, err := module()
	if err != nil {
		t.Skip(err)
	}
	want, err := generate(dir, version)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../zsyscalls.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("zsyscalls.go is not current: run go generate ./runtime/seccomp")
	}
}
