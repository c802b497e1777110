package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

func sh(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("sh", "-ec", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// hears reports whether something is heard within the time.
func hears(t *testing.T, w *Watch, limit time.Duration) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := w.Wait(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	return err == nil
}

// settle waits until nothing is heard any more: addresses of IPv6 come by themselves.
func settle(t *testing.T, w *Watch) {
	t.Helper()
	kernel.Eventually(t, 20*time.Second, func() error {
		if hears(t, w, 80*time.Millisecond) {
			return errors.New("something still changes")
		}
		return nil
	})
}

// Each kind of change is heard, here and in the namespace at the other end of a cable.
func TestHears(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "nft", "nsenter", "sysctl")
	kernel.Snapshot(t)
	peer := kernel.NewNetns(t)
	kernel.InNetns(t)
	directory := t.TempDir()
	quietly := "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1" // or addresses come for seconds
	in := "nsenter --net=" + peer.Path() + " "
	sh(t, quietly+"; "+in+quietly+"; ip link add v0 up type veth peer name v1 netns "+peer.Path())
	w, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Directories(directory, filepath.Join(directory, "later", "names")); err != nil {
		t.Fatal(err)
	}
	for _, change := range []string{
		"ip link set v0 mtu 1400", "ip addr add 10.0.0.1/24 dev v0", "ip link set lo up", "ip route add blackhole 10.9.0.0/16", "ip rule add from 10.8.0.0/16 lookup 7",
		"ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev v0", "sysctl -qw net.ipv4.ip_forward=1", "ip link add br0 type bridge", "ip link set v0 master br0",
		"nft add table ip t", "nft add chain ip t c", "nft add rule ip t c accept", "nft add set ip t s '{ type ipv4_addr; }'", "nft add element ip t s '{ 10.0.0.1 }'",
		in + "ip link set v1 up", in + "ip addr add 10.0.0.2/24 dev v1", in + "ip route add default via 10.0.0.1", in + "nft add table ip t", in + "sysctl -qw net.ipv4.ip_forward=1",
		"touch " + directory + "/name", "rm " + directory + "/name", "mkdir " + directory + "/later",
		"nft delete table ip t", "ip link del br0", "ip link del v0",
	} {
		settle(t, w)
		sh(t, change)
		if !hears(t, w, 2*time.Second) {
			t.Errorf("not heard: %s", change)
		}
	}
	settle(t, w)
	w.Nudge()
	if !hears(t, w, time.Second) {
		t.Error("a nudge is not heard")
	}
}

// Whoever watches keeps no namespace alive: its end takes the cable away.
func TestKeepsNothingAlive(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "unshare", "sleep")
	kernel.Snapshot(t)
	kernel.InNetns(t)
	c := exec.Command("unshare", "-n", "sleep", "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/proc/%d/ns/net", c.Process.Pid)
	kernel.Eventually(t, 5*time.Second, func() error {
		if there, err := os.Readlink(path); err != nil || there == readlink(t) {
			return fmt.Errorf("still here: %w", err)
		}
		return nil
	})
	sh(t, fmt.Sprintf("ip link add v0 type veth peer name v1 netns %d", c.Process.Pid))
	w, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	settle(t, w)
	_ = c.Process.Kill()
	_ = c.Wait() // killed: Wait says so
	if !hears(t, w, 10*time.Second) {
		t.Error("its end is not heard")
	}
	if out, err := exec.Command("ip", "link", "show", "v0").CombinedOutput(); err == nil {
		t.Errorf("the cable is still there: %s", out)
	}
}

func readlink(t *testing.T) string {
	t.Helper()
	there, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return there
}

func TestCloseEndsReaders(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.Snapshot(t) // no descriptor is left
	kernel.InNetns(t)
	w, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if hears(t, w, 200*time.Millisecond) {
		t.Error("heard something")
	}
}
