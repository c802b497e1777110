package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-see/lab"
	"github.com/minictr/minictr/test/kernel"
)

// A school has the labs of one RUNROOT.
type school struct {
	t       *testing.T
	minictr string
	dir     string
}

func TestLab(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "nft", "nsenter")
	programs := kernel.Programs(t)
	for _, test := range []struct {
		name string
		run  func(*school)
	}{
		{"exercises", labExercises},
		{"leaves the machine", labLeavesTheMachine},
		{"holder killed", labHolderKilled},
		{"start killed", labStartKilled},
		{"from within", labFromWithin},
		{"on a terminal", labOnATerminal},
		{"bad input", labBadInput},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(newSchool(t, programs)) })
	}
}

func newSchool(t *testing.T, programs string) *school {
	t.Helper()
	kernel.Snapshot(t)
	s := &school{t: t, minictr: programs + "/minictr", dir: t.TempDir()}
	t.Cleanup(func() { s.must("lab", "stop", "--all") })
	return s
}

func (s *school) command(args ...string) *exec.Cmd {
	return exec.Command(s.minictr, append([]string{"--root", s.dir + "/root", "--runroot", s.dir + "/run"}, args...)...)
}

// try returns what the command prints, and its exit code.
func (s *school) try(args ...string) (out string, code int) {
	b, err := s.command(args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Error(err)
	}
	return string(b), exitCode(err)
}

func (s *school) must(args ...string) string {
	s.t.Helper()
	out, code := s.try(args...)
	if code != 0 {
		s.t.Errorf("minictr %s: exit code %d: %s", strings.Join(args, " "), code, out)
	}
	return out
}

// misses says what is wrong when the check does not find goals that are missed.
func (s *school) misses(name string) error {
	out, code := s.try("lab", "check", name)
	if code != 1 || !strings.Contains(out, "not yet: ") || strings.Contains(out, "minictr: ") {
		return fmt.Errorf("exit code %d: %s", code, out)
	}
	return nil
}

