package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// What is kept where. Everything is root's, directories 0700, files 0600.
//
//	/var/lib/minictr/            --root: what outlives the machine's uptime
//	    names/NAME               a symbolic link to the id: the name is taken
//	    containers/ID/           its flock(2) is held by whoever looks after it
//	        config.json          what was asked (Config)
//	        result.json          how the last run ended (Result)
//	        upper/ work/         the container's own layer
//	        log                  its output, but for a foreground run with --rm
//	    volumes/                 see package volume
//	/run/minictr/                --runroot: what a reboot ends
//	    containers/ID/
//	        state.json           the running process (State)
//	        exit                 its exit status, written by the monitor
//	        paused               it stands still; flock(2) says whether who did that lives
//	    adopted/                 network namespaces of others, see adopt.go
//
// A container is running when state.json names a process that lives. Whoever
// started it (minictr run) or looks after it (its monitor) holds the lock; when
// nobody does and the process is gone, Heal tidies up.

// State is a container that runs, or ran until somebody looks.
type State struct {
	Pid       int       `json:"pid"`
	StartTime uint64    `json:"startTime"` // in clock ticks since boot, proc_pid_stat(5) field 22
	BootID    string    `json:"bootId"`
	Started   time.Time `json:"started"`
	// Network is what the container's network was made from; nil for host.
	Network *network.Config `json:"network,omitempty"`
	// Files are those of /etc that were made for it, by their paths.
	Files map[string]OwnFile `json:"files,omitempty"`
	// Cgroups are its directories by controller.
	Cgroups map[string]string `json:"cgroups,omitempty"`
}

// Result is how a run ended.
type Result struct {
	ExitCode  int       `json:"exitCode"` // 128+n for signal n; 255 when nobody saw it
	OOMKilled bool      `json:"oomKilled,omitempty"`
	Started   time.Time `json:"started"`
	Finished  time.Time `json:"finished"`
	Error     string    `json:"error,omitempty"`
}

// Runtime is the set of containers below two directories. The zero value is not
// usable; both are absolute.
type Runtime struct {
	Root    string // lasting state, /var/lib/minictr
	Runroot string // state of this boot, /run/minictr
}

func (r *Runtime) lasting(id string, elem ...string) string {
	return filepath.Join(append([]string{r.Root, "containers", id}, elem...)...)
}

func (r *Runtime) running(id string, elem ...string) string {
	return filepath.Join(append([]string{r.Runroot, "containers", id}, elem...)...)
}

// writeNew writes a file that is not there yet, whole or not at all for a reader
// that takes an incomplete one for absent.
func writeNew(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// replace writes a file under a temporary name and renames it.
func replace(path string, v any) error {
	if err := writeNew(path+".new", v); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// read fills v from a file. A missing or half-written file is fs.ErrNotExist.
func read(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w: %w", path, fs.ErrNotExist, err)
	}
	return nil
}

// A lock is a held flock(2) on a container's directory. It belongs to the open
// file description: a process that inherits the descriptor holds it too.
type lock struct{ fd int }

// errLocked is that another process looks after the container.
var errLocked = errors.New("another process looks after it")

// lock takes the container's lock without waiting. It returns errLocked when it
// is held, and fs.ErrNotExist when there is no such container.
func (r *Runtime) lock(id string) (*lock, error) { return r.flock(id, unix.LOCK_EX|unix.LOCK_NB) }

func (r *Runtime) flock(id string, how int) (*lock, error) {
	l, err := openLock(r.lasting(id))
	if err != nil {
		return nil, err
	}
	err = l.take(how)
	if errors.Is(err, unix.EWOULDBLOCK) {
		l.release()
		return nil, errLocked
	}
	if err != nil {
		l.release()
		return nil, step.Fail("lock", r.lasting(id), err)
	}
	if _, err := os.Stat(r.lasting(id)); err != nil { // removed between the calls
		l.release()
		return nil, err
	}
	return l, nil
}

// holds reports whether the container keeps what it holds, such as its address:
// it runs, or a process looks after it that starts or ends it.
func (r *Runtime) holds(id string) bool {
	l, err := r.flock(id, unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, fs.ErrNotExist) { // gone, below another --root, or not a container
		if a, err := r.adopted(id); err != nil || a != nil {
			return err != nil || a.alive()
		}
		_, err := os.Lstat(r.running(id))
		return !errors.Is(err, fs.ErrNotExist)
	}
	if err != nil {
		return true // locked, or not to be known
	}
	l.release()
	return r.state(id).alive()
}

// lockPause is the time between two looks at a lock that another process holds.
// A wait in flock(2) would not see that the container runs again.
const lockPause = time.Millisecond

// await waits until nobody looks after the container's present run any more,
// which is when its end has been dealt with.
func (r *Runtime) await(id string) error {
	l, err := r.lockAfter(id, r.state(id))
	l.release()
	return err
}

// lockAfter waits for the end of a run and returns the container's lock. The lock
// is nil when the container is gone, or runs again: then, too, that end has been
// dealt with.
func (r *Runtime) lockAfter(id string, run *State) (*lock, error) {
	for ; ; time.Sleep(lockPause) {
		l, err := r.lock(id)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if !errors.Is(err, errLocked) {
			return l, step.Fail("wait for", id, err)
		}
		if now := r.state(id); now != nil && !now.same(run) {
			return nil, nil
		}
	}
}

func openLock(dir string) (*lock, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstPrivate)
	unix.Close(fd)
	return &lock{high}, err
}

