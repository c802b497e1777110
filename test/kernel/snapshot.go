package kernel

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// settleTime is how long a test's traces may take to vanish after its end: the
// kernel takes namespaces and cgroups down in the background, and the machine
// may be an emulated one.
const settleTime = 20 * time.Second

// Snapshot records what the test could leave behind and fails the test when, at
// its end, something is there that was not: a process started by it, directly
// or not; a mount in its mount namespace; a link or an nftables table in its
// network namespace; a cgroup below a top-level one named minictr*; an open
// descriptor. Call it before other helpers that register a cleanup, so that it
// looks after them, and not in a test that runs in parallel with others of the
// same package.
//
// The tests of other packages run at the same time. Their processes are told
// apart by a mark that is inherited (see mark), so are cgroups with processes
// in them, and only what was there at the end of the test counts: what another
// test had made by then goes away while Snapshot waits.
func Snapshot(t testing.TB) {
	t.Helper()
	snapshotWithin(t, settleTime)
}

func snapshotWithin(t testing.TB, limit time.Duration) {
	t.Helper()
	if err := mark(); err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	before := take(t)
	t.Cleanup(func() {
		left := newIn(take(t), before)
		deadline := time.Now().Add(limit)
		for len(left) > 0 && time.Now().Before(deadline) {
			time.Sleep(pollInterval)
			left = stillIn(take(t), left)
		}
		if len(left) > 0 {
			t.Errorf("left behind %v after the end of the test:\n\t%v", limit, left)
		}
	})
}

// things maps what identifies a thing to what is known of it now.
type things map[string]thing

type thing struct {
	words   string // for the report
	foreign bool   // another test's, as far as can be told
}

// readers are the kinds of things that a test can leave behind.
var readers = []func() (things, error){processes, mounts, links, tables, cgroups, descriptors}

func take(t testing.TB) things {
	t.Helper()
	all := things{}
	for _, read := range readers {
		found, err := read()
		if err != nil {
			t.Fatalf("snapshot: %v", err)
		}
		maps.Copy(all, found)
	}
	return all
}

func newIn(now, before things) things {
	maps.DeleteFunc(now, func(key string, what thing) bool { _, old := before[key]; return old || what.foreign })
	return now
}

func stillIn(now, left things) things {
	maps.DeleteFunc(now, func(key string, what thing) bool { _, ok := left[key]; return !ok || what.foreign })
	return now
}

func (t things) String() string {
	var words []string
	for _, what := range t {
		words = append(words, what.words)
	}
	slices.Sort(words)
	return strings.Join(words, "\n\t")
}

// mark gives this process a resource limit by which all its descendants are
// known later, also those that were orphaned and belong to process 1 by then:
// limits are inherited by fork and kept by execve (getrlimit(2)).
// RLIMIT_RTTIME bears the mark since it means nothing to a process without
// real-time scheduling. The mark holds the process id.
func mark() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_RTTIME, &limit); err != nil {
		return err
	}
	limit.Cur = ownMark()
	return unix.Setrlimit(unix.RLIMIT_RTTIME, &limit)
}

func ownMark() uint64 { return 1<<40 + uint64(os.Getpid()) } // microseconds: some 12 days
