package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/namespaces"
	"github.com/minictr/minictr/test/kernel"
)

// printed runs f with a file as output, and returns what is in it then.
func printed(t *testing.T, a *app, f func() error) string {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	a.out, a.err = out, os.Stderr
	if err := f(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestNsJSON: ns --json and lsns -J say the same of a process's namespaces, under the
// same keys.
func TestNsJSON(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "lsns", "unshare")
	kernel.Snapshot(t)
	c := exec.Command("unshare", "--mount", "--net", "--uts", "--ipc", "--user", "--map-root-user", "sleep", "4711")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	pid := fmt.Sprint(c.Process.Pid)
	var want, got struct{ Namespaces []map[string]any }
	kernel.Eventually(t, 5*time.Second, func() error {
		out, err := exec.Command("lsns", "-J", "-l", "-p", pid).Output()
		if err == nil && !strings.Contains(string(out), `"command": "sleep 4711"`) {
			err = fmt.Errorf("unshare is not there yet: %s", out)
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(out, &want)
	})
	a := bareApp(t)
	text := printed(t, a, func() error { return a.ns(nsFlags{json: true}, []string{pid}) })
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	own := func(n map[string]any) bool { return n["nprocs"] != 1.0 } // in the host's others come and go
	got.Namespaces, want.Namespaces = slices.DeleteFunc(got.Namespaces, own), slices.DeleteFunc(want.Namespaces, own)
	if len(got.Namespaces) != 5 || len(want.Namespaces) != 5 {
		t.Fatalf("%d namespaces, lsns has %d, want 5", len(got.Namespaces), len(want.Namespaces))
	}
	for i, w := range want.Namespaces {
		for key, value := range w {
			if g := got.Namespaces[i][key]; fmt.Sprint(g) != fmt.Sprint(value) {
				t.Errorf("%s of %v: got %v, lsns has %v", key, w["ns"], g, value)
			}
		}
	}
}

// TestNsPrints: the lines of what has processes, of what only something else keeps,
// and of names that would steer a terminal.
func TestNsPrints(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	p := func(command, cgroup string) []namespaces.Process {
		return []namespaces.Process{{Pid: 4711, PPid: 1, Command: command, Cgroup: cgroup}, {Pid: 4712}}
	}
	a := bareApp(t)
	rows, err := a.nsRows([]namespaces.Namespace{
		{Kind: namespaces.Mount, Inode: 4026531832, Host: true, Processes: p("/sbin/init", "/init.scope")},
		{Kind: namespaces.Network, Inode: 4026532100, Processes: p("nginx", "/docker/"+id)},
		{Kind: namespaces.Network, Inode: 4026532101, Processes: p("evil\x1b[2J\n\u202eeman", "/lxc.payload.\x1b]0;x")},
		{Kind: namespaces.Network, Inode: 4026532102, Paths: []string{"/run/netns/blue", "/proc/9/root/run/netns/blue"}},
		{Kind: namespaces.Network, Inode: 4026532103, Held: []namespaces.Holder{{Pid: unix.Getpid(), FD: 7}}},
		{Kind: namespaces.User, Inode: 4026532104},
		{Kind: namespaces.Time, Inode: 9, Processes: p("cron", "/system.slice/cron.service")},
	})
	if err != nil {
		t.Fatal(err)
	}
	text := printed(t, a, func() error {
		a.printNs(rows, true)
		return nil
	})
	text = strings.ReplaceAll(text, fmt.Sprintf("process %d, %s", unix.Getpid(), strings.Join(os.Args, " ")), "process 12, test")
	checkGolden(t, filepath.Join("testdata", "ns", "list.golden"), text)
}

func TestNsCompare(t *testing.T) {
	host := namespaces.Set{namespaces.Mount: 1, namespaces.Network: 2, namespaces.PID: 3, namespaces.UTS: 4, namespaces.IPC: 5, namespaces.User: 6, namespaces.Cgroup: 7, namespaces.Time: 8}
	web := namespaces.Set{namespaces.Mount: 10, namespaces.Network: 20, namespaces.PID: 30, namespaces.UTS: 40, namespaces.IPC: 50, namespaces.User: 6, namespaces.Cgroup: 70, namespaces.Time: 8}
	joined := namespaces.Set{namespaces.Mount: 11, namespaces.Network: 20, namespaces.PID: 31, namespaces.UTS: 4, namespaces.IPC: 51, namespaces.User: 60, namespaces.Cgroup: 71, namespaces.Time: 8}
	blue := namespaces.Set{namespaces.Network: 20}
	other := namespaces.Set{namespaces.PID: 30}
	a := bareApp(t)
	text := printed(t, a, func() error {
		for _, c := range []struct {
			sets  [2]namespaces.Set
			names [2]string
		}{
			{[2]namespaces.Set{web, joined}, [2]string{"container web", "container joined"}},
			{[2]namespaces.Set{web, host}, [2]string{"container web", "host"}},
			{[2]namespaces.Set{web, blue}, [2]string{"container web", "netns blue"}},
			{[2]namespaces.Set{blue, other}, [2]string{"netns blue", "/proc/12/ns/pid"}},
			{[2]namespaces.Set{{namespaces.PID: 31}, other}, [2]string{"/proc/13/ns/pid", "/proc/12/ns/pid"}},
			{[2]namespaces.Set{host, host}, [2]string{"self", "host"}},
		} {
			a.printComparison(compareSets(c.sets, host), c.names)
			fmt.Fprintln(a.out)
		}
		return nil
	})
	checkGolden(t, filepath.Join("testdata", "ns", "compare.golden"), text)
}

// Reading changes nothing, and what makes no sense changes nothing either.
func TestNsRefuses(t *testing.T) {
	a := bareApp(t)
	for want, f := range map[string]func() error{
		`unknown type of namespace "house"; there are mnt, net, pid, uts, ipc, user, cgroup, time`: func() error { return a.ns(nsFlags{kinds: []string{"net", "house"}}, nil) },
		"-p 12 and web are two targets; give one":                                                  func() error { return a.ns(nsFlags{pid: 12}, []string{"web"}) },
		`"-12" is no number of a process`:                                                          func() error { return a.ns(nsFlags{pid: -12}, nil) },
		"no such container: web":                                                                   func() error { return a.ns(nsFlags{}, []string{"container:web"}) },
	} {
		if err := f(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
