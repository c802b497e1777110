package network

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// wantCause wants the error to read so, to have a hint, and to unwrap to the errno.
func wantCause(t *testing.T, err error, text string, errno unix.Errno) {
	t.Helper()
	if err == nil || err.Error() != text {
		t.Errorf("got  %v\nwant %s", err, text)
	}
	var cause *Cause
	if !errors.As(err, &cause) || cause.Hint == "" {
		t.Errorf("%v has no hint", err)
	}
	if !errors.Is(err, errno) {
		t.Errorf("%v is not %v", err, errno)
	}
}

// TestMisleading reads the table: no row hides another, and each has its words.
func TestMisleading(t *testing.T) {
	for _, m := range misleading() {
		operations := m.operations
		if operations == nil {
			operations = []string{"anything"}
		}
		for _, operation := range operations {
			wrapped := fmt.Errorf("flush: %w", os.NewSyscallError("sendto", m.errno))
			wantCause(t, explain(operation, "x", wrapped), operation+" x: "+m.text, m.errno)
		}
	}
	if err := explain("add veth", "x", nil); err != nil {
		t.Errorf("nil became %v", err)
	}
	var cause *Cause
	if err := explain("add veth", "x", unix.EEXIST); errors.As(err, &cause) || err.Error() != "add veth x: file exists" {
		t.Errorf("got %v", err)
	}
}

// TestNoPrivilege drops CAP_NET_ADMIN on this thread and lets the kernel refuse.
func TestNoPrivilege(t *testing.T) {
	freshHost(t)
	cfg := resolve(t, t.TempDir(), 1)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	if err := unix.Capset(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	err := Shared(cfg)[0].Apply()
	wantCause(t, err, "add bridge minictr0: operation not permitted: it needs CAP_NET_ADMIN in the namespace of the host's network", unix.EPERM)
}