// take is flock(2).
func (l *lock) take(how int) error {
	for {
		if err := unix.Flock(l.fd, how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (l *lock) release() {
	if l != nil && l.fd >= 0 {
		unix.Close(l.fd)
		l.fd = -1
	}
}

// firstPrivate is the number from which descriptors start that the programs hand
// on, so that no low number is taken twice.
const firstPrivate = 16

// alive reports whether the process of the state still lives: a pid alone may
// have been given to another one, and a boot ends all. When the kernel cannot be
// asked, for want of descriptors say, it does: the dead are cleaned up after.
func (s *State) alive() bool {
	if s == nil || s.Pid <= 0 {
		return false
	}
	if boot := bootID(); boot != "" && boot != s.BootID {
		return false
	}
	start, state, err := processStart(s.Pid)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH)
	}
	return start == s.StartTime && state != 'Z'
}

// same reports whether both are of one run of the container.
func (s *State) same(other *State) bool {
	return other != nil && s.Pid == other.Pid && s.StartTime == other.StartTime && s.BootID == other.BootID
}

// processStart returns the start time in clock ticks since boot and the state
// letter of a process, proc_pid_stat(5).
func processStart(pid int) (ticks uint64, state byte, err error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, err
	}
	return parseStat(string(b))
}

// parseStat reads fields 3 and 22. The name, field 2, may hold anything, so
// counting starts behind its last parenthesis.
func parseStat(s string) (ticks uint64, state byte, err error) {
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 20 {
		return 0, 0, fmt.Errorf("parse stat: %d fields", len(f))
	}
	if state = f[0][0]; len(f[0]) != 1 || state < 'A' || state > 'z' {
		return 0, 0, fmt.Errorf("parse stat: state %q", f[0])
	}
	ticks, err = strconv.ParseUint(f[19], 10, 64)
	if err != nil { // with it comes the largest number
		return 0, 0, err
	}
	return ticks, state, nil
}

// bootID is what random(4) calls boot_id: one value for each boot.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// state reads the container's running state; nil when there is none.
func (r *Runtime) state(id string) *State {
	s, err := r.readState(id)
	if err != nil {
		return nil
	}
	return s
}

// readState is state, with the error for who would clean up where there is none.
// One that is half-written is none: its process has not been let go on.
func (r *Runtime) readState(id string) (*State, error) {
	var s State
	err := read(r.running(id, "state.json"), &s)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// config reads what was asked of a container. It is nil, without an error, only
// when it was never written down: then the container is an unfinished one, to be
// removed. That it cannot be read makes no container unfinished.
func (r *Runtime) config(id string) (*Config, error) {
	path := r.lasting(id, "config.json")
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := new(Config)
	if err := json.Unmarshal(b, c); err != nil {
		return nil, step.Fail("read", path, err)
	}
	return c, nil
}

// result reads how the container's last run ended; nil when there is none.
func (r *Runtime) result(id string) *Result {
	var s Result
	if read(r.lasting(id, "result.json"), &s) != nil {
		return nil
	}
	return &s
}
