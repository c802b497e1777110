package rootfs

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// An Overlay is a stack of layer directories, below one that takes the changes.
//
// The features of overlay are set, not left to the kernel's configuration:
//
//	index=off              a directory may serve two mounts, as Docker has it; hard
//	                       links of lower files break on the first write
//	metacopy=off           what is written is whole in Upper, so that Upper is a layer
//	redirect_dir=nofollow  no attribute in a layer names another directory; a rename
//	                       of a lower directory gives EXDEV, and mv copies
//
// userxattr is not set: minictr mounts as root and reads trusted.overlay.*,
// which a container cannot write.
type Overlay struct {
	Lower []string // layer directories, absolute, topmost first
	Upper string   // takes the changes; "" for a root that cannot be written
	Work  string   // overlay's own directory, empty, on the mount of Upper
	// ReadOnly makes the mount read-only; Upper may still be given, and a
	// mount_setattr(2) makes the mount writable for a while or for good.
	ReadOnly bool
	// Volatile leaves out every sync (Linux 5.10). Such an Upper cannot be
	// mounted a second time: for containers that are removed when they end.
	Volatile bool
}

// MountOverlay mounts the stack and returns a descriptor of the detached mount
// (O_PATH, close-on-exec): it is in no mount table, its propagation is private,
// and the kernel drops it with the last descriptor unless move_mount(2) attached
// it. One lower directory without Upper is a read-only clone of that directory.
//
// Three ways are tried, the newest first. Linux 6.5 takes one lower directory at
// a time. Older ones take all in one string of 255 bytes. Beyond that only
// mount(2) is left, with 4095 bytes for all options: it is called in a mount
// namespace that ends with the call, from the directory of the layers.
func MountOverlay(o Overlay) (fd int, err error) {
	object := o.Upper
	if object == "" && len(o.Lower) > 0 {
		object = o.Lower[0]
	}
	if len(o.Lower) == 0 {
		return -1, step.Fail("mount overlay", object, errors.New("no layers"))
	}
	if o.Upper == "" && len(o.Lower) == 1 {
		return bindDirectory(o.Lower[0], unix.MOUNT_ATTR_RDONLY)
	}
	o.ReadOnly = o.ReadOnly || o.Upper == ""
	var first error
	for _, mount := range []func(Overlay) (int, error){mountByLayer, mountByString, mountOldWay} {
		fd, err = mount(o)
		if err == nil {
			return fd, nil
		}
		if first == nil {
			first = err
		}
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
			first = err // not a matter of the way
			break
		}
	}
	return -1, step.Fail("mount overlay", object, explainOverlay(o, first))
}

// BindDirectory returns a descriptor of a detached mount of the directory and
// all that is mounted below it, for run --rootfs: changes go to the directory
// itself. Its propagation is private.
func BindDirectory(dir string) (fd int, err error) { return bindDirectory(dir, 0) }

func bindDirectory(dir string, attributes uint64) (int, error) {
	fd, err := cloneDirectory(dir, attributes)
	return fd, step.Fail("bind", dir, err)
}

