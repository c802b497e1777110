package test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

// These tests are of ip netns, the real one, and minictr beside each other. ip netns
// knows one directory, /run/netns, and minictr uses it with its usual --runroot. So
// they have a machine of their own to run on, as far as that goes: a network and a
// mount namespace with another /run and another /etc.

func TestIPNetns(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "ip", "nft", "nsenter", "unshare", "busybox", "sysctl")
	programs := kernel.Programs(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *netnsHost)
	}{
		{"ipNetnsKnowsContainers", ipNetnsKnowsContainers},
		{"ipNetnsNameTaken", ipNetnsNameTaken},
		{"ipNetnsDelete", ipNetnsDelete},
		{"ipNetnsCrash", ipNetnsCrash},
		{"joinIPNetns", joinIPNetns},
		{"adoptIPNetns", adoptIPNetns},
		{"adoptedNetnsDeleted", adoptedNetnsDeleted},
		{"adoptScript", adoptScript},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newNetnsHost(t, programs)) })
	}
}

// netnsHost is such a machine.
type netnsHost struct {
	t      *testing.T
	pid    int // of the process that keeps the namespaces
	path   string
	rootfs string
}

func newNetnsHost(t *testing.T, programs string) *netnsHost {
	t.Helper()
	kernel.Snapshot(t)
	dir := t.TempDir()
	h := &netnsHost{t: t, rootfs: dir + "/rootfs", path: dir + "/bin:" + os.Getenv("PATH")}
	(&host{t: t, rootfs: h.rootfs}).makeRootfs()
	wrapper := fmt.Sprintf("#!/bin/sh\nexec %s/minictr --root %s/root \"$@\"\n", programs, dir)
	for _, err := range []error{os.Mkdir(dir+"/bin", 0o755), os.Mkdir(dir+"/etc", 0o755), kernel.WriteProgram(dir+"/bin/minictr", wrapper)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	h.start("mount -t tmpfs run /run && cp /etc/resolv.conf /etc/hosts /etc/passwd /etc/group " + dir + "/etc/ && mount --bind " + dir + "/etc /etc && ip link set lo up && sysctl -qw net.ipv4.ip_forward=1")
	t.Cleanup(func() {
		h.sh("minictr ps -aq | xargs -r minictr rm -f; minictr network adopted -q | xargs -r -n 1 minictr network release; minictr network prune -f; ip -all netns delete")
		kernel.Eventually(t, 10*time.Second, func() error { // namespaces die in the background
			if got := h.sh("ls /run/netns; find /run/minictr/adopted /run/minictr/containers -mindepth 1 2>&1 | grep -v 'No such file'; ip -br link | grep -v '^lo '; cat /run/minictr/leases/* 2>&1 | grep -E '[0-9a-f]{64}'; true"); got != "" {
				return fmt.Errorf("left behind: %s", got)
			}
			return nil
		})
	})
	return h
}

// start makes the namespaces, and keeps them until the test's end.
func (h *netnsHost) start(script string) {
	h.t.Helper()
	keeper := exec.Command("unshare", "-n", "-m", "--propagation", "private", "sh", "-ec", script+" && echo ready && exec cat")
	keeper.Stderr = os.Stderr
	in, err := keeper.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := keeper.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := keeper.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := in.Close(); err != nil {
			h.t.Error(err)
		}
		if err := keeper.Wait(); err != nil {
			h.t.Error(err)
		}
	})
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		h.t.Fatal(err)
	}
	h.pid = keeper.Process.Pid
}

// run runs a script of sh on the machine.
func (h *netnsHost) run(script string) (string, error) {
	c := exec.Command("nsenter", "-t", fmt.Sprint(h.pid), "-n", "-m", "sh", "-c", script)
	c.Env = append(os.Environ(), "PATH="+h.path, "ROOTFS="+h.rootfs)
	out, err := c.CombinedOutput()
	return string(out), err
}

func (h *netnsHost) sh(script string) string {
	h.t.Helper()
	out, err := h.run(script)
	if err != nil {
		h.t.Fatalf("%s: %v: %s", script, err, out)
	}
	return out
}

