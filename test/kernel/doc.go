// Package kernel helps tests that use the real kernel instead of a mock.
//
// Such a test needs three things. It must know whether it may run at all: root
// and the commands that it calls ([RequireRoot], [RequireCommand]); what is
// missing makes a skip that says so. It must not touch the machine's own
// network, so it works in namespaces that are its own ([NewNetns], [InNetns]).
// And it must leave the machine as it found it, which [Snapshot] holds against
// it at its end:
//
//	func TestBridge(t *testing.T) {
//		kernel.RequireRoot(t)
//		kernel.Snapshot(t) // fails the test when something stays behind
//		kernel.InNetns(t)  // from here on: a network namespace of its own
//		…
//	}
//
// The machine-wide things (mounts, cgroups) are shared with the tests of other
// packages, which go test runs at the same time. Snapshot tells them apart; see
// there for how.
package kernel
