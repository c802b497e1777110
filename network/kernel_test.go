package network

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// The kernel is the test double: every test of this file's helpers runs in
// network namespaces of its own, and the machine's own network is never touched.

func requireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
}

func requireTools(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs the program %s", name)
		}
	}
}

// freshHost puts the test into a new network namespace, "the host". The thread
// stays locked to the test's goroutine and ends with it.
func freshHost(t testing.TB) {
	t.Helper()
	requireRoot(t)
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

// freshNetns makes another network namespace, "the container".
func freshNetns(t testing.TB, name string) Netns {
	t.Helper()
	f, err := newNetns()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return Netns{Name: name, Path: fdPath(f)}
}

func fdPath(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }

// owner makes a container id that differs from others' in the first 8 digits.
func owner(n int) string { return fmt.Sprintf("%08x%056d", uint32(n), 0) }

func everybody(string) bool { return true }

// storeIn is a store with everything below one directory.
func storeIn(dir string) Store { return Store{Root: filepath.Join(dir, "root"), Runroot: dir} }

// requestOf is what container n asks that is content with the default network.
func requestOf(runroot string, n int) Request {
	return Request{
		Mode: Bridge, Uses: []Use{{Network: DefaultNetwork}}, Owner: owner(n), Store: storeIn(runroot), Alive: everybody,
	}
}

// resolve resolves the request for container n, whose namespace is made too.
func resolve(t testing.TB, runroot string, n int) *Config {
	t.Helper()
	r := requestOf(runroot, n)
	r.DryRun = n < 0
	cfg, err := Resolve(r)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Netns.Path = freshNetns(t, "").Path
	return cfg
}

// plan is everything that a launch applies.
func plan(cfg *Config) []step.Step { return append(Shared(cfg), Inside(cfg)...) }

func run(t testing.TB, steps []step.Step) {
	t.Helper()
	if err := step.Run(steps, nil); err != nil {
		t.Fatal(err)
	}
}

// sh runs a command in the namespace of the calling thread.
func sh(t testing.TB, command string) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// snapshot is what ip and nft say of the namespace of the calling thread, with
// everything that differs between two equal networks replaced.
func snapshot(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	for _, command := range []string{
		"ip -j -d link", "ip -j -d addr", "ip -j -d route show table all", "ip -j -6 route show table all", "nft -j list ruleset",
	} {
		b.WriteString("# " + command + "\n")
		out := sh(t, command)
		if strings.TrimSpace(out) == "" {
			continue
		}
		var v any
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		text, err := json.MarshalIndent(normalise(v), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
		b.WriteString("\n")
	}
	for _, key := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/minictr0/accept_ra", "net/ipv6/conf/default/disable_ipv6", "net/ipv6/conf/eth0/disable_ipv6"} {
		value, err := readSysctl("/proc/sys/" + key)
		fmt.Fprintf(&b, "%s %s %t\n", key, value, err == nil)
	}
	return b.String()
}

// snapshotIn is snapshot in another namespace.
func snapshotIn(t testing.TB, ns Netns) (text string) {
	t.Helper()
	if err := ns.Do(func() error { text = snapshot(t); return nil }); err != nil {
		t.Fatal(err)
	}
	return text
}

// normalise drops timers, handles and indexes, and random addresses.
func normalise(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = normalise(v[i])
		}
		slices.SortStableFunc(v, func(a, b any) int { return strings.Compare(name(a), name(b)) })
		return v
	case map[string]any:
		if v["ifname"] == "lo" {
			delete(v, "qdisc") // noqueue for ever, once it was up
		}
		for key := range v {
			switch {
			case strings.HasSuffix(key, "_timer"), slices.Contains([]string{"handle", "metainfo", "link_netnsid", "link_index", "ifindex"}, key):
				delete(v, key)
			default:
				v[key] = normalise(v[key])
			}
		}
		return v
	case string:
		mac := len(v) == 17 && strings.Count(v, ":") == 5 && !strings.HasPrefix(v, "02:42:") && !strings.HasPrefix(v, "00:00:00") && v != "ff:ff:ff:ff:ff:ff"
		if mac || strings.HasPrefix(v, "fe80::") && v != "fe80::" {
			return "~"
		}
	}
	return v
}

// name is what links and routes sort by; their order is that of their making.
func name(v any) string {
	m, _ := v.(map[string]any)
	text := ""
	for _, key := range []string{"ifname", "dst", "dev", "table", "type"} {
		part, _ := m[key].(string)
		text += part + " "
	}
	return text
}