// says runs the script and wants each of the texts in its output, or, with "!" in
// front, none of it.
func (h *netnsHost) says(script string, texts ...string) {
	h.t.Helper()
	out := h.sh(script)
	for _, text := range texts {
		not := strings.HasPrefix(text, "!")
		if strings.Contains(out, strings.TrimPrefix(text, "!")) == not {
			h.t.Errorf("%s: %q: %s", script, text, out)
		}
	}
}

// refuses runs the script, which shall fail and say the text.
func (h *netnsHost) refuses(script, text string) {
	h.t.Helper()
	if out, err := h.run(script); err == nil || !strings.Contains(out, text) {
		h.t.Errorf("%s: %v: %s", script, err, out)
	}
}

// await waits until the script succeeds.
func (h *netnsHost) await(script string) {
	h.t.Helper()
	kernel.Eventually(h.t, 10*time.Second, func() error {
		_, err := h.run(script)
		return err
	})
}

// same tells the lines that are in one of the texts only.
func (h *netnsHost) same(before, after string) {
	h.t.Helper()
	for _, text := range [][3]string{{before, after, "is gone"}, {after, before, "is new"}} {
		for line := range strings.Lines(text[0]) {
			if !strings.Contains(text[1], line) {
				h.t.Errorf("%s: %s", text[2], line)
			}
		}
	}
}

// ipNetnsKnowsContainers: every container's network is there by its name, as
// long as the container is.
func ipNetnsKnowsContainers(t *testing.T, h *netnsHost) {
	h.sh("minictr run -d --name one --rootfs $ROOTFS sleep 1000; minictr run -d --name two --network none --rootfs $ROOTFS sleep 1000; minictr run -d --name hosty --network host --rootfs $ROOTFS sleep 1000")
	h.sh("ip netns add own") // makes /run/netns a mount
	h.says("ip netns list", "one", "two", "own", "!hosty")
	h.says("ip netns exec one ip addr", "eth0@if", "inet 172.17.0.2/16")
	h.says("ip -n one route", "default via 172.17.0.1 dev eth0")
	h.says("ip -n two -br link", "lo", "!eth0")
	h.says("[ $(ip netns pids one) = $(minictr inspect -f '{{.State.Pid}}' one) ] && ip netns identify $(minictr inspect -f '{{.State.Pid}}' one)", "one")
	h.says("ip -all netns exec ip -br addr", "netns: one", "netns: two", "netns: own")

	h.sh("minictr rename one uno")
	h.says("ip netns list", "uno", "!one")
	h.sh("minictr stop -t 0 uno")
	h.says("ip netns list", "!uno")
	h.sh("minictr start uno")
	h.says("ip -n uno -br addr", "172.17.0.")
	h.sh("minictr rm -f uno two")
	h.says("ip netns list", "!uno", "!two", "own")
	h.sh("minictr run --rm --name once --rootfs $ROOTFS true")
	h.says("ip netns list", "!once")
}

// ipNetnsNameTaken: a container whose name ip netns has already runs all the
// same, and the name stays whose it is.
func ipNetnsNameTaken(t *testing.T, h *netnsHost) {
	h.sh("ip netns add web; ip -n web link add here type veth peer name there")
	h.says("minictr run -d --name web --rootfs $ROOTFS sleep 1000", "warning", "/run/netns/web is another network namespace's: ip netns does not know the container by it")
	h.says("ip -n web link; minictr exec web ip addr", "here", "eth0")
	h.says("minictr rename web shop; ip netns list", "web", "shop", "!warning")
	h.says("minictr rename shop web", "warning")
	h.sh("minictr rm -f web")
	h.says("ip -n web link", "here")
	h.says("minictr run -d --name web2 --network ns:web --rootfs $ROOTFS sleep 1000; ip netns pids web; ip netns list; minictr rm -f web2", "!web2\n!")
	h.says("ip -n web link", "here")
}

// ipNetnsDelete: the user may take a container's name away, and give it to a
// namespace of their own.
func ipNetnsDelete(t *testing.T, h *netnsHost) {
	h.sh("minictr run -d --name one --rootfs $ROOTFS sleep 1000; ip netns delete one")
	h.says("minictr ps; minictr exec one ip addr", "Up", "eth0")
	h.sh("ip netns add one; minictr network disconnect bridge one; minictr network connect bridge one; minictr restart one || minictr stop -t 0 one; minictr rm -f one")
	h.says("ip netns list; ip -n one link", "one", "lo", "!eth0")
}

