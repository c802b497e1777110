package test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
)

// netnsHeld deletes namespaces that something keeps alive, and wants to be told what.
func netnsHeld(t *testing.T) {
	for _, held := range []struct {
		by   string
		hold func() int // returns the process
		want string     // PID is its number
	}{
		{"nobody", func() int { return 0 }, ""},
		{"a process", func() int { return background(t, "exec minictr netns exec blue sleep 1000", "sleep") }, "  process PID (sleep 1000)\n"},
		{"a descriptor", func() int { return background(t, "exec sleep 1001 7</run/netns/blue", "sleep") }, "  descriptor 7 of process PID (sleep 1001)\n"},
		{"a mount", func() int {
			script(t, "touch /run/kept; mount --bind /run/netns/blue /run/kept")
			return 0
		}, "  the mount on /run/kept\nhint: umount /run/kept takes the mount away\n"},
		{"another mount namespace", func() int {
			return background(t, "exec unshare -m --propagation private sh -c 'mount --bind /run/netns/blue /run/kept && exec sleep 1002'", "sleep 1002")
		}, "  the mount on /run/kept, as process PID (sleep 1002) sees it\nhint: nsenter -t PID -m umount /run/kept takes the mount away\n"},
		{"a name that steers", func() int {
			return background(t, `exec minictr netns exec blue perl -e '$0 = "x\e[2J"; print "ok\n"; sleep 1000'`, "x")
		}, "  process PID (x?[2J)\n"},
	} {
		t.Log(held.by)
		script(t, "ip netns add blue")
		inode := strings.TrimSpace(script(t, "stat -L -c %i /run/netns/blue"))
		pid := held.hold()
		out, code := ran(t, "minictr netns delete blue")
		want := strings.ReplaceAll(held.want, "PID", fmt.Sprint(pid))
		if code != 0 || !strings.Contains(out, want) || (want == "") != (out == "") {
			t.Errorf("%s: exit code %d: %q, want %q", held.by, code, out, want)
		}
		if want != "" && !strings.HasPrefix(out, "minictr: warning: network namespace blue has lost its name, but lives on as net:["+inode+"], kept by\n") {
			t.Errorf("%s: %q", held.by, out)
		}
		if names := script(t, "ip netns list"); names != "" {
			t.Errorf("%s: the name is left: %s", held.by, names)
		}
		if strings.Contains(out, "netns delete --kill") { // the hint helps
			script(t, "minictr netns delete --kill 'net:["+inode+"]'")
			if _, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil {
				t.Errorf("%s: after --kill it still lives", held.by)
			}
		}
		script(t, "umount /run/kept 2>/dev/null; true")
	}
}

// netnsKill ends what is in a namespace, and what has only a descriptor of it is told
// and left.
func netnsKill(t *testing.T) {
	script(t, "ip netns add blue; ip netns add red")
	inside := []int{
		background(t, "exec ip netns exec blue sleep 1000", "sleep"),
		background(t, "exec ip netns exec blue sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'", "sh -c trap"),
		background(t, "exec ip netns exec blue unshare -p -f sh -c 'sleep 1005; true'", "unshare"),
	}
	red := background(t, "exec ip netns exec red sleep 1001", "sleep")
	out := script(t, "minictr netns delete --kill -t 1 blue")
	for i, how := range []string{"SIGTERM", "SIGKILL"} {
		if !regexp.MustCompile(fmt.Sprintf(`ended: process %d \(.*\), by %s\n`, inside[i], how)).MatchString(out) {
			t.Errorf("process %d was not ended by %s: %s", inside[i], how, out)
		}
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", red)); err != nil {
		t.Error("a process of red was ended")
	}
	if strings.Contains(out, "lives on") || script(t, "ip netns list") != "red\n" {
		t.Errorf("%s\nleft: %s", out, script(t, "ip netns list"))
	}
	reader := background(t, "exec sleep 1002 8</run/netns/red", "sleep")
	out, code := ran(t, "minictr netns delete --kill red")
	if want := fmt.Sprintf("descriptor 8 of process %d (sleep 1002)", reader); code != 1 || !strings.Contains(out, want) {
		t.Errorf("exit code %d: %s", code, out)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", reader)); err != nil {
		t.Error("a process that had only a descriptor was ended")
	}
}

