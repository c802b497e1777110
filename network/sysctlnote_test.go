package network

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minictr/minictr/runtime/step"
)

// leaseIn is a lease of a network that nobody else is on.
func leaseIn(runroot string, n int) Lease {
	return Lease{File: filepath.Join(runroot, leasesDir, "six"), Owner: owner(n)}
}

// TestRestoreSysctls: the first old value comes back, unless somebody else has
// changed the sysctl since.
func TestRestoreSysctls(t *testing.T) {
	const key = "net/ipv4/ip_forward"
	set := func(t *testing.T, value string) {
		t.Helper()
		if err := writeSysctl("/proc/sys/"+key, value); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		after func(t *testing.T, note string)
		want  string // the note and the value afterwards
	}{
		{"as we left it", func(*testing.T, string) {}, "[{net/ipv4/ip_forward 0 1 1}] false 0"},
		{"set back already", func(t *testing.T, _ string) { set(t, "0") }, "[{net/ipv4/ip_forward 0 1 0}] false 0"},
		{"set to something else", func(t *testing.T, _ string) { set(t, "2") }, "[{net/ipv4/ip_forward 0 1 2}] true 2"},
		{"set back and then again by us", func(t *testing.T, note string) {
			set(t, "2")
			lease := Lease{File: filepath.Join(filepath.Dir(filepath.Dir(note)), leasesDir, "six"), Owner: owner(2)}
			run(t, []step.Step{&SetSysctl{Key: key, Value: "1", Lease: lease}})
		}, "[{net/ipv4/ip_forward 0 1 1}] false 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			freshHost(t)
			runroot := t.TempDir()
			run(t, []step.Step{&SetSysctl{Key: key, Value: "1", Lease: leaseIn(runroot, 1)}})
			note := filepath.Join(runroot, "sysctls", "net:ipv4:ip_forward")
			if text, err := os.ReadFile(note); err != nil || string(text) != "0\n1\n" {
				t.Fatalf("the note is %q, %v", text, err)
			}
			c.after(t, note)
			notes, err := RestoreSysctls(runroot)
			value, _ := readSysctl("/proc/sys/" + key)
			got := fmt.Sprint(notes, " ", len(notes) == 1 && notes[0].Foreign(), " ", value)
			if err != nil || got != c.want {
				t.Errorf("got %s, %v, want %s", got, err, c.want)
			}
			if _, err := os.Stat(filepath.Dir(note)); !os.IsNotExist(err) {
				t.Errorf("the notes are still there: %v", err)
			}
			if notes, err := RestoreSysctls(runroot); err != nil || len(notes) > 0 {
				t.Errorf("a second time: %v, %v", notes, err)
			}
		})
	}
}

// TestSysctlNotes: which changes are noted, and when a note goes.
func TestSysctlNotes(t *testing.T) {
	requireTools(t, "ip")
	freshHost(t)
	runroot := t.TempDir()
	left := func() string {
		files, _ := filepath.Glob(runroot + "/sysctls/*")
		return strings.Join(files, " ")
	}
	sh(t, "ip link add eth0.5 type veth peer name other")
	ns := freshNetns(t, "")
	lease := leaseIn(runroot, 1)
	run(t, []step.Step{
		&SetSysctl{Key: "net/ipv4/ip_forward", Value: "0", Lease: lease},                       // it is
		&SetSysctl{Key: "net/ipv6/conf/eth0.5/autoconf", Value: "0", Own: true, Lease: lease},  // of our own
		&SetSysctl{Key: "net/ipv6/conf/eth0.5/none", Value: "0", Optional: true, Lease: lease}, // not there
		&SetSysctl{Key: "net/ipv4/ip_forward", Value: "1", Netns: ns, Lease: lease},            // elsewhere
		&SetSysctl{Key: "net/ipv6/conf/eth0.5/hop_limit", Value: "65"},                         // of nobody
	})
	if got := left(); got != "" {
		t.Errorf("noted: %s", got)
	}
	bad := &SetSysctl{Key: "net/ipv6/conf/eth0.5/addr_gen_mode", Value: "77", Lease: lease}
	if err := bad.Apply(); err == nil || left() != "" {
		t.Errorf("the kernel refused: %v; noted: %s", err, left())
	}
	good := &SetSysctl{Key: "net/ipv6/conf/eth0.5/accept_ra", Value: "2", Lease: lease}
	run(t, []step.Step{good})
	if got := left(); got != runroot+"/sysctls/net:ipv6:conf:eth0.5:accept_ra" {
		t.Errorf("noted: %s", got)
	}
	again := *good
	if err := again.Undo(); err != nil || left() != "" {
		t.Errorf("undone, with the note %q: %v", left(), err)
	}
	run(t, []step.Step{good})
	// What a killed process leaves, and what is gone.
	if err := os.WriteFile(runroot+"/sysctls/.note-1", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sh(t, "ip link del eth0.5")
	if notes, err := RestoreSysctls(runroot); err != nil || fmt.Sprint(notes) != "[{net/ipv6/conf/eth0.5/accept_ra 1 2 }]" {
		t.Errorf("%v, %v", notes, err)
	}
	if err := os.Mkdir(runroot+"/sysctls", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(runroot+"/sysctls/net:ipv4:ip_forward", []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := RestoreSysctls(runroot); err == nil || err.Error() != "restore sysctl net/ipv4/ip_forward: "+errGarbled.Error() {
		t.Errorf("a garbled note: %v", err)
	}
}