// settle polls until the two agree, since duplicate address detection and the
// carrier take their time, and returns how they differ at the end.
func settle(a, b func() string) string {
	deadline := time.Now().Add(15 * time.Second)
	for {
		x, y := a(), b()
		if x == y || time.Now().After(deadline) {
			return cmp.Diff(x, y)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// untouched is the snapshot of a namespace in which nothing was ever made.
func untouched(t testing.TB) string {
	t.Helper()
	return snapshotIn(t, freshNetns(t, ""))
}

// mountNetnsDir gives the calling thread a mount namespace of its own with an
// empty /run/netns, so that named namespaces can be made without a trace.
func mountNetnsDir(t testing.TB) {
	t.Helper()
	for _, err := range []error{
		unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		os.MkdirAll(netnsDir, 0o755),
		unix.Mount("tmpfs", netnsDir, "tmpfs", 0, ""),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestScript is the oracle. The printed script, run by sh in one fresh host,
// and the steps, applied in another, make the same network.
func TestScript(t *testing.T) {
	for _, mode := range []string{"bridge", "none"} {
		t.Run(mode, func(t *testing.T) {
			requireTools(t, "ip", "nft", "sysctl")
			freshHost(t)
			mountNetnsDir(t)
			r := requestOf(t.TempDir(), 1)
			r.Name, r.DryRun = "applied", true
			if r.Mode = Mode(mode); r.Mode != Bridge {
				r.Uses = nil
			}
			cfg, err := Resolve(r)
			if err != nil {
				t.Fatal(err)
			}
			full := append([]step.Step{&AddNetns{cfg.Netns.Name}}, plan(cfg)...)
			script := strings.ReplaceAll(step.Script(full), "applied", "printed")
			run(t, full)

			other := freshNetns(t, "")
			out, err := exec.Command("nsenter", "--net="+other.Path, "sh", "-c", script).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, script)
			}
			pairs := map[string][2]Netns{
				"host":      {{Path: self}, other},
				"container": {{Name: "applied"}, {Name: "printed"}},
			}
			for where, ns := range pairs {
				diff := settle(
					func() string { return inDump(t, ns[0]) },
					func() string { return inDump(t, ns[1]) })
				if diff != "" {
					t.Errorf("%s: applied (-) and printed (+) differ:\n%s", where, diff)
				}
			}
			// Run again, the shared part of the script changes nothing.
			again := step.Script(Shared(cfg))
			out, err = exec.Command("nsenter", "--net="+other.Path, "sh", "-c", again).CombinedOutput()
			if err != nil {
				t.Fatalf("again: %v\n%s\n%s", err, out, again)
			}
			if diff := settle(func() string { return snapshot(t) }, func() string { return inDump(t, other) }); diff != "" {
				t.Errorf("after the second run of the script:\n%s", diff)
			}
			if err := step.Check(full); err != nil {
				t.Error(err)
			}
		})
	}
}

// inDump is the snapshot by a process in the namespace. Named namespaces are
// mounted in this thread's mount namespace only, where Netns.Do does not go.
func inDump(t testing.TB, ns Netns) string {
	t.Helper()
	if ns.Path == self {
		return snapshot(t)
	}
	here, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	there, err := ns.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	defer unix.Setns(int(here.Fd()), unix.CLONE_NEWNET)
	return snapshot(t)
}

// TestUndo applies every prefix of the plan and takes it back: nothing is left.
func TestUndo(t *testing.T) {
	requireRoot(t)
	requireTools(t, "ip", "nft")
	want := untouched(t)
	count := len(plan(example(Bridge)))
	for n := range count + 1 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			freshHost(t)
			cfg := resolve(t, t.TempDir(), 1)
			steps := plan(cfg)[:n]
			run(t, steps)
			if err := step.Undo(steps); err != nil {
				t.Error(err)
			}
			if err := step.Undo(steps); err != nil {
				t.Errorf("undo of what is gone: %v", err)
			}
			wantResidue(t, cfg, want)
		})
	}
}

// wantResidue wants both sides to look like want and no socket to be left.
func wantResidue(t *testing.T, cfg *Config, want string) {
	t.Helper()
	fixed := func() string { return want }
	if diff := settle(fixed, func() string { return snapshot(t) }); diff != "" {
		t.Errorf("left on the host:\n%s", diff)
	}
	if diff := settle(fixed, func() string { return snapshotIn(t, cfg.Netns) }); diff != "" {
		t.Errorf("left in the container:\n%s", diff)
	}
}

// TestFailAt fails every step once: the error is the step's, and nothing is left.
func TestFailAt(t *testing.T) {
	requireRoot(t)
	requireTools(t, "ip", "nft")
	want := untouched(t)
	for i := range plan(example(Bridge)) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			freshHost(t)
			cfg := resolve(t, t.TempDir(), 1)
			sockets := openSockets(t)
			failure := step.Fail("test", "of step", unix.EIO)
			err := step.Run(step.FailAt(plan(cfg), i, failure), nil)
			if !errors.Is(err, failure) || err.Error() != failure.Error() {
				t.Errorf("got error %v, want %v and nothing else", err, failure)
			}
			wantResidue(t, cfg, want)
			if now := openSockets(t); now != sockets {
				t.Errorf("%d sockets are open, %d were", now, sockets)
			}
		})
	}
}

