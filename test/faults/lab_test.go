// Package faults tests that each fault of minictr breaks what it says, in a host of its
// own, that the commands it prints do the same, and that it is put back exactly,
// whoever was killed meanwhile.
//
//	web, db ─┬─ minictr0 ── host ── eth0 ─────── eth0 ── lan, the router
//	six ─────┴─ br-green    192.0.2.10      192.0.2.20   198.51.100.2
//
// The host is a process in namespaces of its own, of networks and of mounts, so that
// its /run/netns and /etc/resolv.conf are its own, too.
package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

// A lab is a host with containers.
type lab struct {
	t        *testing.T
	host     int // a process that stands for it
	root     string
	programs string
	pids     map[string]int // of the containers
	ids      map[string]string
}

// setUp is the host, as docs/networking.md has it, but for the tentative time of
// IPv6 addresses.
const setUp = `set -e
mount -t tmpfs run /run
mkdir /run/netns
echo 'nameserver 192.0.2.20' > /run/resolv.conf
mount --bind /run/resolv.conf /etc/resolv.conf
sysctl -q -w net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
ip link set lo up
ip netns add lan
ip netns exec lan sysctl -q -w net.ipv4.ip_forward=1
ip link add eth0 type veth peer name eth0 netns lan
for ip in "ip" "ip -n lan"; do $ip link set eth0 up; done
ip addr add 192.0.2.10/24 dev eth0;       ip -n lan addr add 192.0.2.20/24 dev eth0
ip -n lan link set lo up;                 ip -n lan addr add 198.51.100.2/32 dev lo
ip route add default via 192.0.2.20
echo ready
exec sleep 600
`

func newLab(t *testing.T, programs string) *lab {
	t.Helper()
	l := &lab{t: t, root: t.TempDir(), programs: programs, pids: map[string]int{}, ids: map[string]string{}}
	c := exec.Command("unshare", "--net", "--mount", "sh", "-c", setUp)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	ready := make([]byte, 6)
	if n, err := out.Read(ready); err != nil || !strings.HasPrefix(string(ready[:n]), "ready") {
		t.Fatalf("set up a host: %v %q", err, ready[:n])
	}
	l.host = c.Process.Pid
	t.Cleanup(l.leave)
	l.container("web", "-p", "8080:80")
	l.container("db")
	l.must("network", "create", "--ipv6", "green")
	l.container("six", "--network", "green")
	return l
}

func (l *lab) container(name string, flags ...string) {
	l.t.Helper()
	words := append(append([]string{"run", "-d", "--name", name}, flags...), "minictr/base", "httpd", "-p", "80")
	l.ids[name] = l.must(words...)
	var list []struct{ State struct{ Pid int } }
	if err := json.Unmarshal([]byte(l.must("inspect", name)), &list); err != nil {
		l.t.Fatal(err)
	}
	l.pids[name] = list[0].State.Pid
}

func (l *lab) leave() {
	l.must("fault", "clear")
	l.must("rm", "-f", "web", "db", "six")
	l.must("network", "rm", "--all")
}

const commandLimit = 20 * time.Second

// command is one on the host.
func (l *lab) command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", fmt.Sprint(l.host), "-n", "-m", "--", name}, args...)...)
}

func (l *lab) minictr(args ...string) *exec.Cmd {
	return l.command(filepath.Join(l.programs, "minictr"), append([]string{"--root", l.root, "--runroot", runroot}, args...)...)
}

// runroot is where minictr has it by itself: on the host's own /run.
const runroot = "/run/minictr"

// seen is how the test sees a file of the host.
func (l *lab) seen(path string) string { return fmt.Sprintf("/proc/%d/root%s", l.host, path) }

// output runs a command to its end.
func output(c *exec.Cmd) (out, errs string, err error) {
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	c.WaitDelay = commandLimit
	if err = c.Run(); err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, stderr.String())
	}
	return strings.TrimSpace(stdout.String()), stderr.String(), err
}

// must is minictr that has to succeed.
func (l *lab) must(args ...string) string {
	l.t.Helper()
	out, _, err := output(l.minictr(args...))
	if err != nil {
		l.t.Error(err)
	}
	return out
}

// require is what all tests here need; it returns the directory of the programs.
func require(t *testing.T) string {
	t.Helper()
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "bridge", "tc", "nft", "nsenter", "unshare", "sysctl")
	kernel.Snapshot(t)
	return kernel.Programs(t)
}
