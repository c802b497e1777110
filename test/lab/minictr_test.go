package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

// A lab is a world and the minictr of its host.
type lab struct {
	*world
	t             testing.TB
	programs      string
	root, runroot string
	before        string // what the host was like
}

// commandLimit is many times what any command takes.
const commandLimit = 20 * time.Second

// newLab makes a world, and holds minictr to leaving nothing in it.
func newLab(t testing.TB, programs string) *lab {
	t.Helper()
	dir := t.TempDir()
	l := &lab{world: newWorld(t), t: t, programs: programs, root: dir + "/root", runroot: dir + "/run"}
	l.before = l.state()
	t.Cleanup(l.leave)
	return l
}

// require skips a test that cannot run here, and watches what it leaves on the
// machine.
func require(t testing.TB) (programs string) {
	t.Helper()
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "nft", "sysctl")
	kernel.Snapshot(t)
	return kernel.Programs(t)
}

func (l *lab) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(l.programs, "minictr"), append([]string{"--root", l.root, "--runroot", l.runroot}, args...)...)
	c.WaitDelay = commandLimit / 10 // a process that it has started may hold its output
	return c
}

// try runs minictr on the host.
func (l *lab) try(args ...string) (out, errs string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	c := l.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err = l.host.do(c.Start); err == nil {
		err = c.Wait()
	}
	if err != nil {
		err = fmt.Errorf("minictr %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(stdout.String()), stderr.String(), err
}

// must is try of a command that has to succeed.
func (l *lab) must(args ...string) string {
	l.t.Helper()
	out, _, err := l.try(args...)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// A container is one that sleeps, and where it is.
type container struct {
	place
	id  string
	pid int
	on  map[string]endpoint // by the names of its networks
}

type endpoint struct {
	IPAddress         string
	Gateway           string
	GlobalIPv6Address string
	IPv6Gateway       string
	MacAddress        string
}

const image = "minictr/base"

// sleeper is the words of run -d for a container that does nothing.
func sleeper(name string, flags ...string) []string {
	words := append([]string{"run", "-d", "--name", name}, flags...)
	return append(words, image, "sleep", "3600")
}

// run starts a container that sleeps.
func (l *lab) run(name string, flags ...string) *container {
	l.t.Helper()
	l.must(sleeper(name, flags...)...)
	return l.inspect(name)
}

type inspected struct {
	Id    string
	State struct {
		Status string
		Pid    int
	}
	NetworkSettings struct {
		Networks map[string]endpoint
	}
}

func (l *lab) look(name string) (inspected, error) {
	var list []inspected
	out, _, err := l.try("inspect", name)
	if err == nil {
		err = json.Unmarshal([]byte(out), &list)
	}
	if err == nil && len(list) != 1 {
		err = fmt.Errorf("inspect %s: %d things", name, len(list))
	}
	if err != nil {
		return inspected{}, err
	}
	return list[0], nil
}

// inspect says where a running container is.
func (l *lab) inspect(name string) *container {
	l.t.Helper()
	seen, err := l.look(name)
	if err != nil {
		l.t.Fatal(err)
	}
	return &container{
		place: open(l.t, name, fmt.Sprintf("/proc/%d/ns/net", seen.State.Pid)),
		id:    seen.Id, pid: seen.State.Pid, on: seen.NetworkSettings.Networks,
	}
}

// leave removes all that minictr has made, and compares the host with what it
// was like before.
func (l *lab) leave() {
	if ids, _, err := l.try("ps", "-aq"); err != nil {
		l.t.Error(err)
	} else if ids != "" {
		if _, _, err := l.try(append([]string{"rm", "-f"}, strings.Fields(ids)...)...); err != nil {
			l.t.Error(err)
		}
	}
	if _, _, err := l.try("network", "rm", "--all", "--restore"); err != nil {
		l.t.Error(err)
	}
	l.sameAsBefore()
}
