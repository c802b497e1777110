package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	stdruntime "runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// copyCase is one line of docker cp's rules: what is copied from s/ to d/, and
// which names of d/ are others then.
type copyCase struct {
	from, to string
	follow   bool
	want     string // or "! " and what the error says
}

var copyCases = []copyCase{
	{"file", "dir", false, "dir/file=content"},
	{"file", "dir/", false, "dir/file=content"},
	{"file", "file", false, "file=content"},
	{"file", "new", false, "new=content"},
	{"file", "new/", false, "! no such directory"},
	{"file", "no/new", false, "! no such directory"},
	{"file", "file/", false, "! not a directory"},
	{"file", "file/new", false, "! not a directory"},
	{"file", "ldir", false, "dir/file=content"},
	{"file", "ldir/new", false, "dir/new=content"},
	{"file", "lfile", false, "file=content"},
	{"file", "ldangling", false, "dir/made=content"},
	{"file", "full", false, "! file is a directory, and is not replaced"},
	{"file", "fifo", false, "! neither a file nor a directory"},
	{"file/", "dir", false, "! not a directory"},
	{"file/.", "dir", false, "! not a directory"},
	{"dir", "dir", false, "dir/dir/ dir/dir/a=a dir/dir/sub/ dir/dir/sub/b=b"},
	{"dir/", "dir", false, "dir/dir/ dir/dir/a=a dir/dir/sub/ dir/dir/sub/b=b"},
	{"dir/.", "dir", false, "dir/a=a dir/sub/ dir/sub/b=b"},
	{"dir", "new", false, "new/ new/a=a new/sub/ new/sub/b=b"},
	{"dir", "new/", false, "new/ new/a=a new/sub/ new/sub/b=b"},
	{"dir/.", "new", false, "new/ new/a=a new/sub/ new/sub/b=b"},
	{"dir", "ldangling", false, "dir/made/ dir/made/a=a dir/made/sub/ dir/made/sub/b=b"},
	{"dir", "file", false, "! a directory cannot be copied to what is none"},
	{"dir/.", "file", false, "! a directory cannot be copied to what is none"},
	{"dir", "full", false, "! dir is no directory, and is not replaced"},
	{"dir", "no/new", false, "! no such directory"},
	{"lfile", "dir", false, "dir/lfile->file"},
	{"lfile", "new", false, "new->file"},
	{"lfile", "file", false, "file->file"},
	{"lfile", "dir", true, "dir/lfile=content"},
	{"lfile", "new", true, "new=content"},
	{"ldir", "dir", false, "dir/ldir->dir"},
	{"ldir", "dir", true, "dir/ldir/ dir/ldir/a=a dir/ldir/sub/ dir/ldir/sub/b=b"},
	{"ldir/", "dir", false, "dir/ldir/ dir/ldir/a=a dir/ldir/sub/ dir/ldir/sub/b=b"},
	{"ldir/.", "dir", false, "dir/a=a dir/sub/ dir/sub/b=b"},
	{"dangling", "dir", false, "dir/dangling->nosuch"},
	{"dangling", "dir", true, "! no such file or directory"},
	{"nosuch", "dir", false, "! no such file or directory"},
	{"socket", "dir", false, "! neither a file nor a directory"},
	{"fifo", "dir", false, "dir/fifo|"},
}

// makeCopyTrees makes s/ and d/.
func makeCopyTrees(t *testing.T, dir string) {
	t.Helper()
	must(t, os.MkdirAll(dir+"/s/dir/sub", 0o755))
	must(t, os.MkdirAll(dir+"/d/dir", 0o755))
	must(t, os.MkdirAll(dir+"/d/full/file", 0o755))
	for name, content := range map[string]string{"s/file": "content", "s/dir/a": "a", "s/dir/sub/b": "b", "d/file": "old", "d/dir/old": "old", "d/full/dir": "old"} {
		must(t, os.WriteFile(dir+"/"+name, []byte(content), 0o644))
	}
	for name, target := range map[string]string{"s/lfile": "file", "s/ldir": "dir", "s/dangling": "nosuch", "d/ldir": "dir", "d/lfile": "file", "d/ldangling": "dir/made"} {
		must(t, os.Symlink(target, dir+"/"+name))
	}
	must(t, unix.Mkfifo(dir+"/d/fifo", 0o600))
	must(t, unix.Mkfifo(dir+"/s/fifo", 0o600))
	must(t, unix.Mknod(dir+"/s/socket", unix.S_IFSOCK|0o600, 0))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listCopied describes every name below dir in one word.
func listCopied(t *testing.T, dir string) (list []string) {
	t.Helper()
	must(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		switch {
		case e.IsDir():
			name += "/"
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(filepath.Join(dir, name))
			must(t, err)
			name += "->" + target
		case e.Type() == fs.ModeNamedPipe:
			name += "|"
		default:
			b, err := os.ReadFile(filepath.Join(dir, name))
			must(t, err)
			name += "=" + string(b)
		}
		list = append(list, name)
		return nil
	}))
	return list
}

