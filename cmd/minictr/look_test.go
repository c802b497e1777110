package main

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime"
	"github.com/minictr/minictr/runtime/logfile"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func TestHumanDuration(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "Less than a second"},
		{999 * time.Millisecond, "Less than a second"},
		{time.Second, "1 second"},
		{59 * time.Second, "59 seconds"},
		{time.Minute, "About a minute"},
		{2 * time.Minute, "2 minutes"},
		{59*time.Minute + 59*time.Second, "59 minutes"},
		{time.Hour, "About an hour"},
		{89 * time.Minute, "About an hour"},
		{90 * time.Minute, "2 hours"},
		{47 * time.Hour, "47 hours"},
		{2 * day, "2 days"},
		{13 * day, "13 days"},
		{14 * day, "2 weeks"},
		{59 * day, "8 weeks"},
		{60 * day, "2 months"},
		{729 * day, "24 months"},
		{730 * day, "2 years"},
	} {
		if got := humanDuration(c.d); got != c.want {
			t.Errorf("%v: got %q, want %q", c.d, got, c.want)
		}
	}
}

func TestHumanSize(t *testing.T) {
	for bytes, want := range map[int64]string{0: "0B", 999: "999B", 1000: "1kB", 7792915: "7.793MB", 1234567890: "1.235GB"} {
		if got := humanSize(bytes); got != want {
			t.Errorf("%d: got %q, want %q", bytes, got, want)
		}
	}
}

// examples are containers in each state.
func examples() []*runtime.Container {
	bridge := &network.Config{Mode: network.Bridge, Endpoints: []network.Endpoint{{
		Network:   network.Network{Driver: network.BridgeDriver},
		Interface: network.Interface{Address: netip.MustParsePrefix("172.17.0.2/16")}, Default: true,
	}}, Ports: []network.Port{{HostPort: 8080, ContainerPort: 80, Count: 1, Protocol: "tcp"}}}
	return []*runtime.Container{
		{
			Config: &runtime.Config{
				ID: "4f0c9d2e5b6a" + strings.Repeat("0", 52), Name: "web", Created: now.Add(-3 * time.Minute), Image: runtime.Image{Reference: "nginx:1.27", ID: "sha256:abcd"},
				Args: []string{"nginx", "-g", "daemon off;"}, Labels: map[string]string{"tier": "front", "a": "b"}, Network: runtime.Network{Mode: "bridge"},
			},
			Status: runtime.Running, State: &runtime.State{Pid: 4711, Started: now.Add(-170 * time.Second), Network: bridge},
		},
		{
			Config: &runtime.Config{ID: "8a1b2c3d4e5f" + strings.Repeat("1", 52), Name: "job", Created: now.Add(-26 * time.Hour), Image: runtime.Image{Rootfs: "/srv/root"}, Args: []string{"true"}, Network: runtime.Network{Mode: "none"}},
			Status: runtime.Exited, Result: &runtime.Result{ExitCode: 137, Finished: now.Add(-25 * time.Hour)},
		},
		{
			Config: &runtime.Config{ID: "c0ffee000000" + strings.Repeat("2", 52), Name: "new", Created: now, Image: runtime.Image{Reference: "alpine"}, Args: []string{"echo", "\x1b[31mred"}, Network: runtime.Network{Mode: "container", Join: "web"}},
			Status: runtime.Created,
		},
	}
}

