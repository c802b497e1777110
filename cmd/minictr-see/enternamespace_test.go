package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/test/kernel"
)

// TestAgreesWithNsenter: a command that enter and nsenter(1) run with the same options
// is in the same namespaces, directory and ids. They differ on purpose with -a when the
// mount namespace is the caller's own: nsenter goes to its root then, enter stays.
func TestAgreesWithNsenter(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "nsenter", "unshare")
	kernel.Snapshot(t)
	minictr := filepath.Join(kernel.Programs(t), "minictr")
	for _, target := range []struct {
		unshare string
		options []string
	}{
		{"--mount --net --pid --fork --uts --ipc --cgroup --time", []string{
			"-n", "-m", "-p", "-u", "-i", "-C", "-T", "-a", "-n -m", "-m -p -n -u -i", "-n -S 12 -G 34", "-p -F", "-m -r", "-n -w", "-a -r -w",
		}},
		{"--user --map-root-user --mount --net --pid --fork --uts --ipc --cgroup", []string{
			"-U", "-a", "-n", "-U -n", "-U --preserve-credentials", "-a -S 0 -G 0", "-U -m -p", "-m",
		}},
		{"--net --fork unshare --user --map-root-user --pid --fork", []string{"-U", "-n", "-n -U -p"}},
	} {
		pid := unshared(t, strings.Fields(target.unshare))
		for _, options := range target.options {
			t.Run(target.unshare+" "+options, func(t *testing.T) {
				args := append([]string{"-t", fmt.Sprint(pid)}, strings.Fields(options)...)
				theirs := insideBy(t, "nsenter", args)
				ours := insideBy(t, minictr, append([]string{"enter"}, args...))
				if ours != theirs {
					t.Errorf("ours:\n%s\nnsenter's:\n%s", ours, theirs)
				}
			})
		}
	}
}

// unshared is a process that unshare(1) has put into namespaces.
func unshared(t *testing.T, options []string) (pid int) {
	t.Helper()
	c := exec.Command("unshare", append(options, "sh", "-c", "cd /tmp; exec sleep 4711")...)
	c.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Kill(-c.Process.Pid, unix.SIGKILL)
		c.Wait()
	})
	kernel.Eventually(t, 5*time.Second, func() error {
		for pid = c.Process.Pid; ; {
			command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err == nil && strings.HasPrefix(string(command), "sleep\x00") {
				return nil
			}
			children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
			if err != nil {
				return err
			}
			if n, _ := fmt.Sscan(string(children), &pid); n == 0 {
				return errors.New("it does not sleep yet")
			}
		}
	})
	return pid
}

// insideBy runs a command by one of the programs, and returns what it says of itself.
func insideBy(t *testing.T, program string, args []string) string {
	t.Helper()
	script := `for kind in mnt net pid pid_for_children uts ipc user cgroup time; do readlink /proc/self/ns/$kind; done
		id -u; id -g; id -G; pwd; umask; ulimit -n; echo "$PATH"`
	c := exec.Command(program, append(args, "sh", "-c", script)...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", c, err, out)
	}
	return string(out)
}

// What enter starts has the caller's streams and no other descriptor, and ends when
// enter is killed.
func TestEnterLeavesNothing(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "unshare")
	kernel.Snapshot(t)
	pid := unshared(t, []string{"--net", "--pid", "--fork"})
	minictr := filepath.Join(kernel.Programs(t), "minictr")
	c := exec.Command(minictr, "enter", fmt.Sprint(pid), "--", "sh", "-c", "ls /proc/self/fd | wc -l; exec 0<&-; exec sleep 4712")
	extra, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	c.ExtraFiles = []*os.File{extra, extra}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 16)
	n, err := out.Read(line)
	if got := strings.TrimSpace(string(line[:n])); err != nil || got != "4" { // 0, 1, 2, and the directory
		t.Errorf("%q descriptors, %v", got, err)
	}
	c.Process.Kill()
	c.Wait()
	kernel.Eventually(t, 5*time.Second, func() error {
		running, err := exec.Command("pgrep", "-x", "-f", "sleep 4712").Output()
		if err == nil {
			return fmt.Errorf("the command goes on: %s", running)
		}
		return nil
	})
}
