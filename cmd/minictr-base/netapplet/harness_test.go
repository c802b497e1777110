package netapplet

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/test/kernel"
)

// program is minictr-base, built for these tests: what a namespace of a test runs
// is a process of its own, for package net may use any thread. Without the race
// detector, which takes a tenth of a second to start.
var program string

func TestMain(m *testing.M) { os.Exit(testWithProgram(m)) }

func testWithProgram(m *testing.M) int {
	dir, err := os.MkdirTemp("", "minictr-base")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = dir + "/minictr-base"
	build := exec.Command("go", "build", "-o", program, "github.com/minictr/minictr/cmd/minictr-base")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build minictr-base: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// A host is a network namespace with what runs in it.
type host struct {
	*kernel.Netns
	t testing.TB
}

func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{kernel.NewNetns(t), t}
	// The kernel answers a few unreachable ports a second and no more.
	h.sysctl("net/ipv4/icmp_ratelimit", "0")
	h.sysctl("net/ipv6/icmp/ratelimit", "0")
	// Without duplicate address detection addresses are there at once, and stay as they are.
	for _, which := range []string{"default", "all"} {
		h.sysctl("net/ipv6/conf/"+which+"/accept_dad", "0")
		h.sysctl("net/ipv6/conf/"+which+"/router_solicitations", "0")
	}
	h.ok("ip", "link", "set", "lo", "up")
	return h
}

func (h *host) sysctl(name, value string) {
	h.t.Helper()
	h.Do(h.t, func() {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
			h.t.Fatal(err)
		}
	})
}

// A result is what a command has said.
type result struct {
	out, err string
	code     int
}

// A process is a command that runs in a host.
type process struct {
	t        testing.TB
	cmd      *exec.Cmd
	out, err *output
	waited   bool
}

// An output can be read while the process writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs an applet; what stdin holds is its input.
func (h *host) start(stdin, name string, args ...string) *process {
	h.t.Helper()
	return h.begin(exec.Command(program, append([]string{name}, args...)...), stdin)
}

func (h *host) begin(cmd *exec.Cmd, stdin string) *process {
	h.t.Helper()
	p := &process{t: h.t, cmd: cmd, out: &output{}, err: &output{}}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), p.out, p.err
	h.Do(h.t, func() {
		if err := cmd.Start(); err != nil {
			h.t.Fatal(err)
		}
	})
	h.t.Cleanup(func() {
		if !p.waited {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return p
}

const patience = 20 * time.Second

func (p *process) wait() result {
	p.t.Helper()
	timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	err := p.cmd.Wait()
	p.waited = true
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return result{p.out.String(), p.err.String(), p.cmd.ProcessState.ExitCode()}
}

func (p *process) signal(s syscall.Signal) result {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	return p.wait()
}

// until waits for a text on either output.
func (p *process) until(text string) {
	p.t.Helper()
	kernel.Eventually(p.t, patience, func() error {
		if s := p.out.String() + p.err.String(); !strings.Contains(s, text) {
			return errors.New("it says: " + s)
		}
		return nil
	})
}

func (h *host) run(name string, args ...string) result {
	h.t.Helper()
	return h.start("", name, args...).wait()
}

// ok runs an applet that must succeed.
func (h *host) ok(name string, args ...string) string {
	h.t.Helper()
	r := h.run(name, args...)
	if r.code != 0 {
		h.t.Fatalf("%s %s: exit code %d\n%s%s", name, strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r.out
}

// real runs the machine's program of the name.
func (h *host) real(name string, args ...string) result {
	h.t.Helper()
	return h.begin(exec.Command(name, args...), "").wait()
}

// listens waits until somebody does, on a TCP port.
func (h *host) listens(port string) {
	h.t.Helper()
	kernel.Eventually(h.t, patience, func() error {
		if !strings.Contains(h.ok("ss", "-tlnH"), ":"+port) {
			return errors.New("nobody listens on port " + port)
		}
		return nil
	})
}

// newPair makes two hosts with a cable between: 10.0.1.1 and .2, fd00:1::1 and ::2.
func newPair(t testing.TB) (a, b *host) {
	t.Helper()
	kernel.RequireRoot(t)
	kernel.Snapshot(t)
	a, b = newHost(t), newHost(t)
	join(a, b, "1", "eth0", "eth0")
	return a, b
}

func join(a, b *host, subnet, nameA, nameB string) {
	a.t.Helper()
	a.ok("ip", "link", "add", nameA, "type", "veth", "peer", "name", nameB, "netns", b.path())
	for i, end := range []struct {
		h    *host
		name string
	}{{a, nameA}, {b, nameB}} {
		n := string(rune('1' + i))
		end.h.ok("ip", "addr", "add", "10.0."+subnet+"."+n+"/24", "brd", "+", "dev", end.name)
		end.h.ok("ip", "addr", "add", "fd00:"+subnet+"::"+n+"/64", "dev", end.name)
		end.h.ok("ip", "link", "set", end.name, "up")
	}
	for h, name := range map[*host]string{a: nameA, b: nameB} {
		kernel.Eventually(a.t, patience, func() error {
			if s := h.ok("ip", "addr", "show", "dev", name); !strings.Contains(s, "state UP") || strings.Contains(s, "tentative") || !strings.Contains(s, "fe80::") {
				return errors.New("not ready: " + s)
			}
			return nil
		})
	}
}

// path is a name of the namespace for another process: that of this one.
func (h *host) path() string { return h.Path() }

// newRouted makes two hosts with a router between: 10.0.1.1 – 10.0.1.2|10.0.2.1 – 10.0.2.2.
func newRouted(t testing.TB) (a, router, b *host) {
	t.Helper()
	a, router = newPair(t)
	b = newHost(t)
	join(router, b, "2", "eth1", "eth0")
	router.sysctl("net/ipv4/ip_forward", "1")
	router.sysctl("net/ipv6/conf/all/forwarding", "1")
	for _, words := range [][]string{{"10.0.1.2", "fd00:1::2"}, {"10.0.2.1", "fd00:2::1"}} {
		h := a
		if words[0] == "10.0.2.1" {
			h = b
		}
		for _, gateway := range words {
			h.ok("ip", "route", "add", "default", "via", gateway)
		}
	}
	return a, router, b
}

// Every applet has a name of its own, a synopsis and a line of help, and --help
// prints them.
func TestAppletsHaveHelp(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range Applets() {
		if seen[a.Name] || a.Usage == "" || a.Short == "" {
			t.Errorf("%q: a second one, or without help", a.Name)
		}
		seen[a.Name] = true
		var out bytes.Buffer
		if code := a.Exec(&applet.Call{Name: a.Name, Args: []string{"--help"}, Out: &out}); code != 0 || !strings.Contains(out.String(), a.Usage) {
			t.Errorf("%s --help: exit code %d, %q", a.Name, code, &out)
		}
	}
}
