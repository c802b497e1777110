package network

import "testing"

// TestHairpinOfNothing: who puts back what is missing meets containers whose pair is
// about to be made, or gone already.
func TestHairpinOfNothing(t *testing.T) {
	freshHost(t)
	s := &SetHairpin{Link: "veth01234567"}
	if err := s.Apply(); err != nil {
		t.Error(err)
	}
	if err := s.Undo(); err != nil {
		t.Error(err)
	}
	if s.Check() == nil {
		t.Error("a link that is not there passes the check")
	}
}
