package network

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// A question that fails is an error. It was a panic: with nf_tables not loaded yet,
// the first launch of a machine could ask while it was being loaded.
func TestMissingFails(t *testing.T) {
	c := &conn{fd: -1}
	if _, err := c.missing(newTable(families()[0]), []element{layoutElement()}); !errors.Is(err, unix.EBADF) {
		t.Errorf("got %v, want EBADF", err)
	}
}