// ipNetnsCrash: a name whose container is gone is healed, whoever was killed.
func ipNetnsCrash(t *testing.T, h *netnsHost) {
	h.sh("minictr run -d --name one --rootfs $ROOTFS sleep 1000")
	pid := strings.TrimSpace(h.sh("minictr inspect -f '{{.State.Pid}}' one"))
	h.sh("kill -9 $(sed 's/.*) . //; s/ .*//' /proc/" + pid + "/stat)")
	h.await("! grep -q '^State:.[RSD]' /proc/" + pid + "/status") // whether or not somebody reaps it
	h.says("minictr ps; ip netns list", "!one")
	// What such a crash, or a process whose number is another's by now, left behind
	// is in nobody's way.
	for _, stale := range []string{"/proc/4194304/ns/net", "/proc/$$/ns/net"} {
		h.says("ln -s "+stale+" /run/netns/one; minictr start one; ip -n one -br addr; minictr stop -t 0 one; ip netns list", "172.17.0.", "!warning", "!(id")
	}
}

// joinIPNetns: a container in a namespace that ip netns made sees what is there,
// has the files that are meant for it, and leaves all as it was.
func joinIPNetns(t *testing.T, h *netnsHost) {
	h.sh("ip netns add shop; ip -n shop link add e0 type veth peer name e1; ip -n shop addr add 10.3.0.1/24 dev e0; ip -n shop link set e0 up; ip -n shop link set e1 up; ip netns exec shop sysctl -qw net.ipv4.ping_group_range='1 0'")
	// The addresses that the kernel gives by itself are settled in the background.
	h.await(`! ip -n shop addr | grep -q tentative &&
		{ [ ! -e /proc/sys/net/ipv6 ] || [ "$(ip -n shop -6 route show table local | grep -c '^local fe80')" = 2 ]; }`)
	picture := `ip -n shop addr; ip -n shop route show table all; ip netns exec shop sh -c 'grep -rH . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null' | grep -v stable_secret | sort`
	before := h.sh(picture)
	h.says("minictr run --rm --network ns:shop --rootfs $ROOTFS ip addr", "10.3.0.1/24")
	h.says("minictr run --rm --network ns:/run/netns/shop --rootfs $ROOTFS ip addr", "10.3.0.1/24")
	h.sh(`mkdir -p /etc/netns/shop; printf 'nameserver 127.0.0.1\nsearch shop.test' > /etc/netns/shop/resolv.conf; printf '127.0.0.1 localhost\n10.3.0.9 till' > /etc/netns/shop/hosts`)
	h.sh("minictr run -d --name till --network ns:shop --add-host a:1.2.3.4 --rootfs $ROOTFS sleep 1000")
	for _, container := range []string{"minictr exec till", "minictr run --rm --network container:till --rootfs $ROOTFS"} {
		h.says(container+" sh -c 'while read l; do echo $l; done < /etc/resolv.conf; while read l; do echo $l; done < /etc/hosts'", "nameserver 127.0.0.1\nsearch shop.test\n", "127.0.0.1 localhost\n10.3.0.9 till\n1.2.3.4 a\n")
	}
	h.says("minictr run --rm --network ns:shop --dns 9.9.9.9 --rootfs $ROOTFS sh -c 'while read l; do echo $l; done < /etc/resolv.conf'", "nameserver 9.9.9.9\n", "!127.0.0.1")
	h.says("ip netns list; ip netns pids shop", "shop", "!till")
	h.sh("minictr rm -f till")
	h.same(before, h.sh(picture))
	h.refuses("minictr run --rm --network ns:nosuch --rootfs $ROOTFS true", "join the network namespace nosuch")
}

