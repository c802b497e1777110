package lab

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A walk does random things and knows what has to come of them. What it was
// told to do and cannot be done has to be refused, and to change nothing.
type walk struct {
	*lab
	random     *rand.Rand
	networks   map[string]bool   // made ones, and whether they are internal
	containers map[string]*actor //
	log        []string          // what was done
}

// An actor is a container of a walk.
type actor struct {
	running bool
	on      []string          // networks
	ports   map[uint16]string // of the host, and the protocol; all to port 80
}

// Environment variables: the numbers of steps and of the first walk.
const (
	stepsVariable = "MINICTR_LAB_STEPS"
	seedVariable  = "MINICTR_LAB_SEED"
)

func fromEnvironment(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("$%s: %v", name, err)
	}
	return n
}

// Whatever is made, changed and removed in whatever order: each step has its
// effect and no other, and in the end the host is as it was.
func TestWalks(t *testing.T) {
	programs := require(t)
	steps := fromEnvironment(t, stepsVariable, 30)
	first := fromEnvironment(t, seedVariable, uint64(time.Now().UnixNano()%1e6))
	t.Run("walks", func(t *testing.T) {
		for seed := first; seed < first+2; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				w := &walk{
					lab: newLab(t, programs), random: rand.New(rand.NewPCG(seed, 0)),
					networks: map[string]bool{}, containers: map[string]*actor{},
				}
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("%s=%d, after\n%s", seedVariable, seed, strings.Join(w.log, "\n"))
					}
				})
				for range steps {
					w.step()
					if t.Failed() {
						return
					}
				}
			})
		}
	})
}

// step does one random thing.
func (w *walk) step() {
	w.t.Helper()
	steps := []func(){
		w.create, w.create, w.remove, w.run, w.run, w.connect, w.connect, w.connect, w.disconnect, w.disconnect,
		w.addPort, w.addPort, w.removePort, w.stop, w.start, w.start, w.delete, w.flush,
	}
	steps[w.random.IntN(len(steps))]()
	if !w.t.Failed() {
		w.check()
	}
}

// tell does it, and compares with whether it may succeed.
func (w *walk) tell(may bool, words ...string) bool {
	w.t.Helper()
	begin := time.Now()
	_, _, err := w.try(words...)
	w.log = append(w.log, fmt.Sprintf("minictr %s # %v, %v", strings.Join(words, " "), map[bool]string{true: "done", false: "refused"}[err == nil], time.Since(begin).Round(time.Millisecond)))
	if err == nil && !may {
		w.t.Errorf("minictr %s: was not refused", strings.Join(words, " "))
	}
	if err != nil && may {
		w.t.Error(err)
	}
	return err == nil
}

func (w *walk) name(prefix string) string { return fmt.Sprintf("%s%d", prefix, w.random.IntN(4)) }

// any is a random one of the keys, and whether there is one.
func anyOf[T any](w *walk, m map[string]T) (string, bool) {
	if len(m) == 0 {
		return "", false
	}
	names := slices.Sorted(maps.Keys(m))
	return names[w.random.IntN(len(names))], true
}

func (w *walk) create() {
	name := w.name("net")
	words := []string{"network", "create"}
	internal := w.random.IntN(4) == 0
	if internal {
		words = append(words, "--internal")
	}
	if w.random.IntN(3) == 0 {
		words = append(words, "--ipv6")
	}
	_, taken := w.networks[name]
	if w.tell(!taken, append(words, name)...) {
		w.networks[name] = internal
	}
}

func (w *walk) remove() {
	name := w.name("net")
	_, there := w.networks[name]
	used := false
	for _, a := range w.containers {
		used = used || slices.Contains(a.on, name)
		if !a.running && slices.Contains(a.on, name) {
			return // it may go, and the container cannot start any more: not of this model
		}
	}
	if w.tell(there && !used, "network", "rm", name) {
		delete(w.networks, name)
	}
}

func (w *walk) run() {
	name := w.name("box")
	a := &actor{running: true, on: []string{"bridge"}, ports: map[uint16]string{}}
	if other, ok := anyOf(w, w.networks); ok && w.random.IntN(2) == 0 {
		a.on = append(a.on, other)
	}
	words := []string{"run", "-d", "--name", name}
	for _, n := range a.on {
		words = append(words, "--network", n)
	}
	_, taken := w.containers[name]
	may := !taken
	for range w.random.IntN(3) {
		port, protocol := w.port()
		a.ports[port] = protocol
	}
	for port, protocol := range a.ports {
		may = may && w.publisher(port, protocol) == ""
		words = append(words, "-p", fmt.Sprintf("%d:80/%s", port, protocol))
	}
	if w.tell(may, append(words, image, "httpd", "-q")...) {
		w.containers[name] = a
	}
}

// port is a random one.
func (w *walk) port() (uint16, string) {
	return uint16(8000 + w.random.IntN(8)), protocols[w.random.IntN(2)]
}