func labExercises(s *school) {
	t := s.t
	var all sync.WaitGroup
	places := make(chan bool, 8) // most of the time they wait for packets that do not come
	for _, e := range lab.Exercises() {
		all.Go(func() {
			places <- true
			t.Run(e.Name, func(t *testing.T) { (&school{t, s.minictr, s.dir}).exercise(e) })
			<-places
		})
	}
	all.Wait()
	if entries, err := os.ReadDir(s.dir + "/run"); len(entries) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

func (s *school) exercise(e lab.Exercise) {
	do := func(script string) (string, int) {
		return s.try("lab", "enter", e.Name, "--", "sh", "-eu", "-c", script)
	}
	s.must("lab", "start", e.Name)
	if err := s.misses(e.Name); err != nil {
		s.t.Errorf("fresh: %v", err)
	}
	if out, code := do(s.must("lab", "solution", e.Name)); code != 0 {
		s.t.Errorf("solution: exit code %d: %s", code, out)
	}
	if out := s.must("lab", "check", e.Name); strings.Contains(out, "not yet") || !strings.Contains(out, e.Learnt()) {
		s.t.Errorf("solution: %s", out)
	}
	s.must("lab", "reset", e.Name)
	if err := s.misses(e.Name); err != nil {
		s.t.Errorf("after a reset: %v", err)
	}
	for i, script := range e.Wrong() {
		if i > 0 {
			s.must("lab", "reset", e.Name)
		}
		out, _ := do(script)
		if err := s.misses(e.Name); err != nil {
			s.t.Errorf("%s\nprinted %s\nand the check: %v", script, out, err)
		}
	}
	s.must("lab", "stop", e.Name)
}

// untouched prints what of a machine a lab could change.
const untouched = `dump() {
	ip -d link; ip addr; ip route show table all; ip -6 route show table all; ip rule; ip neigh; nft list ruleset
	sysctl -a 2>/dev/null | grep -v -e kernel.random -e '^fs\.' -e ns_last_pid -e kernel.pty.nr -e vm.stat
	cat /proc/self/mountinfo; ls /run /run/netns; hostname
}
`

// The machine on which labs run is, in the test, another namespace of network and mounts.
func labLeavesTheMachine(s *school) {
	t := s.t
	kernel.RequireCommand(t, "unshare", "sysctl", "diff")
	script := untouched + `
		mount -t tmpfs run /run
		ip link set lo up
		ip netns add theirs
		ip link add eth0 type veth peer name eth0 netns theirs
		ip link set eth0 up; ip -n theirs link set eth0 up
		ip addr add 192.0.2.10/24 dev eth0 nodad
		ip route add default via 192.0.2.1
		nft add table inet theirs
		until ip -6 addr show eth0 | grep inet6 | grep -v -q tentative; do sleep 0.1; done
		dump >$D/before
		for e in way-out silent-port will-not-go; do
			$M lab start $e >/dev/null 2>&1
			$M lab enter $e -- sh -eu -c "$($M lab solution $e)"
			$M lab check $e >/dev/null 2>&1
		done
		dump >$D/during
		# What the machine takes away is gone, though labs run that have been there before.
		ip link del eth0
		inode=$(stat -c %i /run/netns/theirs)
		ip netns del theirs
		! grep -q "net:\[$inode\]" /proc/[0-9]*/mountinfo
		ip netns add theirs
		ip link add eth0 type veth peer name eth0 netns theirs
		ip link set eth0 up; ip -n theirs link set eth0 up
		$M lab stop --all
		ls -A $D/run >$D/left
		diff $D/before $D/during`
	c := exec.Command("unshare", "-n", "-m", "--propagation", "private", "sh", "-euc", script)
	c.Env = append(os.Environ(), "D="+s.dir, "M="+s.minictr+" --root "+s.dir+"/root --runroot "+s.dir+"/run")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if left, err := os.ReadFile(s.dir + "/left"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %s %v", left, err)
	}
	for _, host := range []string{"/etc", "/usr/bin", "/sys/kernel", "/proc/sys/kernel"} {
		s.must("lab", "start", "loopback")
		if out, code := s.try("lab", "enter", "loopback", "--", "sh", "-c", "touch "+host+"/x-lab || echo 1 >"+host+"/x-lab"); code == 0 {
			t.Errorf("%s can be written to: %s", host, out)
			_ = os.Remove(host + "/x-lab")
		}
	}
}

// holders returns the processes that hold labs of the school.
func (s *school) holders() (pids []int) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		line, _ := os.ReadFile(path) // perhaps gone
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/", &pid); err == nil && bytes.Contains(line, []byte("\x00lab\x00hold\x00"+s.dir)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// healed fails the test unless the next command leaves nothing of what was killed.
func (s *school) healed(when string) {
	s.t.Helper()
	if out := s.must("lab", "list"); strings.Contains(out, "running") {
		s.t.Errorf("%s: %s", when, out)
	}
	if entries, _ := os.ReadDir(s.dir + "/run/labs"); len(entries) > 0 {
		s.t.Errorf("%s: left behind: %v", when, entries)
	}
	kernel.Eventually(s.t, 10*time.Second, func() error {
		if pids := s.holders(); len(pids) > 0 {
			return fmt.Errorf("%s: %d holds a lab", when, pids)
		}
		return nil
	})
}

// With containers: what is left of them are their control groups.
func labHolderKilled(s *school) {
	t := s.t
	s.must("lab", "start", "silent-port")
	s.must("lab", "enter", "--", "minictr", "run", "-d", "--name", "other", "minictr/base", "sleep", "1000")
	pids := s.holders()
	if len(pids) != 1 {
		t.Fatalf("holders %d", pids)
	}
	if err := unix.Kill(pids[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	kernel.Eventually(t, 10*time.Second, func() error {
		if out := s.must("lab", "list"); strings.Contains(out, "running") {
			return errors.New(out)
		}
		return nil
	})
	s.healed("holder killed")
}

func labStartKilled(s *school) {
	t := s.t
	for _, after := range []time.Duration{12 * time.Millisecond, 25 * time.Millisecond, 40 * time.Millisecond, 60 * time.Millisecond} {
		c := s.command("lab", "start", "silent-port")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after)
		_ = c.Process.Kill()
		if c.Wait() == nil {
			s.must("lab", "stop", "silent-port") // it was faster
		}
		s.healed(fmt.Sprintf("start killed after %v", after))
	}
	s.must("lab", "start", "silent-port")
	if err := s.misses("silent-port"); err != nil {
		t.Error(err)
	}
}

func labFromWithin(s *school) {
	t := s.t
	s.must("lab", "start", "1")
	s.must("lab", "enter", "--", "sh", "-c", "touch ~/mine && ip -n shop link set lo up && minictr lab check && minictr lab list | grep -q 'running, solved'")
	s.must("lab", "enter", "--", "ip", "netns", "exec", "shop", "minictr", "lab", "check") // from a namespace of the lab
	if out, code := s.try("lab", "enter", "--", "minictr", "lab", "start", "2"); code != 1 || !strings.Contains(out, "this is lab loopback") {
		t.Errorf("exit code %d: %s", code, out)
	}
	first := s.must("lab", "enter", "--", "minictr", "lab", "hint")
	if second := s.must("lab", "hint"); second == first || second != lab.Exercises()[0].Hints()[1]+"\n(1 more: minictr lab hint)\n" {
		t.Errorf("%q, %q", first, second)
	}
	if _, code := s.try("lab", "enter", "--", "minictr", "lab", "reset"); code != 128+int(unix.SIGKILL) {
		t.Errorf("reset: exit code %d", code)
	}
	if out, code := s.try("lab", "enter", "--", "ls", "mine"); code == 0 {
		t.Errorf("reset: %s", out)
	}
	if err := s.misses("loopback"); err != nil {
		t.Errorf("reset: %v", err)
	}
	s.try("lab", "enter", "--", "minictr", "lab", "stop")
	s.healed("stopped from within")
}

// A learner at a terminal goes in, has it made anew from within, leaves and comes back.
func labOnATerminal(s *school) {
	c := s.command("lab", "start", "loopback")
	c.Env = append(os.Environ(), "TERM=dumb")
	l := sitDown(s.t, c)
	l.waits("The line above prints what the server says.")
	l.waits("lab loopback:~# ")
	l.types("hostname; minictr lab check")
	l.waits("lab\r\nnot yet: lo is switched on in shop")
	l.waits("lab loopback:~# ")
	l.types("echo be''gun; sleep 100")
	l.waits("begun")
	time.Sleep(200 * time.Millisecond)
	l.types("\x03echo st''ill here")
	l.waits("still here")
	l.waits("lab loopback:~# ")
	l.types("ip -n shop link set lo up; minictr lab check; minictr lab reset")
	l.waits("What you have learnt:")
	l.waits("Lab loopback is as it was at the beginning.")
	l.waits("lab loopback:~# ")
	l.types("minictr lab check")
	l.waits("not yet: lo is switched on in shop")
	l.types("exit")
	l.waits("Lab loopback still runs: minictr lab enter loopback goes back in")
	if code := exitCode(c.Wait()); code != 0 {
		s.t.Errorf("exit code %d", code)
	}
	c = s.command("lab", "enter")
	l = sitDown(s.t, c)
	l.waits("lab loopback:~# ")
	l.types("minictr lab stop")
	l.waits("Lab loopback is stopped.")
	if code := exitCode(c.Wait()); code != 0 {
		s.t.Errorf("exit code %d", code)
	}
	s.healed("stopped at the terminal")
}

func labBadInput(s *school) {
	t := s.t
	for _, test := range []struct{ args, want string }{
		{"start nothing", `minictr: no exercise "nothing"` + "\nhint: minictr lab list lists them\n"},
		{"start", "usage: minictr lab start NAME"},
		{"check", "minictr: no lab runs\nhint: minictr lab start NAME starts one"},
		{"check cable", "minictr: lab cable does not run\nhint: minictr lab start cable starts it\n"},
		{"enter cable", "minictr: lab cable does not run\n"},
		{"enter cable -- true", "minictr: lab cable does not run\n"},
		{"nonsense", `unknown command "nonsense"`},
		{"start ../x", `minictr: no exercise "../x"`},
	} {
		if out, code := s.try(append([]string{"lab"}, strings.Fields(test.args)...)...); code != 1 || !strings.Contains(out, test.want) {
			t.Errorf("lab %s: exit code %d: %s", test.args, code, out)
		}
	}
	s.must("lab", "start", "1")
	s.must("lab", "start", "2")
	if out, code := s.try("lab", "check"); code != 1 || out != "minictr: 2 labs run: name one\nhint: loopback, cable\n" {
		t.Errorf("exit code %d: %s", code, out)
	}
	if out := s.must("lab", "start", "2"); !strings.Contains(out, "It runs already") {
		t.Error(out)
	}
	if _, code := s.try("lab", "enter", "1", "--", "sh", "-c", "exit 7"); code != 7 {
		t.Errorf("exit code %d", code)
	}
	c := s.command("lab", "start", "6")
	c.Env = []string{"PATH=/nowhere"}
	// ip and nft may be in /usr/sbin, where they are found all the same.
	if out, err := c.CombinedOutput(); err != nil && !strings.Contains(string(out), "hint: Debian and Ubuntu: apt install") {
		t.Errorf("%v: %s", err, out)
	}
}