// adoptIPNetns follows a tutorial's script, made by hand with ip, beside which
// minictr adopts the same namespace.
func adoptIPNetns(t *testing.T, h *netnsHost) {
	h.sh(`set -e
		ip netns add webserver
		ip link show br-internal >/dev/null 2>&1 || ip link add br-internal type bridge
		ip addr add 10.100.0.1/24 dev br-internal; ip link set br-internal up
		ip link add veth-web-h type veth peer name veth-web
		ip link set veth-web netns webserver
		ip link set veth-web-h master br-internal; ip link set veth-web-h up
		ip -n webserver addr add 10.100.0.10/24 dev veth-web; ip -n webserver link set veth-web up; ip -n webserver link set lo up
		ip -n webserver route add default via 10.100.0.1
		sysctl -qw net.ipv4.ip_forward=1
		nft add table ip own; nft 'add chain ip own post { type nat hook postrouting priority 100; }'; nft add rule ip own post ip saddr 10.100.0.0/24 oifname != br-internal masquerade`)
	// The kernel goes on in the background: carriers, and addresses that it gives by itself.
	h.await(`ip link show br-internal | grep -q 'state UP' && ! ip -n webserver addr | grep -q tentative &&
		{ [ ! -e /proc/sys/net/ipv6 ] || ip -n webserver -6 route show table local | grep -q '^local fe80'; }`)
	picture := `ip -n webserver addr | grep -v valid_lft; ip -n webserver route show table all; ip link show br-internal; nft list table ip own`
	before := h.sh(picture)
	h.says("minictr network adopt webserver", "the network namespace webserver has a default route of its own and keeps it")
	h.says("minictr network adopted; minictr network inspect bridge", "webserver   bridge    eth0        172.17.0.2/16", `"Name": "webserver"`)
	h.says("busybox ping -c 1 -W 2 10.100.0.10; busybox ping -c 1 -W 2 172.17.0.2; ip netns exec webserver busybox ping -c 1 -W 2 10.100.0.1; minictr run --rm --rootfs $ROOTFS busybox ping -c 1 -W 2 172.17.0.2", "1 packets received", "!100% packet loss")
	h.refuses("minictr network rm bridge", "in use by the adopted network namespace webserver")
	h.sh("minictr network release webserver")
	h.same(before, h.sh(picture))
	h.sh("ip link del br-internal; nft delete table ip own")
}

// adoptedNetnsDeleted: with ip netns delete go the address and the record; held
// by a process, it stays adopted until it is released.
func adoptedNetnsDeleted(t *testing.T, h *netnsHost) {
	h.sh("ip netns add a; minictr network adopt a; ip netns delete a; ip netns add a") // the inode may be the same
	h.await("[ -z \"$(minictr network adopted -q)\" ]")
	h.says("minictr network adopt a; ip -n a -br addr", "172.17.0.3/16")
	h.says("ip netns exec a sleep 1000 & sleep 0.2; ip netns delete a; minictr network adopted; minictr network release a; nsenter -t $! -n ip -br addr; kill $!", "a           bridge    eth0", "!eth0@")
	h.says("minictr run -d --name web --rootfs $ROOTFS sleep 1000; minictr network adopt web 2>&1 || true", "it is that of container web", "hint: minictr network connect NETWORK web")
	h.refuses("minictr network adopt pid:$$", "it is the host's own network namespace")
	h.sh("minictr network create blue; ip netns add b; minictr network adopt b; minictr network adopt --network blue --gw-priority 1 b")
	h.says("ip -n b route show default", "dev eth1")
	h.says("minictr network release --network blue b; ip -n b route show default; ip -n b -br addr", "dev eth0", "!eth1")
	h.says("minictr network release b; ip -n b -br link", "lo               DOWN")
}

// adoptScript: the script of a dry run does what adopting does.
func adoptScript(t *testing.T, h *netnsHost) {
	look := func(name string) string {
		return h.sh("ip -n " + name + " -o addr | sed 's/@if[0-9]*//; s/^[0-9]*: //'; ip -n " + name + " route; ip netns exec " + name + " cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6 /proc/sys/net/ipv6/conf/default/disable_ipv6")
	}
	h.sh("ip netns add one; minictr network adopt --ip 172.17.0.7 one")
	want := look("one")
	h.sh("minictr network release one; ip netns add two; minictr network adopt --dry-run --ip 172.17.0.7 two > /run/script; sh -e /run/script")
	if got := look("two"); got != want {
		t.Errorf("the script made\n%s\nminictr made\n%s", got, want)
	}
	h.sh("ip netns delete two")
	kernel.Eventually(t, 10*time.Second, func() error {
		if links := h.sh("ip -br link show type veth"); links != "" {
			return fmt.Errorf("left: %s", links)
		}
		return nil
	})
}