// publisher is the running container that has the port of the host.
func (w *walk) publisher(port uint16, protocol string) string {
	for name, a := range w.containers {
		if a.running && a.ports[port] == protocol {
			return name
		}
	}
	return ""
}

func (w *walk) connect() {
	name, ok := anyOf(w, w.containers)
	if !ok {
		return
	}
	net, a := w.name("net"), w.containers[name]
	_, there := w.networks[net]
	if !a.running {
		return
	}
	if w.tell(there && !slices.Contains(a.on, net), "network", "connect", net, name) {
		a.on = append(a.on, net)
	}
}

func (w *walk) disconnect() {
	name, ok := anyOf(w, w.containers)
	if !ok || !w.containers[name].running {
		return
	}
	a := w.containers[name]
	net := w.name("net")
	if w.tell(slices.Contains(a.on, net), "network", "disconnect", net, name) {
		a.on = slices.DeleteFunc(a.on, func(n string) bool { return n == net })
	}
}

func (w *walk) addPort() {
	name, ok := anyOf(w, w.containers)
	if !ok || !w.containers[name].running {
		return
	}
	port, protocol := w.port()
	if w.containers[name].ports[port] != "" {
		return // with the other protocol it would be two
	}
	if w.tell(w.publisher(port, protocol) == "", "port", "add", name, fmt.Sprintf("%d:80/%s", port, protocol)) {
		w.containers[name].ports[port] = protocol
	}
}

func (w *walk) removePort() {
	name, ok := anyOf(w, w.containers)
	if !ok || !w.containers[name].running {
		return
	}
	port, protocol := w.port()
	if w.tell(w.containers[name].ports[port] == protocol, "port", "rm", name, fmt.Sprintf("%d:80/%s", port, protocol)) {
		delete(w.containers[name].ports, port)
	}
}

func (w *walk) stop() {
	if name, ok := anyOf(w, w.containers); ok && w.tell(true, "stop", "-t", "0", name) {
		w.containers[name].running = false
	}
}

func (w *walk) start() {
	name, ok := anyOf(w, w.containers)
	if !ok || w.containers[name].running {
		return
	}
	may := true
	for port, protocol := range w.containers[name].ports {
		may = may && w.publisher(port, protocol) == ""
	}
	if w.tell(may, "start", name) {
		w.containers[name].running = true
	}
}

func (w *walk) delete() {
	if name, ok := anyOf(w, w.containers); ok && w.tell(true, "rm", "-f", name) {
		delete(w.containers, name)
	}
}

func (w *walk) flush() {
	w.log = append(w.log, "nft flush ruleset")
	w.host.must(w.t, "", "nft", "flush", "ruleset")
	w.tell(true, "ps")
}

// check compares what is there with the model.
func (w *walk) check() {
	w.t.Helper()
	made := strings.Fields(w.must("network", "ls", "--format", "{{.Name}}"))
	made = slices.DeleteFunc(made, func(n string) bool { return n == "bridge" || n == "none" || n == "host" })
	slices.Sort(made)
	if want := slices.Sorted(maps.Keys(w.networks)); !slices.Equal(made, want) {
		w.t.Errorf("networks %v, want %v", made, want)
	}
	running := []string{}
	for name, a := range w.containers {
		if a.running {
			running = append(running, name)
		}
	}
	if got := w.must("ps", "-q"); len(strings.Fields(got)) != len(running) {
		w.t.Errorf("%d run, want %v", len(strings.Fields(got)), running)
	}
	if len(running) > 0 {
		w.checkRunning(running)
	}
}

// checkRunning compares networks and links of each, and tries the ports.
func (w *walk) checkRunning(names []string) {
	w.t.Helper()
	var list []struct {
		inspected
		Name string
	}
	out := w.must(append([]string{"inspect"}, names...)...)
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		w.t.Fatal(err)
	}
	expected := map[question]string{}
	for _, c := range list {
		name := strings.TrimPrefix(c.Name, "/")
		a := w.containers[name]
		got, want := slices.Sorted(maps.Keys(c.NetworkSettings.Networks)), slices.Sorted(slices.Values(a.on))
		if !slices.Equal(got, want) {
			w.t.Errorf("%s is on %v, want %v", name, got, want)
		}
		links, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", c.State.Pid))
		if n := strings.Count(string(links), "eth"); err != nil || n != len(want) {
			w.t.Errorf("%s: %v, %d links for %v:\n%s", name, err, n, want, links)
		}
		for port, protocol := range a.ports {
			if protocol == "tcp" {
				expected[question{w.lan, protocol, netip.AddrPortFrom(netip.MustParseAddr(hostAddress), port)}] = "HTTP"
			}
		}
	}
	for port := range uint16(8) {
		q := question{w.lan, "tcp", netip.AddrPortFrom(netip.MustParseAddr(hostAddress), 8000+port)}
		want := expected[q] != ""
		if got := q.connects(); got != want {
			w.t.Errorf("%s: answers: %v, want %v", q, got, want)
		}
	}
}
