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
	"testing"

	"github.com/minictr/minictr/rootfs/volume"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// put writes a file of the world's root file system.
func (w *world) put(t *testing.T, path, content string) {
	t.Helper()
	file := filepath.Join(w.rootfs, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// with adds a volume to the container.
func (c *Config) with(name, destination string, options ...string) *Config {
	c.Mounts = append(c.Mounts, Mount{Type: "volume", Source: name, Destination: destination, Options: options})
	return c
}

// volumes returns the names of the world's volumes, and of what is left of others.
func (w *world) volumes(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(w.Root + "/volumes")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (w *world) output(t *testing.T, c *Config) string {
	t.Helper()
	out, code := w.run(t, c)
	if code != 0 {
		t.Errorf("%v: exit code %d", c.Args, code)
	}
	return out
}

func TestVolumeIsFilledAndKept(t *testing.T) {
	w := newWorld(t)
	w.put(t, "data/file", "from the image")
	if err := errors.Join(os.Chown(w.rootfs+"/data", 7, 8), os.Chmod(w.rootfs+"/data", 0o750)); err != nil {
		t.Fatal(err)
	}
	if got := w.output(t, w.layered("cat", "/data/file").with("kept", "/data").with("", "/anonymous")); got != "from the image" {
		t.Errorf("first use: %q", got)
	}
	if names := w.volumes(t); !slices.Equal(names, []string{"kept"}) {
		t.Errorf("volumes: %q", names)
	}
	data := w.Root + "/volumes/kept/_data"
	var st unix.Stat_t
	if err := unix.Stat(data, &st); err != nil || st.Uid != 7 || st.Gid != 8 || st.Mode&0o7777 != 0o750 {
		t.Errorf("%d:%d %o, %v", st.Uid, st.Gid, st.Mode, err)
	}
	if err := os.WriteFile(data+"/file", []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := w.output(t, w.layered("cat", "/elsewhere/file").with("kept", "/elsewhere", "ro")); got != "changed" {
		t.Errorf("second use: %q", got)
	}
	c := w.layered("cat", "/data/file").with("empty", "/data")
	c.Mounts[0].Volume.NoCopy = true
	if _, code := w.run(t, c); code == 0 {
		t.Error("nocopy: it was filled all the same")
	}
	if err := errors.Join(w.RemoveVolume("kept"), w.RemoveVolume("empty")); err != nil {
		t.Error(err)
	}
}

// A link in the image at the place of a volume leads to another place in the
// image, never to the host's.
func TestVolumeBehindHostileLink(t *testing.T) {
	w := newWorld(t)
	secret := t.TempDir()
	if err := os.WriteFile(secret+"/secret", []byte("the host's"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, link := range []string{secret, strings.Repeat("../", 20) + secret, "/proc/self/root" + secret, "loop3"} {
		if err := os.Symlink(link, fmt.Sprintf("%s/loop%d", w.rootfs, i)); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("volume%d", i)
		c := w.layered("true").with(name, fmt.Sprintf("/loop%d", i))
		out, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		s := Standard{Stdout: out, Stderr: out}
		if p, err := w.Run(c, s, Watch{}); err == nil {
			p.Wait(s)
		} else {
			t.Logf("%s: %v", link, err)
		}
		out.Close()
		if _, err := os.Stat(w.Root + "/volumes/" + name + "/_data/secret"); err == nil {
			t.Errorf("%s: the volume was filled from the host", link)
		}
		if err := ignoreInUse(w.RemoveVolume(name)); err != nil {
			t.Error(err)
		}
	}
	if entries, err := os.ReadDir(secret); err != nil || len(entries) != 1 {
		t.Errorf("the host's directory: %v, %v", entries, err)
	}
}

// A link of the image decides which mounts cover which: none is hidden by one that
// was meant to lie below it, and our own files lie on top.
func TestMountsBehindLinks(t *testing.T) {
	w := newWorld(t)
	w.put(t, "var/keep", "")
	w.put(t, "bound/file", "bound")
	for link, target := range map[string]string{"var/run": "/run", "conf": "etc", "all": "/"} {
		if err := os.Symlink(target, filepath.Join(w.rootfs, link)); err != nil {
			t.Fatal(err)
		}
	}
	c := w.layered("cat", "/run/deep/file", "/etc/hostname")
	c.Hostname = "linked"
	c.Mounts = []Mount{
		{Type: "bind", Source: w.rootfs + "/bound", Destination: "/var/run/deep", Options: []string{"rbind"}},
		{Type: "tmpfs", Source: "tmpfs", Destination: "/run"},
		{Type: "tmpfs", Source: "tmpfs", Destination: "/conf"},
	}
	if got := w.output(t, c); got != "boundlinked\n" {
		t.Errorf("%q", got)
	}
	for _, place := range []string{"/all", "/all/proc", "/var/../all/.."} {
		c := w.layered("true").with("", place)
		if err := w.tryToRun(t, c, hooks{}); err == nil || !strings.Contains(err.Error(), "cannot be another mount") {
			t.Errorf("%s: %v", place, err)
		}
	}
}

// Anonymous volumes go with the container when that is asked, names stay, and
// another container keeps what it uses.
func TestVolumesOfARemovedContainer(t *testing.T) {
	w := newWorld(t)
	start := func(c *Config, name string) *Config {
		c.Name, c.Remove, c.Detach = name, false, true
		if _, err := w.Run(c, Standard{}, Watch{}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	one := start(w.layered("sleep").with("", "/a").with("named", "/b"), "one")
	anonymous := one.Mounts[0].Source
	start(w.layered("sleep").with(anonymous, "/shared"), "two")
	var used *volume.InUseError
	if err := w.RemoveVolume(anonymous); !errors.As(err, &used) || !slices.Equal(slices.Sorted(slices.Values(used.Containers)), []string{"one", "two"}) {
		t.Errorf("remove a used one: %v", err)
	}
	if err := w.Remove("one", RemoveOptions{Force: true, Volumes: true}); err != nil {
		t.Fatal(err)
	}
	if names := w.volumes(t); len(names) != 2 || !slices.Contains(names, anonymous) {
		t.Errorf("another container uses it: %q", names)
	}
	three := start(w.layered("sleep").with("", "/a"), "three")
	if err := errors.Join(w.Remove("two", RemoveOptions{Force: true}), w.Remove("three", RemoveOptions{Force: true})); err != nil {
		t.Fatal(err)
	}
	if names := w.volumes(t); len(names) != 3 {
		t.Errorf("without -v they stay: %q", names)
	}
	for _, name := range []string{anonymous, "named", three.Mounts[0].Source} {
		if err := w.RemoveVolume(name); err != nil {
			t.Error(err)
		}
	}
}

func TestVolumeIsFoundAgain(t *testing.T) {
	w := newWorld(t)
	c := w.layered("sleep").with("", "/a")
	c.Name, c.Remove, c.Detach = "again", false, true
	if _, err := w.Run(c, Standard{}, Watch{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.Root+"/volumes/"+c.Mounts[0].Source+"/_data/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		running, err := w.Container("again")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/a/file", running.Pid())); err != nil {
			t.Error(err)
		}
		if err := errors.Join(w.Stop(running, 0), w.Start("again", Watch{})); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Remove("again", RemoveOptions{Force: true, Volumes: true}); err != nil {
		t.Error(err)
	}
	if names := w.volumes(t); len(names) > 0 {
		t.Errorf("left behind: %q", names)
	}
}

// A volume in memory is shared while a container runs, and ends with the last,
// also when that was killed.
func TestVolumeInMemory(t *testing.T) {
	w := newWorld(t)
	if _, err := w.CreateVolume(volume.Volume{Name: "memory", Options: map[string]string{"type": "tmpfs"}}); err != nil {
		t.Fatal(err)
	}
	mounted := func() bool {
		b, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(b), w.Root+"/volumes/memory/_data")
	}
	for _, name := range []string{"one", "two"} {
		c := w.layered("sleep").with("memory", "/m")
		c.Name, c.Detach = name, true
		if _, err := w.Run(c, Standard{}, Watch{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(w.Root+"/volumes/memory/_data/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"one", "two"} {
		if !mounted() {
			t.Errorf("before %s ends: it is not mounted", name)
		}
		c, err := w.Container(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/m/file", c.Pid())); err != nil {
			t.Error(err)
		}
		if i == 1 {
			err = errors.Join(w.Signal(c, unix.SIGKILL), w.await(c.Config.ID))
		} else {
			err = w.Remove(name, RemoveOptions{Force: true})
		}
		if err != nil {
			t.Error(err)
		}
	}
	if mounted() {
		t.Error("it is mounted without a container")
	}
	if err := w.RemoveVolume("memory"); err != nil {
		t.Error(err)
	}
}

// What a launch has made is taken back with it, and what another container has
// begun to use stays.
func TestVolumesOfAFailedLaunch(t *testing.T) {
	w := newWorld(t)
	w.put(t, "data/file", "x")
	err := w.tryToRun(t, w.layered("missing").with("new", "/data").with("", "/other"), hooks{})
	var command *CommandError
	if !errors.As(err, &command) {
		t.Errorf("%v", err)
	}
	if names := w.volumes(t); len(names) > 0 {
		t.Errorf("left behind: %q", names)
	}
}

func TestUserNamespaceVolume(t *testing.T) {
	w := newWorld(t)
	if err := os.Chmod(filepath.Dir(filepath.Dir(w.Root)), 0o755); err != nil { // the container's root passes through
		t.Fatal(err)
	}
	w.put(t, "data/file", "from the image")
	if err := os.Chown(w.rootfs+"/data/file", 5, 6); err != nil {
		t.Fatal(err)
	}
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	c := w.config("cat", "/data/file").with("mapped", "/data")
	c.UIDMappings, c.GIDMappings = ids, ids
	if got := w.output(t, c); got != "from the image" {
		t.Errorf("%q", got)
	}
	var st unix.Stat_t
	if err := unix.Stat(w.Root+"/volumes/mapped/_data/file", &st); err != nil || st.Uid != 5 || st.Gid != 6 {
		t.Errorf("on the disk it belongs to %d:%d: %v", st.Uid, st.Gid, err)
	}
	if err := w.RemoveVolume("mapped"); err != nil {
		t.Error(err)
	}
}

// detached makes a tree of two mounts: a tmpfs with a file, and one below.
func detached(t *testing.T, o mountOptions) (fd int) {
	t.Helper()
	source := t.TempDir()
	for _, dir := range []string{source, source + "/below"} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), unix.Mount("tmpfs", dir, "tmpfs", 0, ""), os.MkdirAll(dir+"/below", 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(source, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, o.cloneFlags())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// attributesAt is what statvfs says of a path on a detached mount.
func attributesAt(t *testing.T, fd int, path string) string {
	t.Helper()
	at, err := unix.Openat(fd, path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(at)
	var st unix.Statfs_t
	if err := unix.Fstatfs(at, &st); err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, flag := range []struct {
		bit  int64
		name string
	}{{unix.ST_RDONLY, "ro"}, {unix.ST_NOSUID, "nosuid"}, {unix.ST_NODEV, "nodev"}, {unix.ST_NOEXEC, "noexec"}} {
		if st.Flags&flag.bit != 0 {
			words = append(words, flag.name)
		}
	}
	return strings.Join(words, ",")
}

// Which mounts of a bound tree an option reaches.
func TestOptionsOfATree(t *testing.T) {
	newWorld(t)
	for options, want := range map[string][2]string{
		"rbind":                           {"", ""},
		"rbind,ro":                        {"ro", "ro"},
		"rbind,rro":                       {"ro", "ro"},
		"rbind,ro,writable-below":         {"ro", ""},
		"rbind,nosuid,noexec":             {"nosuid,noexec", "nosuid,noexec"},
		"rbind,ro,rslave":                 {"ro", "ro"},
		"rbind,ro,slave,nodev":            {"ro,nodev", "ro,nodev"},
		"rbind,ro,rw":                     {"", ""},
		"bind,ro":                         {"ro", "ro"}, // nothing is mounted below: it is the directory of the same tmpfs
		"rbind,shared,noexec":             {"noexec", "noexec"},
		"rbind,writable-below,ro,rshared": {"ro", ""},
	} {
		o := parseMountOptions(strings.Split(options, ","))
		fd := detached(t, o)
		if err := o.setOn(fd); err != nil {
			t.Errorf("%s: %v", options, err)
			continue
		}
		if got := [2]string{attributesAt(t, fd, "."), attributesAt(t, fd, "below")}; got != want {
			t.Errorf("%s: %q, want %q", options, got, want)
		}
	}
}

// Mounts pass between the host and a container as was asked, and not otherwise.
func TestPropagation(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		option           string
		in, out, outDeep bool // whether the host's mounts get in, the container's out, and from below
	}{
		{"rprivate", false, false, false},
		{"rslave", true, false, false},
		{"slave", true, false, false},
		{"rshared", true, true, true},
		{"shared", true, true, false},
	} {
		t.Run(c.option, func(t *testing.T) {
			source := t.TempDir()
			for _, dir := range []string{source, source + "/deep"} {
				if err := errors.Join(os.MkdirAll(dir, 0o755), unix.Mount("tmpfs", dir, "tmpfs", 0, ""), unix.Mount("", dir, "", unix.MS_SHARED, "")); err != nil {
					t.Fatal(err)
				}
			}
			defer unix.Unmount(source, unix.MNT_DETACH)
			for _, name := range []string{"host", "container", "deep/container"} {
				if err := os.MkdirAll(source+"/"+name, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			config := w.layered("sleep")
			config.Name, config.Detach = "propagates", true
			config.Mounts = []Mount{{Type: "bind", Source: source, Destination: "/mnt", Options: []string{"rbind", c.option}}}
			if _, err := w.Run(config, Standard{}, Watch{}); err != nil {
				t.Fatal(err)
			}
			defer w.Remove("propagates", RemoveOptions{Force: true})
			running, err := w.Container("propagates")
			if err != nil {
				t.Fatal(err)
			}
			root := fmt.Sprintf("/proc/%d/root/mnt/", running.Pid())
			if err := unix.Mount("tmpfs", source+"/host", "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
			inContainer(t, running.Pid(), func() error {
				return errors.Join(unix.Mount("tmpfs", "/mnt/container", "tmpfs", 0, ""), unix.Mount("tmpfs", "/mnt/deep/container", "tmpfs", 0, ""))
			})
			for path, want := range map[string]bool{root + "host": c.in, source + "/container": c.out, source + "/deep/container": c.outDeep} {
				if got := mountedAt(t, path); got != want {
					t.Errorf("a mount at %s: %v, want %v", strings.TrimPrefix(path, source), got, want)
				}
			}
		})
	}
}

// inContainer calls f in the mount namespace of a process, on a thread that is
// then thrown away.
func inContainer(t *testing.T, pid int, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		stdruntime.LockOSThread()
		done <- func() error {
			ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := errors.Join(unix.Unshare(unix.CLONE_FS), unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS)); err != nil {
				return err
			}
			return f()
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// mountedAt reports whether the path is the root of a mount.
func mountedAt(t *testing.T, path string) bool {
	t.Helper()
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_TYPE, &st); err != nil {
		t.Fatal(err)
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// What cannot pass mounts is said, and how it could.
func TestNotShared(t *testing.T) {
	w := newWorld(t)
	source := t.TempDir()
	if err := errors.Join(unix.Mount("tmpfs", source, "tmpfs", 0, ""), unix.Mount("", source, "", unix.MS_PRIVATE, ""), os.Mkdir(source+"/dir", 0o755)); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(source, unix.MNT_DETACH)
	for option, want := range map[string]string{
		"rshared": "propagation shared: " + source + "/dir lies on the mount " + source + ", which is not a shared mount",
		"rslave":  "propagation slave: " + source + "/dir lies on the mount " + source + ", which is not a shared or slave mount",
	} {
		c := w.layered("true")
		c.Mounts = []Mount{{Type: "bind", Source: source + "/dir", Destination: "/mnt", Options: []string{"rbind", option}}}
		err := w.tryToRun(t, c, hooks{})
		var not *NotSharedError
		if !errors.As(err, &not) || not.Error() != want || !strings.Contains(not.Hint(), "mount --make-shared "+source) {
			t.Errorf("%s: %v", option, err)
		}
	}
}

// The disk's ids appear as others, and what is written gets the disk's.
func TestMappedMount(t *testing.T) {
	w := newWorld(t)
	source := t.TempDir()
	for name, uid := range map[string]int{"root": 0, "user": 7} {
		if err := errors.Join(os.WriteFile(source+"/"+name, nil, 0o600), os.Chown(source+"/"+name, uid, uid)); err != nil {
			t.Fatal(err)
		}
	}
	container := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	for _, c := range []struct {
		text       string
		userns     bool
		root, user uint32 // who own the files
		wrong      string
	}{
		{text: "uids=0-1000-10;gids=0-1000-10", root: 1000, user: 1007},
		{text: "uids=7-0-1#0-7-1", root: 7, user: 0},
		{text: "", userns: true, root: 100000, user: 100007},
		{text: "uids=@0-3-10", userns: true, root: 100003, user: 100010},
		{text: "", wrong: "no user namespace"},
	} {
		l := &launch{Runtime: w.Runtime, config: &Config{Name: "mapped"}}
		if c.userns {
			l.config.UIDMappings, l.config.GIDMappings = container, container
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		err = l.mapMount(fd, c.text)
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%q: %v", c.text, err)
		}
		for name, want := range map[string]uint32{"root": c.root, "user": c.user} {
			var st unix.Stat_t
			if err := unix.Fstatat(fd, name, &st, 0); err != nil || c.wrong == "" && st.Uid != want {
				t.Errorf("%q: %s belongs to %d, want %d: %v", c.text, name, st.Uid, want, err)
			}
		}
		unix.Close(fd)
		l.close()
	}
}

// A file system that cannot map ids is named.
func TestMappedMountUnsupported(t *testing.T) {
	w := newWorld(t)
	source := t.TempDir()
	if err := unix.Mount("ramfs", source, "ramfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(source, unix.MNT_DETACH)
	c := w.layered("true")
	c.Mounts = []Mount{{Type: "bind", Source: source, Destination: "/mnt", Options: []string{"rbind", "idmap=uids=0-1-1;gids=0-1-1"}}}
	if err := w.tryToRun(t, c, hooks{}); err == nil || !strings.Contains(err.Error(), "the file system ramfs cannot map ids") {
		t.Errorf("%v", err)
	}
}

func TestParseMountIDs(t *testing.T) {
	for text, good := range map[string]bool{
		"uids=0-1-1": true, "uids=0-1-1;gids=0-1-1": true, "gids=0-1000-1#1-2000-5": true, "uids=@0-1-1": true,
		"": false, "uids": false, "uids=": false, "uids=0-1": false, "uids=0-1-0": false, "uids=0:1:1": false, "pids=0-1-1": false,
		"uids=0-1-1;uids=0-1-1": false, "uids=0--1-1": false, "uids=0-1-1#": false, "uids=4294967295-0-1": false,
	} {
		if _, err := ParseMountIDs(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestParseMountinfo(t *testing.T) {
	list, err := parseMountinfo("21 1 8:1 / / rw shared:1 - ext4 /dev/sda rw\n" +
		"36 35 98:0 /mnt1 /with\\040blank rw,noatime master:1 propagate_from:2 - tmpfs - rw\n" +
		"37 35 98:0 / /x rw - proc proc rw\n")
	want := []mountLine{{21, "/", "ext4", true, false}, {36, "/with blank", "tmpfs", false, true}, {37, "/x", "proc", false, false}}
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("%+v, %v", list, err)
	}
	for _, text := range []string{"x\n", "a b c d e f - g\n", "21 1 8:1 / / rw\n"} {
		if _, err := parseMountinfo(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