// box makes a container that runs, or has run, and returns a path of the host by
// which the test changes its root.
func (w *world) box(t *testing.T, n int, running bool, change func(*Config)) (c *Config, root string) {
	t.Helper()
	c, pid, end := w.startBox(t, n, change)
	if running {
		t.Cleanup(end)
		return c, fmt.Sprintf("/proc/%d/root", pid)
	}
	end()
	return c, w.lasting(c.ID, "upper")
}

// startBox starts a container; end kills it and waits for it.
func (w *world) startBox(t *testing.T, n int, change func(*Config)) (c *Config, pid int, end func()) {
	t.Helper()
	c = w.layered("/bin/sleep")
	c.ID, c.Name, c.Remove, c.Network.Mode = testID(n), fmt.Sprintf("box%d", n), false, "none"
	if change != nil {
		change(c)
	}
	started, over, waited := make(chan error), make(chan bool), make(chan error)
	go func() { // on a thread that a copy does not throw away: the container would die with it
		stdruntime.LockOSThread()
		defer stdruntime.UnlockOSThread()
		p, err := w.Run(c, Standard{}, Watch{})
		if started <- err; err != nil {
			return
		}
		<-over
		_, err = p.Wait(Standard{})
		waited <- err
	}()
	must(t, <-started)
	found, err := w.Container(c.Name)
	must(t, err)
	var once sync.Once
	stop := func() (err error) {
		once.Do(func() {
			over <- true
			err = errors.Join(w.Signal(found, unix.SIGKILL), <-waited)
		})
		return err
	}
	t.Cleanup(func() {
		if err := stop(); !isNotRunning(err) { // or it would be a zombie, and somebody's child in the tests to come
			must(t, err)
		}
		must(t, w.Remove(c.Name, RemoveOptions{Force: true}))
	})
	return c, found.State.Pid, func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

// TestCopyLikeDocker tries every rule in both directions, with a container that
// runs and with one that does not.
func TestCopyLikeDocker(t *testing.T) {
	w := newWorld(t)
	for n, running := range []bool{true, false} {
		c, root := w.box(t, 300+n, running, nil)
		for _, into := range []bool{true, false} {
			for _, line := range copyCases {
				t.Run(fmt.Sprintf("running=%v,in=%v/%s,%s,%v", running, into, line.from, line.to, line.follow), func(t *testing.T) {
					w.tryCopy(t, c.Name, root, into, line)
				})
			}
		}
	}
}

func (w *world) tryCopy(t *testing.T, name, root string, into bool, line copyCase) {
	t.Helper()
	host, inside := t.TempDir(), root+"/try"
	must(t, os.RemoveAll(inside))
	makeCopyTrees(t, host)
	makeCopyTrees(t, inside)
	var err error
	changed := host
	if o := (CopyOptions{FollowLink: line.follow}); into {
		changed = inside
		_, err = w.CopyIn(name, host+"/s/"+line.from, "/try/d/"+line.to, o)
	} else {
		_, err = w.CopyOut(name, "try/s/"+line.from, host+"/d/"+line.to, o)
	}
	pristine := t.TempDir()
	makeCopyTrees(t, pristine)
	before := listCopied(t, pristine+"/d")
	got := slices.DeleteFunc(listCopied(t, changed+"/d"), func(n string) bool { return slices.Contains(before, n) })
	if words, fails := strings.CutPrefix(line.want, "! "); fails {
		if err == nil || !strings.Contains(err.Error(), words) || len(got) > 0 {
			t.Errorf("error %v, changed %q; want the error %s", err, got, words)
		}
		return
	}
	if err != nil || strings.Join(got, " ") != line.want {
		t.Errorf("error %v, changed %q; want %q", err, got, line.want)
	}
}

// TestCopyOwners: whose the copies are, and what of their rights is left.
func TestCopyOwners(t *testing.T) {
	w := newWorld(t)
	mappings, err := ParseIDMappings([]string{"0:200000:65536"})
	must(t, err)
	must(t, os.Mkdir(w.rootfs+"/etc", 0o755))
	mapped := func(c *Config) {
		c.Image = Image{Rootfs: w.rootfs}
		c.UIDMappings, c.GIDMappings = mappings, mappings
	}
	for n, box := range []struct {
		name   string
		shift  uint32
		change func(*Config)
	}{{"plain", 0, nil}, {"user namespace", 200000, mapped}} {
		t.Run(box.name, func(t *testing.T) {
			for dir := filepath.Dir(w.Root); dir != os.TempDir(); dir = filepath.Dir(dir) {
				must(t, os.Chmod(dir, 0o755)) // the container's root attaches its mounts there
			}
			c, root := w.box(t, 310+n, true, box.change)
			host := t.TempDir()
			must(t, os.WriteFile(host+"/in", nil, 0o600))
			must(t, os.Chown(host+"/in", 7, 8))
			must(t, os.Chmod(host+"/in", 0o755|os.ModeSetuid))
			for _, archive := range []bool{false, true} {
				uid, gid, mode := box.shift, box.shift, uint32(0o4755)
				if archive {
					uid, gid = uid+7, gid+8
				}
				_, err := w.CopyIn(c.Name, host+"/in", "/x", CopyOptions{Archive: archive})
				must(t, err)
				wantOwner(t, root+"/x", uid, gid, mode)
				must(t, os.Chown(root+"/x", int(box.shift+7), int(box.shift+8)))
				must(t, os.Chmod(root+"/x", 0o755|os.ModeSetuid))
				_, err = w.CopyOut(c.Name, "/x", host+"/out", CopyOptions{Archive: archive})
				must(t, err)
				if !archive {
					wantOwner(t, host+"/out", 0, 0, 0o755)
				} else {
					wantOwner(t, host+"/out", 7, 8, 0o4755)
				}
			}
		})
	}
}

func wantOwner(t *testing.T, path string, uid, gid, mode uint32) {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	if st.Uid != uid || st.Gid != gid || st.Mode&0o7777 != mode {
		t.Errorf("%s: %d:%d %o, not %d:%d %o", filepath.Base(path), st.Uid, st.Gid, st.Mode&0o7777, uid, gid, mode)
	}
}

// TestCopyFollowsNoForeignLink: a link that another user has put into a directory
// for all is followed as far as the kernel follows it.
func TestCopyFollowsNoForeignLink(t *testing.T) {
	w := newWorld(t)
	c, _ := w.box(t, 315, true, nil)
	host := t.TempDir()
	must(t, os.WriteFile(host+"/victim", []byte("old"), 0o600))
	must(t, os.Mkdir(host+"/tmp", 0o755))
	must(t, os.Chmod(host+"/tmp", 0o777|os.ModeSticky))
	must(t, os.Symlink(host+"/victim", host+"/tmp/link"))
	must(t, os.Lchown(host+"/tmp/link", 1234, 1234))
	f, byKernel := os.Open(host + "/tmp/link")
	if byKernel == nil {
		must(t, f.Close())
	}
	_, err := w.CopyOut(c.Name, "/bin/true", host+"/tmp/link", CopyOptions{})
	if errors.Is(byKernel, unix.EACCES) != errors.Is(err, unix.EACCES) {
		t.Errorf("copy: %v; the kernel: %v", err, byKernel)
	}
}

// TestCopyRefusesReadOnly: by the name of what is read-only, whether it runs or
// not; and a volume that can be written to is written to.
func TestCopyRefusesReadOnly(t *testing.T) {
	w := newWorld(t)
	host := t.TempDir()
	must(t, os.MkdirAll(host+"/rw", 0o755))
	must(t, os.MkdirAll(host+"/ro", 0o755))
	must(t, os.WriteFile(host+"/file", []byte("content"), 0o644))
	must(t, os.WriteFile(host+"/ro/there", []byte("there"), 0o644))
	for n, running := range []bool{true, false} {
		c, _ := w.box(t, 320+n, running, func(c *Config) {
			c.ReadOnly = true
			c.Mounts = []Mount{
				{Type: "bind", Source: host + "/rw", Destination: "/rw", Options: []string{"rbind"}},
				{Type: "bind", Source: host + "/ro", Destination: "/ro", Options: []string{"rbind", "ro"}},
			}
		})
		for target, mount := range map[string]string{"/x": "/", "/bin": "/", "/ro/": "/ro", "/ro/there": "/ro"} {
			_, err := w.CopyIn(c.Name, host+"/file", target, CopyOptions{})
			var refused *ReadOnlyError
			if !errors.As(err, &refused) || refused.Mount != mount {
				t.Errorf("running=%v, %s: %v", running, target, err)
			}
		}
		_, err := w.CopyIn(c.Name, host+"/file", fmt.Sprintf("/rw/copy%d", n), CopyOptions{})
		must(t, err)
		_, err = w.CopyOut(c.Name, "/ro/there", host+"/back", CopyOptions{})
		must(t, err)
	}
	want := []string{"back=there", "file=content", "ro/", "ro/there=there", "rw/", "rw/copy0=content", "rw/copy1=content"}
	if diff := cmp.Diff(want, listCopied(t, host)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestCopyRaces copies in and out of a container that exchanges its directories
// and files for links all the time. The links name what is on the host, too.
func TestCopyRaces(t *testing.T) {
	w := newWorld(t)
	canary := t.TempDir()
	must(t, os.WriteFile(canary+"/file", []byte("SECRET"), 0o600))
	must(t, os.Mkdir(canary+"/sub", 0o700))
	before := listCopied(t, canary)
	c, root := w.box(t, 330, true, nil)
	must(t, os.MkdirAll(root+"/d/sub", 0o755))
	must(t, os.WriteFile(root+"/d/file", []byte("harmless"), 0o600))
	must(t, os.MkdirAll(root+canary, 0o755))
	must(t, os.WriteFile(root+canary+"/file", []byte("harmless"), 0o600))
	fd, err := unix.Open(root, unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	var exchanges atomic.Int64
	stop := hostile(fd, func() {
		_ = unix.Symlinkat(canary, fd, "other")
		_ = unix.Symlinkat("../../../../../../../.."+canary, fd, "climbing")
		_ = unix.Renameat2(fd, "d", fd, "other", unix.RENAME_EXCHANGE)
		_ = unix.Renameat2(fd, "d", fd, "climbing", unix.RENAME_EXCHANGE)
		_ = unix.Symlinkat(canary+"/file", fd, "d/link")
		_ = unix.Renameat2(fd, "d/file", fd, "d/link", unix.RENAME_EXCHANGE)
		exchanges.Add(1)
	})
	defer stop()
	source := t.TempDir()
	must(t, os.MkdirAll(source+"/tree/sub", 0o755))
	must(t, os.WriteFile(source+"/tree/file", []byte("copied"), 0o644))
	must(t, unix.Mkfifo(source+"/tree/link", 0o600))
	out := t.TempDir()
	rounds, done := 0, 0
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); rounds++ {
		for _, copy := range []func() (int64, error){
			func() (int64, error) {
				return w.CopyIn(c.Name, source+"/tree/.", "/d", CopyOptions{Archive: rounds%2 == 0})
			},
			func() (int64, error) { return w.CopyIn(c.Name, source+"/tree/file", "/d/file", CopyOptions{}) },
			func() (int64, error) { return w.CopyIn(c.Name, source+"/tree", "/d/sub", CopyOptions{}) },
			func() (int64, error) { return w.CopyOut(c.Name, "/d/.", out, CopyOptions{FollowLink: rounds%2 == 0}) },
			func() (int64, error) { return w.CopyOut(c.Name, "/d/file", out+"/one", CopyOptions{FollowLink: true}) },
		} {
			if _, err := copy(); err == nil { // it may fail, but do nothing elsewhere
				done++
			}
		}
		must(t, os.RemoveAll(out+"/one"))
		for _, line := range listCopied(t, out) {
			if strings.HasSuffix(line, "=SECRET") {
				t.Fatalf("round %d: read outside of the container: %s", rounds, line)
			}
		}
	}
	if diff := cmp.Diff(before, listCopied(t, canary)); diff != "" {
		t.Errorf("outside of the container: -before +after:\n%s", diff)
	}
	t.Logf("%d rounds of 5 copies, %d of which went well, %d exchanges", rounds, done, exchanges.Load())
	if rounds < 20 || done == 0 || exchanges.Load() < 500 {
		t.Error("that proves nothing")
	}
}

// hostile calls f all the time, with root as its root, until what it returns is
// called.
func hostile(root int, f func()) (stop func()) {
	var ended atomic.Bool
	done := make(chan error)
	go func() {
		stdruntime.LockOSThread() // and never unlocked: nobody else is to have that root
		err := errors.Join(unix.Unshare(unix.CLONE_FS), unix.Fchdir(root), unix.Chroot("."))
		for err == nil && !ended.Load() {
			f()
		}
		done <- err
	}()
	return func() {
		ended.Store(true)
		if err := <-done; err != nil {
			panic(err)
		}
	}
}

// TestCopyWhileItEnds: a copy finds the container running or ended, whenever it
// ends.
func TestCopyWhileItEnds(t *testing.T) {
	w := newWorld(t)
	host := t.TempDir()
	must(t, os.WriteFile(host+"/file", []byte("content"), 0o644))
	for n := range 8 {
		c, _, end := w.startBox(t, 340+n, nil)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			time.Sleep(time.Duration(n) * time.Millisecond)
			end()
		}()
		for after := 0; after < 2; {
			select {
			case <-ended:
				after++
			default:
			}
			if _, err := w.CopyIn(c.Name, host+"/file", "/x", CopyOptions{}); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Stat(w.lasting(c.ID, "upper/x")); err != nil {
			t.Error(err)
		}
	}
}