// openSockets counts the sockets of the process.
func openSockets(t testing.TB) (count int) {
	t.Helper()
	files, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if to, err := os.Readlink(f); err == nil && strings.HasPrefix(to, "socket:") {
			count++
		}
	}
	return count
}

// TestRealFailures makes steps fail in the kernel, not by decree.
func TestRealFailures(t *testing.T) {
	requireTools(t, "ip")
	for _, c := range []struct {
		name, prepare string
		change        func(*Config)
		want          string
	}{
		{"foreign link", "ip link add minictr0 type veth peer name other", nil, "add bridge minictr0: a link of that name exists and is not a bridge"},
		{"veth in use", "ip link add veth00000001 type veth peer name other", nil, "add veth veth00000001: file exists"},
		{"no namespace", "true", func(c *Config) { c.Netns.Path = "/proc/self/fd/nothing" }, "open /proc/self/fd/nothing: no such file or directory"},
		{"no netns", "true", func(c *Config) { c.Netns.Path = "/proc/self/ns/mnt" }, "open /proc/self/ns/mnt: not a network namespace"},
		{"wrong netns", "true", func(c *Config) { c.Netns.Inode = 1 }, "another network namespace than expected; its process is gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			freshHost(t)
			cfg := resolve(t, t.TempDir(), 1)
			sh(t, c.prepare)
			if c.change != nil {
				c.change(cfg)
			}
			err := step.Run(plan(cfg), nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			var e *step.Error
			if !errors.As(err, &e) {
				t.Errorf("%v is no step.Error", err)
			}
			if v, _ := readSysctl("/proc/sys/net/ipv4/ip_forward"); v != "0" {
				t.Errorf("ip_forward is %s after the undoing", v)
			}
		})
	}
}

// TestSharedTwice launches two containers and lets the second fail: what the
// first made stays.
func TestSharedTwice(t *testing.T) {
	requireTools(t, "ip", "nft")
	freshHost(t)
	runroot := t.TempDir()
	one, two := resolve(t, runroot, 1), resolve(t, runroot, 2)
	first := plan(one)
	run(t, first)
	var before string
	if diff := settle(func() string { before = snapshot(t); return before }, func() string { return snapshot(t) }); diff != "" {
		t.Fatal(diff)
	}
	second := plan(two)
	err := step.Run(step.FailAt(second, len(second)-1, unix.EIO), nil)
	if !errors.Is(err, unix.EIO) {
		t.Fatal(err)
	}
	if diff := settle(func() string { return before }, func() string { return snapshot(t) }); diff != "" {
		t.Errorf("the second launch's failure changed:\n%s", diff)
	}
	// And the other way round: the first, which made the bridge, fails after
	// the second has come to use it.
	run(t, plan(two))
	if err := step.Undo(first); err != nil {
		t.Fatal(err)
	}
	if err := step.Check(plan(two)); err != nil {
		t.Errorf("the undoing of the first broke the second: %v", err)
	}
}

// TestManyAtOnce sets up 50 endpoints at the same time on a host where nothing
// is there yet.
func TestManyAtOnce(t *testing.T) {
	requireTools(t, "ip", "nft")
	freshHost(t)
	host, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	const count = 50
	runroot := t.TempDir()
	nl.NativeEndian() // fills in a variable of the library that all goroutines read
	configs, errs := make([]*Config, count), make(chan error, count)
	for i := range count {
		ns := freshNetns(t, "")
		go func() {
			runtime.LockOSThread()
			errs <- func() error {
				if err := unix.Setns(int(host.Fd()), unix.CLONE_NEWNET); err != nil {
					return err
				}
				cfg, err := Resolve(requestOf(runroot, i))
				if err != nil {
					return err
				}
				cfg.Netns.Path = ns.Path
				configs[i] = cfg
				return step.Run(plan(cfg), nil)
			}()
		}()
	}
	for range count {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		return
	}
	seen := map[netip.Addr]bool{}
	for _, cfg := range configs {
		if err := step.Check(plan(cfg)); err != nil {
			t.Error(err)
		}
		seen[cfg.Endpoints[0].Interface.Address.Addr()] = true
	}
	if len(seen) != count {
		t.Errorf("%d containers have %d addresses", count, len(seen))
	}
	if rules := strings.Count(sh(t, "nft list ruleset"), "@subnets"); rules != 1 {
		t.Errorf("%d rules of masquerading, want 1", rules)
	}
	if out := sh(t, "ip -o -4 addr show minictr0"); bytes.Count([]byte(out), []byte("\n")) != 1 {
		t.Errorf("the bridge has not one address:\n%s", out)
	}
}