// netnsKillRefused: neither the caller's namespace, nor the caller, nor a partly
// entered process.
func netnsKillRefused(t *testing.T) {
	script(t, "ip netns add blue; ip netns attach here $$")
	for call, want := range map[string]string{
		"minictr netns delete --kill here":                                                  "here is the network namespace that this command is in\nhint: call it from outside\n",
		"minictr netns exec blue minictr netns delete --kill blue":                          "blue is the network namespace that this command is in",
		"minictr netns delete --kill 'net:[1]'":                                             "there is no network namespace net:[1]",
		"ln -s /proc/2/ns/net /run/netns/host && minictr netns delete --kill host; exit $?": "host is the network namespace of the host",
	} {
		out, code := ran(t, call)
		if code != 1 || !strings.Contains(out, "minictr: "+want) {
			t.Errorf("%s: exit code %d: %s", call, code, out)
		}
	}
	if names := script(t, "ip netns list | sort"); names != "blue\nhere\nhost\n" {
		t.Errorf("names: %s", names)
	}
	// What looks after a container of podman is known by its command line.
	pod := background(t, `exec perl -e '$0 = "conmon --cid `+strings.Repeat("a1", 32)+`"; system("ip", "netns", "exec", "blue", "sleep", "1004")'`, "conmon")
	kernel.Eventually(t, 10*time.Second, func() error {
		if pids := script(t, "ip netns pids blue"); pids == "" {
			return fmt.Errorf("blue is empty")
		}
		return nil
	})
	if out, code := ran(t, "minictr netns delete --kill blue"); code != 1 || !strings.Contains(out, "blue is the network namespace of podman a1a1a1a1a1a1\nhint: podman stop a1a1") {
		t.Errorf("of podman, process %d: exit code %d: %s", pod, code, out)
	}
	script(t, "ip netns pids blue | xargs kill")
	// A shell in blue goes back out to call: it started the command, and is spared.
	keep := background(t, "exec ip netns exec blue sleep 1000", "sleep")
	out, code := ran(t, "ip netns exec blue sh -c 'nsenter --net=/run/netns/here minictr netns delete --kill blue; exit $?'")
	if code != 1 || !strings.Contains(out, "this command was started from it") || !strings.Contains(out, fmt.Sprintf("ended: process %d ", keep)) {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// netnsBadInput: one clear line, and perhaps a hint.
func netnsBadInput(t *testing.T) {
	script(t, "ip netns add blue; touch /run/netns/plain; ln -s /proc/4194305/ns/net /run/netns/gone; mkdir /run/netns/directory; mkfifo /run/netns/fifo; ln -s loop /run/netns/loop")
	before := script(t, "ls -l /run/netns")
	for _, name := range []string{"nope", "plain", "gone", "directory", "loop", "fifo", "..", "a/b", "''", "$(printf 'x\\033[2J')", strings.Repeat("x", 300)} {
		for _, command := range []string{"exec NAME true", "pids NAME", "set NAME auto"} {
			out, code := ran(t, "timeout 5 minictr netns "+strings.ReplaceAll(command, "NAME", name))
			first, rest, _ := strings.Cut(out, "\n")
			if code == 0 || code == 124 || !strings.HasPrefix(first, "minictr: ") || rest != "" && (!strings.HasPrefix(rest, "hint: ") || strings.Count(rest, "\n") != 1) || strings.Contains(out, "\033") {
				t.Errorf("%s, %s: exit code %d: %q", command, name, code, out)
			}
		}
	}
	if after := script(t, "ls -l /run/netns"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	script(t, "timeout 5 minictr netns list && rm /run/netns/fifo") // ip would wait for it
	sameViews(t, "with files that are no namespaces", [2]string{"ip netns identify", "minictr netns identify"})
	script(t, "rmdir /run/netns/directory; for n in plain gone loop; do minictr netns delete $n || exit 1; done")
	if names := script(t, "ip netns list"); names != "blue\n" {
		t.Errorf("left: %s", names)
	}
}

// netnsOfUsers: who is not root may look, and is told so of the rest.
func netnsOfUsers(t *testing.T) {
	script(t, `ip netns add blue; cp $(command -v minictr) $(dirname $(command -v minictr))/minictr-see /run/`) // where it may read them
	const nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups /run/minictr netns "
	if out := script(t, nobody+"list"); out != "blue\n" {
		t.Errorf("list: %q", out)
	}
	for _, command := range []string{"add red", "attach red $$", "delete blue", "exec blue true", "set blue 3"} {
		out, code := ran(t, nobody+command)
		if code == 0 || !strings.HasSuffix(out, "hint: network namespaces are root's to make, name and enter: sudo minictr netns …\n") || strings.Count(out, "\n") != 2 {
			t.Errorf("%s: exit code %d: %s", command, code, out)
		}
	}
	if out := script(t, "ip netns list"); out != "blue\n" {
		t.Errorf("names: %s", out)
	}
}

// Containers are there by their names; their namespaces are not to be deleted.
func netnsOfContainers(t *testing.T, h *netnsHost) {
	h.sh("minictr run -d --name web --rootfs $ROOTFS sleep 1000")
	h.says("minictr netns list", "web")
	h.says("minictr netns exec web ip -br addr; minictr netns exec web ls /sys/class/net", "eth0", "172.17.0.2")
	h.says("minictr netns pids web | xargs ps -o comm=", "sleep")
	if theirs, ours := h.sh("ip netns list; ip netns list-id; ip netns pids web"), h.sh("minictr netns list; minictr netns list-id; minictr netns pids web"); theirs != ours {
		t.Errorf("ip: %s\nminictr: %s", theirs, ours)
	}
	for _, call := range []string{"minictr netns delete web", "minictr netns delete --kill web"} {
		h.refuses(call, "web is the network namespace of container web\nhint: minictr stop web ends it")
	}
	h.refuses("minictr netns add web", "add network namespace web: file exists")
	h.sh("ip netns add blue")
	h.sh("minictr run -d --name guest --network ns:blue --rootfs $ROOTFS sleep 1001")
	h.refuses("minictr netns delete --kill blue", "blue is the network namespace of container guest")
	h.says("minictr netns delete blue", "lives on", "(sleep 1001), of minictr guest")
	h.says("minictr netns -all delete", "web is the network namespace of container web; its name is left")
	h.says("minictr ps --format '{{.Names}}'; ip netns list", "web", "guest", "!blue")
	h.sh("ip link add strange type veth peer name other; ip link set strange master minictr0")
	h.says("minictr bridge", "eth0 of container web, 172.17.0.2/16\n", "other here (foreign)")
	h.says("ip netns exec web busybox ping -c 1 172.17.0.1 >/dev/null; minictr bridge minictr0 fdb", "eth0 of container web")
	h.refuses("minictr bridge strange", "strange is not a bridge\nhint: it is a port of one: minictr bridge minictr0")
	h.sh("ip link delete strange; minictr rm -f web guest")
	h.says("minictr netns list", "!web")
}
