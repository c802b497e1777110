package runtime

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var slots = regexp.MustCompile(`\$[0-9]+`)

var update = flag.Bool("update", false, "rewrite the golden files")

// fixedPlan is a plan with everything in it that Resolve would have found.
func fixedPlan(c *Config) plan {
	c.ID, c.Hostname = strings.Repeat("0123456789abcdef", 4), "box"
	if c.Args == nil {
		c.Args = []string{"sh", "-c", "true"}
	}
	c.Env, c.Cwd = []string{"PATH=/bin"}, "/home"
	if c.Capabilities == nil {
		c.Capabilities = []string{"CAP_CHOWN", "CAP_KILL"}
	}
	if c.Network.Mode == "" {
		c.Network.Mode = "bridge"
	}
	p := plan{
		spec: c.Spec(), root: 20, attach: "/run/minictr",
		prepared: map[int]int{}, files: map[int]bool{},
		devices:        defaultDevices[:2],
		masks:          map[string]bool{"/proc/kcore": false, "/sys/firmware": true},
		readonly:       []string{"/proc/sys"},
		stdio:          [3]int{21, 22, 23},
		start:          24,
		parentEnds:     []int{25},
		stub:           26,
		candidates:     []string{"/usr/bin/sh", "/bin/sh"},
		filter:         make([]unix.SockFilter, 3),
		lastCapability: 6,
		hierarchies:    []hierarchy{{fstype: "cgroup2"}},
		deathSignal:    true, closeForeign: true,
		cloneFlags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP,
		joins:      []join{{kind: "network", fd: 27, path: "of the container's own"}},
	}
	return p
}

// The goldens show what each flag changes in the program of a launch.
func TestCompile(t *testing.T) {
	mask := uint32(0o77)
	for name, change := range map[string]func(*Config, *plan){
		"plain":             func(*Config, *plan) {},
		"user":              func(_ *Config, p *plan) { p.user = identity{uid: 1000, gid: 100, groups: []uint32{100, 10}} },
		"no-new-privileges": func(c *Config, p *plan) { p.spec.Process.NoNewPrivileges = true },
		"read-only":         func(_ *Config, p *plan) { p.spec.Root.Readonly = true },
		"umask":             func(_ *Config, p *plan) { p.spec.Process.User.Umask = &mask },
		"terminal":          func(_ *Config, p *plan) { p.console, p.consoleName, p.stdio = 30, "0", [3]int{30, 30, 30} },
		"cgroup-v1": func(_ *Config, p *plan) {
			p.tasks = []taskFile{{"/sys/fs/cgroup/pids/minictr/x/tasks", 31}}
			p.cgroupNS = true
			p.hierarchies = []hierarchy{{name: "pids", fstype: "cgroup", options: []string{"pids"}}, {name: "systemd", fstype: "cgroup", options: []string{"none", "name=systemd"}}}
		},
		"detached": func(_ *Config, p *plan) {
			p.monitor = &monitor{binary: 40, null: 41, fds: [5]int{42, 0, 43, 44, 41}, argv: []string{"minictr-monitor", "…"}}
		},
		"user-namespace":   func(_ *Config, p *plan) { p.mapped = 45 },
		"sysctl-of-a-link": func(_ *Config, p *plan) { p.spec.Linux.Sysctl["net.ipv4.conf.eth0.rp_filter"] = "2" },
		"bind-mount": func(c *Config, p *plan) {
			c.Mounts = []Mount{{Type: "bind", Source: "/srv", Destination: "/mnt", Options: []string{"rbind", "ro", "slave"}}}
			p.spec.Mounts = c.Spec().Mounts
			p.prepared[usualMounts] = 46
			p.private = map[int][]string{usualMounts: {"below"}}
		},
		"oom-score": func(_ *Config, p *plan) {
			score := 500
			p.spec.Process.OOMScoreAdj = &score
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Config{}
			p := fixedPlan(c)
			change(c, &p)
			program, err := compile(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := program.Validate(); err != nil {
				t.Error(err)
			}
			golden(t, name, differenceFromPlain(t, name, program.String()))
		})
	}
}

// differenceFromPlain is the whole program for "plain", and for the others what
// differs from it.
func differenceFromPlain(t *testing.T, name, text string) string {
	t.Helper()
	if name == "plain" {
		return text
	}
	p, err := compile(fixedPlan(&Config{}))
	if err != nil {
		t.Fatal(err)
	}
	return lineDifference(unnumbered(p.String()), unnumbered(text))
}

// unnumbered takes the numbers of operations and slots away, which one more would
// all change.
func unnumbered(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimLeft(strings.TrimRight(line, "\n"), " 0123456789")
		out = append(out, slots.ReplaceAllString(line, "$$"))
	}
	return out
}

// lineDifference lists the lines that only one of them has, in their order, by
// the longest common subsequence.
func lineDifference(a, b []string) string {
	length := make([][]int, len(a)+1)
	for i := range length {
		length[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	var out strings.Builder
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j >= len(b) || i < len(a) && length[i+1][j] >= length[i][j+1]:
			out.WriteString("- " + a[i] + "\n")
			i++
		default:
			out.WriteString("+ " + b[j] + "\n")
			j++
		}
	}
	return out.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "compile", name+".golden")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (-update writes it)", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

func TestCompileExec(t *testing.T) {
	p := fixedPlan(&Config{})
	p.attach, p.start, p.parentEnds, p.joins, p.deathSignal = "", 0, nil, nil, false
	p.cgroupNS, p.cgroupFD = true, 50
	program, err := compileExec(execPlan{plan: p, pidfd: 51, pid: 4242, namespaces: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET})
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Validate(); err != nil {
		t.Error(err)
	}
	golden(t, "exec", program.String())
}

// Compiling changes nothing: the same plan gives the same program again.
func TestCompileIsPure(t *testing.T) {
	p := fixedPlan(&Config{})
	first, err := compile(p)
	if err != nil {
		t.Fatal(err)
	}
	second, err := compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(first.String(), second.String()); d != "" {
		t.Error(d)
	}
}

func TestCompileNamesTheField(t *testing.T) {
	for want, change := range map[string]func(*plan){
		"process.capabilities.bounding": func(p *plan) { p.spec.Process.Capabilities.Bounding = []string{"CAP_NONE"} },
		"process.rlimits":               func(p *plan) { p.spec.Process.Rlimits = append(p.spec.Process.Rlimits, rlimit("RLIMIT_NONE")) },
	} {
		p := fixedPlan(&Config{})
		change(&p)
		if _, err := compile(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}
