package server

import (
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEvents(t *testing.T) {
	var b []byte
	add := func(watch, mask uint32, name string) {
		for _, word := range []uint32{watch, mask, 0, uint32(len(name))} {
			b = binary.NativeEndian.AppendUint32(b, word)
		}
		b = append(b, name...)
	}
	add(1, unix.IN_CREATE|unix.IN_ISDIR, "blue\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	add(0xffffffff, unix.IN_Q_OVERFLOW, "")
	add(2, unix.IN_DELETE, strings.Repeat("a", 64)+strings.Repeat("\x00", 16))
	var got []event
	for e := range events(append(b, 1, 2, 3)) { // a part of one is left
		got = append(got, e)
	}
	want := []event{{1, unix.IN_CREATE | unix.IN_ISDIR, "blue"}, {-1, unix.IN_Q_OVERFLOW, ""}, {2, unix.IN_DELETE, strings.Repeat("a", 64)}}
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v, want %v", got[i], want[i])
		}
	}
}
