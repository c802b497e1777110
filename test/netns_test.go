package test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

// These tests are of minictr netns beside ip netns, each on a host of its own. Neither
// knows of the other: they meet in /run/netns and in the kernel.

func TestNetns(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "nft", "nsenter", "unshare", "busybox", "sysctl", "ps", "perl", "setpriv", "stdbuf")
	programs := kernel.Programs(t)
	t.Run("ofContainers", func(t *testing.T) { netnsOfContainers(t, newNetnsHost(t, programs)) })
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"sameWords", netnsSameWords},
		{"walk", netnsWalk},
		{"topologies", netnsTopologies},
		{"exec", netnsExec},
		{"monitor", netnsMonitor},
		{"held", netnsHeld},
		{"kill", netnsKill},
		{"killRefused", netnsKillRefused},
		{"badInput", netnsBadInput},
		{"users", netnsOfUsers},
	} {
		t.Run(test.name, func(t *testing.T) {
			kernel.Snapshot(t)
			etc := t.TempDir()
			kernel.InHost(t)
			t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
			script(t, "cp /etc/passwd /etc/group /etc/hosts "+etc+" && mkdir "+etc+"/netns && echo the host > "+etc+"/resolv.conf && mount --bind "+etc+" /etc && ip link set lo up")
			test.run(t)
			script(t, "umount -l /etc")
		})
	}
}

// ran runs a script of sh where the test is: what it printed, and its exit code.
func ran(t *testing.T, text string) (string, int) {
	t.Helper()
	out, err := exec.Command("sh", "-c", text).CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out), 0
}

// script runs a script, which has to succeed.
func script(t *testing.T, text string) string {
	t.Helper()
	out, code := ran(t, text)
	if code != 0 {
		t.Fatalf("%s: exit code %d: %s", text, code, out)
	}
	return out
}

// netnsViews are questions that both answer with the same bytes and exit codes.
var netnsViews = [][2]string{
	{"ip netns list", "minictr netns list"},
	{"ip -j netns list", "minictr netns list --json"},
	{"ip netns list-id", "minictr netns list-id"},
	{"ip -j netns list-id", "minictr netns list-id --json"},
}

// sameViews compares the answers.
func sameViews(t *testing.T, when string, views ...[2]string) {
	t.Helper()
	for _, view := range append(slices.Clone(netnsViews), views...) {
		theirs, code := ran(t, view[0]+" 2>/dev/null")
		ours, ourCode := ran(t, view[1]+" 2>/dev/null")
		if ours != theirs || code != ourCode {
			t.Errorf("%s: %s: exit code %d\n%s%s: exit code %d\n%s", when, view[0], code, theirs, view[1], ourCode, ours)
		}
	}
}

// netnsSameWords: the same command lines, with both, on hosts that are equal; what they print
// on success and how they end is the same.
func netnsSameWords(t *testing.T) {
	words := []string{
		"list", "", "add red", "add red", "add ..", "add a/b", "add ''", "add", "add blue", "l", "ls", "show", "lst", "li",
		"set red auto", "set red 5", "set blue 5", "set blue 5", "set blue -1", "set blue x", "set nope 3", "set blue", "list", "list-id",
		"list-id nsid 0", "list-id nsid 99", "list-id target-nsid 0", "list-id target-nsid 99", "list-id target-nsid 99 nsid 0", "list-id target-nsid 0 nsid 5", "list-id x",
		"exec red ip -br link", "exec red sh -c 'exit 7'", "exec red sh -c 'kill -9 $$'", "exec red no-such-command", "exec red", "exec", "exec nope true",
		"exec red sh -c 'ls /sys/class/net; grep -c . /proc/net/dev'", "exec red grep -c . /proc/self/mountinfo",
		"identify", "identify 1x", "identify 4194305", "identify $$", "pids red", "pids nope", "pids", "pids red blue",
		"attach green $$", "attach green $$", "attach green", "attach grey 4194305", "attach grey x", "list", "delete green", "list",
		"a yellow", "d yellow", "delete nope", "delete ..", "delete", "x", "list",
	}
	var answers [2][]string
	for i, tool := range []string{"ip netns", "minictr netns"} {
		for _, w := range words {
			out, code := ran(t, tool+" "+w+" 2>/dev/null")
			answers[i] = append(answers[i], fmt.Sprintf("exit code %d\n%s", code, out))
		}
		// The kernel frees the numbers in the background.
		script(t, tool+` delete red; `+tool+` delete blue; n=0; while [ -n "$(ip netns list-id)" ] && [ $n -lt 200 ]; do sleep 0.05; n=$((n+1)); done`)
	}
	for i, w := range words {
		if answers[0][i] != answers[1][i] {
			t.Errorf("ip netns %s: %s\nminictr netns %s: %s", w, answers[0][i], w, answers[1][i])
		}
	}
}

// withoutGuesses takes away the name that ip gives to a namespace that has no number
// here: that of whatever has the other one's number.
const withoutGuesses = ` 2>/dev/null | sed 's/unassigned (.*/unassigned /; s/\({"nsid":[0-9]*\),"name":"[^"]*"}/\1}/g'`

