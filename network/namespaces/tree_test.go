package namespaces

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minictr/minictr/test/kernel"
	"golang.org/x/sys/unix"
)

// A tree is processes that unshare(1) has put into namespaces, each in some of its
// parent's and in some of its own.
type tree struct {
	directory string
	random    *rand.Rand
	nodes     int
}

// options are those of unshare(1) of which a node takes some. A PID namespace begins
// with the child.
var options = []string{"--net", "--mount", "--uts", "--ipc", "--cgroup", "--pid --fork", "--user --map-root-user", "--time --fork"}

// node writes the script of a process, and those of its children, and returns its
// path. Some leave a zombie, which is in fewer namespaces than it was.
func (r *tree) node(t *testing.T, depth int) string {
	t.Helper()
	path := filepath.Join(r.directory, fmt.Sprintf("node%d", r.nodes))
	r.nodes++
	var b strings.Builder
	if r.random.IntN(3) == 0 {
		b.WriteString("true &\n")
	}
	children := r.random.IntN(4) * min(depth, 1)
	if r.nodes == 1 {
		children = 2 + r.random.IntN(3)
	}
	for range children {
		var own []string
		for _, o := range options {
			if r.random.IntN(3) == 0 {
				own = append(own, o)
			}
		}
		command := "unshare " + strings.Join(own, " ")
		if len(own) == 0 {
			command = ""
		}
		fmt.Fprintf(&b, "%s sh %s &\n", command, r.node(t, depth-1))
	}
	b.WriteString("exec sleep 4711\n")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// plant starts a random tree and waits until it stands. It returns the group of its
// processes.
func plant(t *testing.T, seed uint64) (group int) {
	t.Helper()
	r := &tree{directory: t.TempDir(), random: rand.New(rand.NewPCG(seed, 0))}
	root := r.node(t, 4)
	group = start(t, "unshare", "--mount", "--net", "--uts", "sh", root)
	kernel.Eventually(t, 10*time.Second, func() error {
		if n := len(inGroup(t, group, "sleep ")); n != r.nodes {
			return fmt.Errorf("%d of %d processes", n, r.nodes)
		}
		if others := inGroup(t, group, "true", "sh "); len(others) > 0 {
			return fmt.Errorf("%v have not become zombies yet", others)
		}
		return nil
	})
	t.Logf("%d nodes", r.nodes)
	return group
}

// start starts a command in a process group of its own, which ends with the test.
func start(t *testing.T, name string, args ...string) (group int) {
	t.Helper()
	c := exec.Command(name, args...)
	c.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Kill(-c.Process.Pid, unix.SIGKILL)
		c.Wait()
	})
	return c.Process.Pid
}

// inGroup are the processes of a group whose command line begins in one of the ways,
// by pid.
func inGroup(t *testing.T, group int, begins ...string) (list []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line := command(pid)
		has := slices.ContainsFunc(begins, func(b string) bool { return strings.HasPrefix(line, b) })
		if of, err := unix.Getpgid(pid); err == nil && of == group && has {
			list = append(list, pid)
		}
	}
	slices.Sort(list)
	return list
}

// lsnsRow is a line of lsns(8), as it prints it with -J.
type lsnsRow struct {
	NS      uint64 `json:"ns"`
	Type    string `json:"type"`
	Nprocs  int    `json:"nprocs"`
	Pid     int    `json:"pid"`
	PPid    int    `json:"ppid"`
	UID     uint32 `json:"uid"`
	Command string `json:"command"`
	PNS     uint64 `json:"pns"`
	ONS     uint64 `json:"ons"`
}

// oracle is what lsns(8) says of some namespaces, by inode.
func oracle(t *testing.T, only map[uint64]bool) map[uint64]lsnsRow {
	t.Helper()
	var out []byte
	kernel.Eventually(t, 10*time.Second, func() (err error) { // it fails when a process ends while it looks
		out, err = exec.Command("lsns", "-J", "-l", "-o", "NS,TYPE,NPROCS,PID,PPID,UID,COMMAND,PNS,ONS").Output()
		return err
	})
	var answer struct{ Namespaces []lsnsRow }
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	rows := map[uint64]lsnsRow{}
	for _, row := range answer.Namespaces {
		if only[row.NS] {
			rows[row.NS] = row
		}
	}
	return rows
}

// ofTree are the namespaces of a tree's processes that are not the host's, whose
// processes come and go.
func ofTree(t *testing.T, group int) map[uint64]bool {
	t.Helper()
	host, err := Host()
	if err != nil {
		t.Fatal(err)
	}
	mine := map[uint64]bool{}
	for _, pid := range inGroup(t, group, "sleep ") {
		set, err := Of(pid)
		if err != nil {
			t.Fatal(err)
		}
		for k, inode := range set {
			if inode != host[k] {
				mine[inode] = true
			}
		}
	}
	return mine
}

// TestAgreesWithLsns: on random trees (MINICTR_NS_SEED repeats one) Read and lsns(8)
// say the same of each namespace, and of each one's parent and owner.
func TestAgreesWithLsns(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "lsns", "unshare")
	kernel.Snapshot(t)
	first := uint64(time.Now().UnixNano())
	if s := os.Getenv("MINICTR_NS_SEED"); s != "" {
		var err error
		if first, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint64(4) {
		t.Run(fmt.Sprint(first+i), func(t *testing.T) {
			group := plant(t, first+i)
			mine := ofTree(t, group)
			list, err := Read()
			if err != nil {
				t.Fatal(err)
			}
			compareWithLsns(t, list, mine, oracle(t, mine))
		})
	}
}

func compareWithLsns(t *testing.T, list []Namespace, mine map[uint64]bool, want map[uint64]lsnsRow) {
	t.Helper()
	compared := 0
	for _, n := range list {
		if !mine[n.Inode] {
			continue
		}
		compared++
		p := n.Leader()
		got := lsnsRow{n.Inode, string(n.Kind), len(n.Processes), p.Pid, p.PPid, p.UID, p.Command, n.Parent, n.UserOwner}
		if got != want[n.Inode] {
			t.Errorf("%v:\nours %+v\nlsns %+v", n, got, want[n.Inode])
		}
	}
	if compared != len(want) || compared < 3 {
		t.Errorf("%d namespaces, lsns has %d of them", compared, len(want))
	}
}

// TestReadWhileTheyVanish: processes that come and go are no error, and the namespaces
// of those that stay are there each time.
func TestReadWhileTheyVanish(t *testing.T) {
	kernel.RequireRoot(t)
	kernel.RequireCommand(t, "unshare")
	kernel.Snapshot(t)
	stays := start(t, "unshare", "--net", "--ipc", "sleep", "4711")
	start(t, "sh", "-c", "while :; do unshare --net --mount --user --pid --fork true; done")
	kernel.Eventually(t, 5*time.Second, func() error {
		if len(inGroup(t, stays, "sleep ")) == 0 {
			return errors.New("unshare is not there yet")
		}
		return nil
	})
	set, err := Of(stays)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		list, err := Read()
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []Kind{Network, IPC} {
			i := slices.IndexFunc(list, func(n Namespace) bool { return n.Kind == k && n.Inode == set[k] })
			if i < 0 || len(list[i].Processes) != 1 || list[i].Leader().Command != "sleep 4711" {
				t.Fatalf("%s of process %d is not as it was", k, stays)
			}
		}
	}
}
