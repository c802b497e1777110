package main

import (
	"fmt"
	"testing"

	"github.com/minictr/minictr/network/doctor"
)

// TestFewRows: however much is wrong, the checklist can be read.
func TestFewRows(t *testing.T) {
	var list []doctor.Finding
	for i := range 20000 {
		list = append(list, doctor.Finding{Check: "address-extra", Status: doctor.Warn, What: fmt.Sprintf("address %d", i)})
	}
	for range mostRows {
		list = append(list, doctor.Finding{Check: "route", Status: doctor.Fault, What: "none"})
	}
	shown := few(list)
	if len(shown) != 2*mostRows {
		t.Fatalf("%d rows", len(shown))
	}
	for i, want := range map[int]string{0: "address 0", mostRows - 2: "address 8", mostRows - 1: "and 19991 more, which --json lists", mostRows: "none", 2*mostRows - 1: "none"} {
		if shown[i].What != want {
			t.Errorf("row %d: %q, not %q", i, shown[i].What, want)
		}
	}
}