func cloneDirectory(dir string, attributes uint64) (int, error) {
	held, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(held)
	fd, err := unix.OpenTree(held, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, err
	}
	// Linux 5.12. A clone of a shared mount is shared: what is mounted in the
	// container would show on the host.
	attr := unix.MountAttr{Attr_set: attributes, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// An option is one parameter of the file system; without a value it is a flag.
type option struct{ key, value string }

// features are set in every mount; see Overlay.
func (o Overlay) features() []option {
	options := []option{{"index", "off"}, {"metacopy", "off"}, {"redirect_dir", "nofollow"}}
	if o.Volatile && o.Upper != "" {
		options = append(options, option{"volatile", ""})
	}
	return options
}

func mountByLayer(o Overlay) (int, error) {
	names, done, err := shortNames(append([]string{o.Upper, o.Work}, o.Lower...))
	if err != nil {
		return -1, err
	}
	defer done()
	options := o.features()
	for _, lower := range names[2:] {
		options = append(options, option{"lowerdir+", lower})
	}
	return newMount(o.upperOptions(options, names[0], names[1]), o.attributes())
}

func mountByString(o Overlay) (int, error) {
	names, done, err := shortNames(append([]string{o.Upper, o.Work}, o.Lower...))
	if err != nil {
		return -1, err
	}
	defer done()
	lower := strings.Join(names[2:], ":")
	if len(lower) > maxOptionBytes {
		return -1, unix.EINVAL
	}
	return newMount(o.upperOptions(append(o.features(), option{"lowerdir", lower}), names[0], names[1]), o.attributes())
}

func (o Overlay) upperOptions(options []option, upper, work string) []option {
	if o.Upper == "" {
		return options
	}
	return append(options, option{"upperdir", upper}, option{"workdir", work})
}

func (o Overlay) attributes() int {
	if o.ReadOnly {
		return unix.MOUNT_ATTR_RDONLY
	}
	return 0
}

// maxOptionBytes is what FSCONFIG_SET_STRING takes (fsconfig(2): 256 with the
// final zero).
const maxOptionBytes = 255

// shortNames makes paths fit for options. One that is too long, or has a
// character that overlay gives a meaning to, is held open until done is called
// and named by its descriptor.
func shortNames(dirs []string) (names []string, done func(), err error) {
	var held []int
	done = func() {
		for _, fd := range held {
			_ = unix.Close(fd) // a path descriptor has nothing to lose
		}
	}
	for _, dir := range dirs {
		if len(dir) > maxOptionBytes || strings.ContainsAny(dir, `\,:`) {
			fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				done()
				return nil, nil, fmt.Errorf("%s: %w", dir, err)
			}
			held = append(held, fd)
			dir = descriptorPath(fd)
		}
		names = append(names, dir)
	}
	return names, done, nil
}

// newMount makes a detached overlay by the calls of Linux 5.2.
func newMount(options []option, attributes int) (int, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if errors.Is(err, unix.ENODEV) {
		return -1, fmt.Errorf("the kernel has no overlay file system (modprobe overlay): %w", err)
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	for _, o := range options {
		if o.value == "" {
			err = unix.FsconfigSetFlag(fs, o.key)
		} else {
			err = unix.FsconfigSetString(fs, o.key, o.value)
		}
		if err != nil {
			return -1, kernelWords(fs, fmt.Errorf("%s=%s: %w", o.key, o.value, err))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, kernelWords(fs, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return -1, kernelWords(fs, err)
	}
	return fd, nil
}

// kernelWords adds what the kernel wrote about the failure into the context:
// lines such as "e overlay: …" for an error, w and i for lesser things
// (fsopen(2), "the message retrieval interface").
func kernelWords(fs int, err error) error {
	var words []string
	buf := make([]byte, 4096)
	for {
		n, readErr := unix.Read(fs, buf)
		if readErr != nil || n <= 0 { // ENODATA: no more
			break
		}
		if text, isError := strings.CutPrefix(strings.TrimSpace(string(buf[:n])), "e "); isError {
			words = append(words, strings.TrimPrefix(text, "overlay: "))
		}
	}
	if len(words) == 0 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.Join(words, "; "))
}

// mountOldWay uses mount(2), on a thread that has a mount namespace of its own
// and is thrown away, so that the attached mount is never seen; a clone lives on.
func mountOldWay(o Overlay) (fd int, err error) {
	onThrowawayThread(func() { fd, err = mountAndClone(o) })
	return fd, err
}

// onThrowawayThread calls f on a thread that ends afterwards. The main thread
// cannot end, and /proc/self would show what f did to it: a goroutine that was
// put there keeps it busy while another does the work.
func onThrowawayThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			onThrowawayThread(f)
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	<-done
}

func mountAndClone(o Overlay) (int, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return -1, err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return -1, err
	}
	base, names := relativeTo(o.Lower)
	if err := unix.Chdir(base); err != nil {
		return -1, err
	}
	held, done, err := shortNames([]string{o.Upper, o.Work})
	if err != nil {
		return -1, err
	}
	defer done()
	for i, name := range names {
		names[i] = escapeOption(name)
	}
	var data []string
	for _, p := range o.upperOptions(append(o.features(), option{"lowerdir", strings.Join(names, ":")}), held[0], held[1]) {
		data = append(data, strings.TrimSuffix(p.key+"="+p.value, "="))
	}
	if err := unix.Mount("overlay", o.Lower[0], "overlay", 0, strings.Join(data, ",")); err != nil {
		return -1, err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, o.Lower[0], unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil || !o.ReadOnly {
		return fd, err
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// relativeTo returns the directory that all dirs lie in, and their names from
// there; "/" if they have none in common.
func relativeTo(dirs []string) (base string, names []string) {
	base = dirs[0][:strings.LastIndexByte(dirs[0], '/')+1]
	for _, dir := range dirs {
		for !strings.HasPrefix(dir, base) {
			base = base[:strings.LastIndexByte(strings.TrimSuffix(base, "/"), '/')+1]
		}
	}
	for _, dir := range dirs {
		names = append(names, dir[len(base):])
	}
	return base, names
}

// escapeOption protects what mount(2)'s option string and lowerdir divide at.
func escapeOption(name string) string {
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`).Replace(name)
}

// noUpper are the file systems that cannot hold an upper directory, by the
// magic number of statfs(2).
var noUpper = []struct {
	magic int64
	name  string
}{
	{unix.OVERLAYFS_SUPER_MAGIC, "overlay"},
	{unix.NFS_SUPER_MAGIC, "nfs"},
	{unix.FUSE_SUPER_MAGIC, "fuse"},
	{unix.V9FS_MAGIC, "9p"},
	{unix.MSDOS_SUPER_MAGIC, "vfat"},
	{0x2011BAB0, "exfat"}, // EXFAT_SUPER_MAGIC
}

// explainOverlay replaces an errno that says nothing, or the wrong thing, by
// what is the matter. The errno stays underneath.
func explainOverlay(o Overlay, err error) error {
	for _, dir := range append([]string{o.Upper, o.Work}, o.Lower...) {
		var st unix.Stat_t
		if dir == "" {
			continue
		}
		if statErr := unix.Stat(dir, &st); statErr != nil {
			return fmt.Errorf("%s: %w", dir, statErr)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return fmt.Errorf("%s: %w", dir, unix.ENOTDIR)
		}
	}
	var fs unix.Statfs_t
	if o.Upper != "" && unix.Statfs(o.Upper, &fs) == nil && errors.Is(err, unix.EINVAL) {
		for _, bad := range noUpper {
			if bad.magic == fs.Type {
				return fmt.Errorf("upper directory is on %s, which cannot hold one; choose a --root elsewhere: %w", bad.name, err)
			}
		}
	}
	for errno, words := range map[unix.Errno]string{
		unix.ELOOP:  "layers, upper and work directory lie inside each other, or a layer is given twice",
		unix.EBUSY:  "upper or work directory belongs to another mount",
		unix.ESTALE: "upper directory was mounted over other layers",
	} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%s: %w", words, err)
		}
	}
	return err
}