// netnsWalk does random things with either tool, and asks both after each.
func netnsWalk(t *testing.T) {
	seed := kernel.Seed(t)
	random := rand.New(rand.NewPCG(seed, 1))
	name := func() string { return fmt.Sprint("n", random.IntN(5)) }
	tool := func() string { return []string{"ip netns", "minictr netns"}[random.IntN(2)] }
	moves := []func() string{
		func() string { return tool() + " add " + name() },
		func() string { return tool() + " add " + name() },
		func() string { return tool() + " delete " + name() },
		func() string {
			return tool() + " set " + name() + " " + []string{"auto", fmt.Sprint(random.IntN(6))}[random.IntN(2)]
		},
		func() string { return fmt.Sprintf("%s attach %s $$", tool(), name()) },
		func() string {
			return fmt.Sprintf("ip netns exec %s %s set %s %d", name(), tool(), name(), random.IntN(6))
		},
		func() string { return fmt.Sprintf("%s exec %s ip link set lo up", tool(), name()) },
		func() string { return fmt.Sprintf("ip link add %s type veth peer name p netns %s", "v"+name(), name()) },
	}
	var done []string
	for range 25 {
		move := moves[random.IntN(len(moves))]()
		_, code := ran(t, move)
		done = append(done, fmt.Sprintf("%s # %d", move, code))
		sameViews(t, strings.Join(done, "\n"),
			[2]string{"ip netns list-id target-nsid 1" + withoutGuesses, "minictr netns list-id target-nsid 1" + withoutGuesses},
			[2]string{"ip netns list-id target-nsid 2 >/dev/null 2>&1 && ip -j netns list-id target-nsid 2" + withoutGuesses, "minictr netns list-id target-nsid 2 >/dev/null 2>&1 && minictr netns list-id -j target-nsid 2" + withoutGuesses})
		if t.Failed() {
			return
		}
	}
	out := script(t, "minictr netns -all delete 2>&1; ip netns list")
	if out != "" {
		t.Errorf("left: %s\n%s", out, strings.Join(done, "\n"))
	}
}

// netnsTopologies compares on networks that ip has made, from the host and from each of
// the namespaces.
func netnsTopologies(t *testing.T) {
	seed := kernel.Seed(t)
	topology := kernel.NewTopology(seed, 6, kernel.LinkKinds(t)...)
	topology.Make(t)
	sameViews(t, "on the host")
	for _, n := range topology.Namespaces {
		var inside [][2]string
		for _, view := range netnsViews {
			inside = append(inside, [2]string{"ip netns exec " + n + " " + view[0], "minictr netns exec " + n + " " + view[1]})
		}
		inside = append(inside,
			[2]string{"ip netns exec " + n + " ip netns identify", "minictr netns exec " + n + " minictr netns identify"},
			[2]string{"ip netns exec " + n + " ip -br link", "minictr netns exec " + n + " ip -br link"},
			[2]string{"ip netns pids " + n, "minictr netns pids " + n})
		sameViews(t, "in "+n, inside...)
	}
	sameViews(t, "of all", [2]string{"ip -all netns exec ip route", "minictr netns -all exec ip route"}, [2]string{"ip -all netns exec false", "minictr netns exec --all false"})
}

// netnsExec looks at what a command sees: its own /etc files and /sys, and none of it
// outside.
func netnsExec(t *testing.T) {
	script(t, "minictr netns add blue; mkdir /etc/netns/blue; echo in blue > /etc/netns/blue/resolv.conf; echo x > /etc/netns/blue/not-there")
	see := `cat /etc/resolv.conf; ls /sys/class/net; grep " /sys " /proc/self/mountinfo | cut -d\  -f 4-; ip netns identify $$; id -u; pwd; echo $ONE`
	theirs := script(t, "cd /tmp; ONE=1 ip netns exec blue sh -c '"+see+"' 2>/dev/null")
	ours := script(t, "cd /tmp; ONE=1 minictr netns exec blue sh -c '"+see+"' 2>/dev/null")
	if ours != theirs || !strings.HasPrefix(ours, "in blue\nlo\n") {
		t.Errorf("ip: %s\nminictr: %s", theirs, ours)
	}
	if out := script(t, "minictr netns exec blue true"); !strings.Contains(out, "/etc/not-there") {
		t.Errorf("a file that has no place in /etc: %q", out)
	}
	if out := script(t, "cat /etc/resolv.conf; grep -c /etc/resolv.conf /proc/self/mountinfo || true"); out != "the host\n0\n" {
		t.Errorf("outside: %q", out)
	}
}

// netnsMonitor reads what both say of what both do.
func netnsMonitor(t *testing.T) {
	for _, tool := range []string{"stdbuf -oL ip", "minictr"} {
		c := exec.Command("sh", "-c", "exec "+tool+" netns monitor")
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		kernel.Eventually(t, 10*time.Second, func() error {
			if fds, _ := ran(t, fmt.Sprintf("grep -c inotify /proc/%d/fdinfo/* | grep -v :0", c.Process.Pid)); fds == "" {
				return errors.New("nothing is watched yet")
			}
			return nil
		})
		script(t, "ip netns add a; minictr netns add b; minictr netns delete a; ip netns delete b; ln -s /proc/2/ns/net /run/netns/web; rm /run/netns/web")
		const want = "add a\nadd b\ndelete a\ndelete b\nadd web\ndelete web\n"
		got := make([]byte, 0, len(want))
		for len(got) < len(want) {
			n, err := out.Read(got[len(got):cap(got)])
			if err != nil {
				t.Fatal(err)
			}
			got = got[:len(got)+n]
		}
		if string(got) != want {
			t.Errorf("%s netns monitor: %q", tool, got)
		}
		_ = c.Process.Kill()
		_ = c.Wait() // killed: Wait says so
	}
}

// background starts a script and waits until it is what ready is the beginning of.
func background(t *testing.T, text, ready string) (pid int) {
	t.Helper()
	c := exec.Command("sh", "-c", text)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have been ended by what is tested
		_ = c.Wait()         // killed: Wait says so
	})
	kernel.Eventually(t, 10*time.Second, func() error {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.Process.Pid))
		if err == nil && !strings.HasPrefix(strings.ReplaceAll(string(line), "\x00", " "), ready) {
			err = fmt.Errorf("still %q", line)
		}
		return err
	})
	return c.Process.Pid
}
