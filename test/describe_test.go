package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minictr/minictr/test/kernel"
)

// The script of run --dry-run, run by sh in one network namespace, and run in
// another make the same network: what the script says is what is done.
func TestDryRunIsWhatRunDoes(t *testing.T) {
	kernel.RequireCommand(t, "ip", "nft", "unshare", "nsenter", "sysctl")
	for _, flags := range [][]string{nil, {"--network", "none"}, {"--ip", "172.17.9.9", "--mac-address", "02:42:ac:11:09:63"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			h := newHost(t)
			run := func(more ...string) []string {
				return append(append([]string{"run", "--name", "described"}, flags...), more...)
			}
			script := h.must(run("--dry-run", "--rootfs", h.rootfs, "true")...)
			if links := h.output("ip", "-br", "link"); strings.Count(links, "\n") > 0 {
				t.Errorf("--dry-run made links:\n%s", links)
			}
			byScript := h.runScript(script)
			h.must(run("-d", "--rootfs", h.rootfs, "sleep", h.mark)...)
			pid := h.must("inspect", "-f", "{{.State.Pid}}", "described")
			kernel.Eventually(t, 10*time.Second, func() error {
				byRun := h.dump("nsenter -t " + pid + " -n --")
				if d := cmp.Diff(byScript(), byRun); d != "" {
					return fmt.Errorf("script (-) and run (+) differ:\n%s", d)
				}
				return nil
			})
			h.must("rm", "-f", "described")
		})
	}
}

// output runs a command and returns what it prints.
func (h *host) output(name string, args ...string) string {
	h.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// runScript runs the script in a network namespace of its own, with a /run of
// its own, and returns a function that dumps what it has made.
func (h *host) runScript(script string) func() string {
	h.t.Helper()
	kernel.RequireRoot(h.t)
	file := filepath.Join(h.t.TempDir(), "script")
	if err := os.WriteFile(file, []byte(script), 0o700); err != nil {
		h.t.Fatal(err)
	}
	keeper := exec.Command("unshare", "-n", "-m", "sh", "-c", "mount -t tmpfs tmpfs /run && ip link show lo >/dev/null && sh "+file+" && echo done && exec cat")
	stdin, err := keeper.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := keeper.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	keeper.Stderr = os.Stderr
	if err := keeper.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		stdin.Close()
		keeper.Wait()
	})
	line := make([]byte, 5)
	if n, err := out.Read(line); err != nil || string(line[:n]) != "done\n" {
		h.t.Fatalf("the script printed %q: %v:\n%s", line[:n], err, script)
	}
	enter := fmt.Sprintf("nsenter -t %d -n -m -- ", keeper.Process.Pid)
	return func() string { return h.dumpBy(enter, enter+"ip netns exec described ") }
}

// dump describes this network namespace and the one that enter leads to.
func (h *host) dump(enter string) string { return h.dumpBy("", enter+" ") }

func (h *host) dumpBy(outside, inside string) string {
	var b strings.Builder
	for _, where := range []struct{ name, enter string }{{"host", outside}, {"container", inside}} {
		for _, command := range []string{"ip -j -d link", "ip -j -d addr", "ip -j -d route", "nft -j list ruleset"} {
			var v any
			text := h.output("sh", "-c", where.enter+command)
			if text == "" {
				text = "[]"
			}
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				h.t.Fatalf("%s: %v: %s", command, err, text)
			}
			normal, err := json.MarshalIndent(normalise(v), "", " ")
			if err != nil {
				h.t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s: %s\n%s\n", where.name, command, normal)
		}
	}
	return b.String()
}

// accidental are the keys whose values differ from one namespace to the next:
// numbers that the kernel counts up, and clocks.
var accidental = map[string]bool{
	"ifindex": true, "link_index": true, "link_netnsid": true, "handle": true, "bridge_id": true, "root_id": true,
	"hello_timer": true, "tcn_timer": true, "topology_change_timer": true, "gc_timer": true, "valid_life_time": true,
	"preferred_life_time": true, "metainfo": true, "forward_delay_timer": true, "hold_timer": true, "message_age_timer": true,
}

// normalise takes away what is accidental: those keys, and the random address
// and the id in the name of the host's end of the pair.
func normalise(v any) any {
	switch v := v.(type) {
	case []any:
		out := []any{}
		for _, e := range v {
			out = append(out, normalise(e))
		}
		return out
	case map[string]any:
		name, _ := v["ifname"].(string)
		out := map[string]any{}
		for key, value := range v {
			if accidental[key] || key == "address" && strings.HasPrefix(name, "veth") {
				continue
			}
			out[key] = normalise(value)
		}
		return out
	case string:
		if strings.HasPrefix(v, "veth") && len(v) == len("veth01234567") {
			return "veth…"
		}
		if strings.HasPrefix(v, "fe80:") { // made from the random address
			return "fe80::…"
		}
		return v
	}
	return v
}