func table(t *testing.T, l listing, rows []any) string {
	t.Helper()
	var b bytes.Buffer
	if err := l.table(&b, rows, headsOf(rows[0])); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPsTable(t *testing.T) {
	var rows []any
	for _, c := range examples() {
		rows = append(rows, newPsRow(c, now, false))
	}
	got := table(t, listing{columns: psColumns()}, rows)
	want := strings.TrimLeft(`
CONTAINER ID   IMAGE        COMMAND                  CREATED                  STATUS                      PORTS                  IP           NAMES
4f0c9d2e5b6a   nginx:1.27   "nginx -g daemon off;"   3 minutes ago            Up 2 minutes                0.0.0.0:8080->80/tcp   172.17.0.2   web
8a1b2c3d4e5f   /srv/root    "true"                   26 hours ago             Exited (137) 25 hours ago                                       job
c0ffee000000   alpine       "echo ?[31mred"          Less than a second ago   Created                                                         new
`, "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPsFilters(t *testing.T) {
	for _, c := range []struct {
		flags psFlags
		want  string
	}{
		{psFlags{}, "web"},
		{psFlags{all: true}, "web job new"},
		{psFlags{filter: []string{"status=exited"}}, "job"},
		{psFlags{filter: []string{"status=exited", "status=created"}}, "job new"},
		{psFlags{filter: []string{"exited=137"}}, "job"},
		{psFlags{filter: []string{"exited=0"}}, ""},
		{psFlags{all: true, filter: []string{"name=e"}}, "web new"},
		{psFlags{all: true, filter: []string{"name=^/?ne"}}, "new"},
		{psFlags{all: true, filter: []string{"id=8a1b"}}, "job"},
		{psFlags{all: true, filter: []string{"label=tier"}}, "web"},
		{psFlags{all: true, filter: []string{"label=tier=back"}}, ""},
		{psFlags{all: true, filter: []string{"label=tier=front", "label=a=b"}}, "web"},
		{psFlags{all: true, filter: []string{"network=none"}}, "job"},
		{psFlags{all: true, filter: []string{"network=container:web"}}, "new"},
		{psFlags{all: true, filter: []string{"ancestor=nginx:1.27"}}, "web"},
		{psFlags{all: true, filter: []string{"ancestor=abcd"}}, "web"},
		{psFlags{last: 1}, "web job new"}, // -n cuts the list later
	} {
		if c.flags.last == 0 {
			c.flags.last = -1
		}
		want, err := c.flags.match(rootfs.OpenStore(t.TempDir()))
		if err != nil {
			t.Errorf("%+v: %v", c.flags, err)
			continue
		}
		var names []string
		for _, container := range examples() {
			if want(container) {
				names = append(names, container.Config.Name)
			}
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.flags, got, c.want)
		}
	}
	for _, filter := range []string{"name", "nope=x", "name=[", "exited=x", "status=up"} {
		if _, err := (psFlags{filter: []string{filter}}).match(rootfs.OpenStore(t.TempDir())); !is[usageError](err) {
			t.Errorf("--filter %s: no usage error but %v", filter, err)
		}
	}
}

func TestImageNames(t *testing.T) {
	for _, c := range []struct {
		reference, repository, tag string
		matches, misses            []string
	}{
		{"docker.io/library/alpine:3.20", "alpine", "3.20", []string{"alpine", "alp*", "alpine:3.*"}, []string{"alpine:latest", "alp"}},
		{"docker.io/user/web:latest", "user/web", "latest", []string{"user/web", "user/*:latest", "web"}, []string{"other/web"}},
		{"localhost:5000/a/b:x", "localhost:5000/a/b", "x", []string{"localhost:5000/a/b:x", "b:x"}, []string{"c"}},
		{"", "", "", nil, []string{"alpine"}},
	} {
		n := newShortName(&rootfs.Image{Reference: c.reference})
		if n.repository != c.repository || n.tag != c.tag {
			t.Errorf("%s: got %+v", c.reference, n)
		}
		for _, p := range c.matches {
			if !n.matches(p) {
				t.Errorf("%s does not match %s", c.reference, p)
			}
		}
		for _, p := range c.misses {
			if n.matches(p) {
				t.Errorf("%s matches %s", c.reference, p)
			}
		}
	}
}

func TestParseMoment(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	local := now.In(berlin)
	for text, want := range map[string]time.Time{
		"":                          {},
		"10m":                       now.Add(-10 * time.Minute),
		"1h30m":                     now.Add(-90 * time.Minute),
		"2026-01-02T15:04:05Z":      time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
		"2026-01-02T15:04:05+01:00": time.Date(2026, 1, 2, 14, 4, 5, 0, time.UTC),
		"2026-01-02T15:04:05.5":     time.Date(2026, 1, 2, 15, 4, 5, 500_000_000, berlin),
		"2026-01-02T15:04":          time.Date(2026, 1, 2, 15, 4, 0, 0, berlin),
		"2026-01-02":                time.Date(2026, 1, 2, 0, 0, 0, 0, berlin),
		"1136073845":                time.Unix(1136073845, 0),
		"1136073845.000000001":      time.Unix(1136073845, 1),
	} {
		if got, err := parseMoment(text, local); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "2026-13-01", "1.2.3", "."} {
		if _, err := parseMoment(text, local); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestLogOutput(t *testing.T) {
	var b bytes.Buffer
	o := &logOutput{w: &b, stamp: true}
	for _, e := range []logfile.Entry{{Time: now, Text: []byte("be")}, {Time: now.Add(1), Text: []byte("gin"), Full: true}, {Time: now.Add(2), Text: []byte("rest")}} {
		if err := o.print(e); err != nil {
			t.Fatal(err)
		}
	}
	if want := "2026-03-04T05:06:07.000000000Z begin\n2026-03-04T05:06:07.000000002Z rest"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestTopColumns(t *testing.T) {
	usual, err := chooseColumns(nil)
	if err != nil || len(usual) != 6 {
		t.Errorf("the usual ones: %d, %v", len(usual), err)
	}
	some, err := chooseColumns([]string{"PID,comm", "rss"})
	if err != nil || len(some) != 3 || some[1].head != "NAME" {
		t.Errorf("PID,comm rss: %v, %v", some, err)
	}
	if _, err := chooseColumns([]string{"pid,"}); !is[usageError](err) {
		t.Errorf("pid,: no usage error but %v", err)
	}
	if got := clock(25*time.Hour + 61*time.Second); got != "25:01:01" {
		t.Errorf("clock: %s", got)
	}
}

// Every line of the table of commands can be built, and what completion says of
// commands and flags is about such that there are.
func TestCommandsAndCompletion(t *testing.T) {
	a := &app{}
	root := a.rootCommand()
	if a.declare(root, []string{"help"}) {
		t.Fatal("help is a command of the table")
	}
	paths := []string{}
	for _, c := range root.Commands() {
		paths = append(paths, c.Name())
		for _, below := range c.Commands() {
			paths = append(paths, c.Name()+" "+below.Name())
		}
	}
	for _, row := range completions() {
		if !slices.Contains(paths, row.command) {
			t.Errorf("completion of %q, which is no command", row.command)
		}
	}
	for command, flags := range flagCompletions() {
		c, rest, err := root.Find(strings.Fields(command))
		if err != nil || len(rest) > 0 {
			t.Errorf("completion of the flags of %q, which is no command: %v", command, err)
			continue
		}
		for flag := range flags {
			if c.Flags().Lookup(flag) == nil {
				t.Errorf("completion of %s --%s, which is no flag", command, flag)
			}
		}
	}
	if err := a.complete((&app{}).rootCommand()); err != nil {
		t.Error(err)
	}
}

// What minictr could not do is told apart from what the container did.
func TestFailure(t *testing.T) {
	for _, c := range []struct {
		command string
		err     error
		code    int
		lines   string // before the hint
	}{
		{"run", &runtime.NameInUseError{Name: "web", ID: "4f0c9d2e5b6a00"}, 125, "minictr: the name web is in use by container 4f0c9d2e5b6a\n"},
		{"run", &runtime.CommandError{Command: "nope", Errno: 2}, 127, "minictr: run nope: not found in PATH\n"},
		{"exec", &runtime.CommandError{Command: "/etc", Errno: 13}, 126, "minictr: run /etc: permission denied\n"},
		{"rm", errors.Join(&runtime.NotFoundError{Name: "a"}, &runtime.NotFoundError{Name: "b"}), 1, "minictr: no such container: a\nminictr: no such container: b\n"},
		{"cp", &runtime.ReadOnlyError{Container: "web", Mount: "/data"}, 1, "minictr: copy to web: its mount /data is read-only\n"},
		{"cp", &rootfs.ReplaceError{Name: "etc", Directory: true}, 1, "minictr: etc is a directory, and is not replaced by what is none\n"},
		{"cp", &runtime.CompressedError{Program: "xz"}, 1, "minictr: read the archive: it is compressed, by xz\n"},
		{"cp", betweenContainersError{"a:x", "b:y"}, 1, "minictr: copying between containers is not supported\n"},
		{"pull", exitError(125), 1, ""},
		{"ps", errors.New("two\nlines"), 1, "minictr: two?lines\n"},
	} {
		file := filepath.Join(t.TempDir(), "stderr")
		out, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		code := (&app{err: out}).fail(c.command, c.err)
		out.Close()
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines, _, _ := strings.Cut(string(got), "hint: ")
		if code != c.code || lines != c.lines {
			t.Errorf("%s %v: got %d, %q, want %d, %q", c.command, c.err, code, got, c.code, c.lines)
		}
	}
}

// TestWarning: a launch warns of tables of others, which the kernel lets have any name.
func TestWarning(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stderr")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	(&app{err: out}).watch(false).Warn("table ip \x1b[2Jx\ndrops")
	out.Close()
	if got, err := os.ReadFile(file); err != nil || string(got) != "minictr: warning: table ip ?[2Jx?drops\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCpPlace(t *testing.T) {
	for argument, want := range map[string]cpPlace{
		"web:/etc": {"web", "/etc"}, "web:": {"web", ""}, "web:a:b": {"web", "a:b"}, "/a:b": {"", "/a:b"}, "./a:b": {"", "./a:b"},
		"../a:b": {"", "../a:b"}, "file": {"", "file"}, "-": {"", "-"}, ":a": {"", ":a"},
	} {
		if got := newCpPlace(argument); got != want {
			t.Errorf("%s: %+v, not %+v", argument, got, want)
		}
	}
}

func TestInspectPorts(t *testing.T) {
	c := examples()[0]
	c.Config.Network.Ports = []network.Port{
		{ContainerPort: 80, Count: 1, Protocol: "tcp"},
		{HostIP: netip.MustParseAddr("::1"), HostPort: 8000, Among: 11, ContainerPort: 80, Count: 1, Protocol: "tcp"},
		{HostPort: 9000, ContainerPort: 7000, Count: 2, Protocol: "udp"},
	}
	var v containerView
	v.addPorts(c, &rootfs.Image{Config: rootfs.Config{ExposedPorts: map[string]struct{}{"443": {}, "80/tcp": {}}}})
	for _, got := range []struct {
		what       string
		have, want any
	}{
		{"asked", v.HostConfig.PortBindings, portMap{"80/tcp": {{"", ""}, {"::1", "8000-8010"}}, "7000/udp": {{"", "9000"}}, "7001/udp": {{"", "9001"}}}},
		{"bound", v.NetworkSettings.Ports, portMap{"80/tcp": {{"0.0.0.0", "8080"}}, "443/tcp": nil}},
		{"exposed", v.Config.ExposedPorts, map[string]struct{}{"80/tcp": {}, "443/tcp": {}, "7000/udp": {}, "7001/udp": {}}},
	} {
		if diff := cmp.Diff(got.want, got.have); diff != "" {
			t.Errorf("%s:\n%s", got.what, diff)
		}
	}
}
