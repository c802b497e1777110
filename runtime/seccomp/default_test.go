package seccomp

import (
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	moby "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/capability"
)

// dockers is the profile that Docker puts into an OCI config.
func dockers(t testing.TB, caps capability.Set) *specs.LinuxSeccomp {
	t.Helper()
	profile, err := moby.GetDefaultProfile(&specs.Spec{
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps.Names()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return profile
}

// someSets are the sets that people use, each capability alone, and some at random.
func someSets() []capability.Set {
	list := []capability.Set{0, capability.Default, capability.Named}
	for bit := range 41 {
		list = append(list, 1<<bit, capability.Default|1<<bit, capability.Default&^(1<<bit))
	}
	s := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		list = append(list, capability.Set(s.Uint64())&capability.Named)
	}
	return list
}

// The generated table and filter are what a fresh compile from the module
// gives: after a new version of the module, this fails until go generate ran.
func TestDefaultIsDockers(t *testing.T) {
	for _, caps := range someSets() {
		want := dockers(t, caps)
		if diff := cmp.Diff(want, DefaultProfile(caps)); diff != "" {
			t.Fatalf("%v: the profile is not Docker's (go generate ./runtime/seccomp):\n%s", caps, diff)
		}
		wantFilter, wantFlags, err := Compile(want, Native())
		if err != nil {
			t.Fatal(err)
		}
		filter, flags, err := Default(caps)
		if err != nil || flags != wantFlags {
			t.Fatalf("%v: flags %#x, want %#x: %v", caps, flags, wantFlags, err)
		}
		if diff := cmp.Diff(Describe(wantFilter), Describe(filter)); diff != "" {
			t.Fatalf("%v: the filter is not that of Docker's profile (go generate ./runtime/seccomp):\n%s", caps, diff)
		}
	}
}

// What Default returns belongs to the caller.
func TestDefaultIsACopy(t *testing.T) {
	first, _, _ := Default(capability.Default)
	first[0] = unix.SockFilter{}
	profile := DefaultProfile(0)
	for i := range profile.Syscalls {
		if profile.Syscalls[i].ErrnoRet != nil {
			*profile.Syscalls[i].ErrnoRet = 1
		}
		for j := range profile.Syscalls[i].Args {
			profile.Syscalls[i].Args[j].Value = 99
		}
	}
	profile.Architectures[0] = ""
	second, _, _ := Default(capability.Default)
	if second[0].Code == 0 {
		t.Error("a change of the filter changed the next one")
	}
	if diff := cmp.Diff(dockers(t, 0), DefaultProfile(0)); diff != "" {
		t.Errorf("a change of the profile changed the next one:\n%s", diff)
	}
}

// The module that the data comes from must not come with the package, nor
// encoding/json with it.
func TestModuleIsNotLinked(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Skipf("go list: %v", err)
	}
	for _, name := range strings.Fields(string(out)) {
		switch {
		case strings.HasPrefix(name, "github.com/moby/"), name == "encoding/json", name == "regexp", name == "net":
			t.Errorf("the package depends on %s", name)
		}
	}
}
