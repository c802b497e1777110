package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
)

// InUseError is a volume that is not removed because containers use it.
type InUseError struct {
	Name       string
	Containers []string // their names; none when they are only being started
}

func (e *InUseError) Error() string {
	who := "a container that is being started uses it"
	if len(e.Containers) > 0 {
		who = "in use by container " + strings.Join(e.Containers, ", ")
	}
	return "remove volume " + e.Name + ": " + who
}

// Unwrap makes the error one of EBUSY.
func (*InUseError) Unwrap() error { return unix.EBUSY }

// Users tells the names of the containers that use a volume, running or not.
type Users func(name string) ([]string, error)

// Remove removes a volume with what is in it. It fails with a *NotFoundError, or
// with an *InUseError, and then nothing is changed.
func (s *Store) Remove(name string, users Users) error {
	if ValidateName(name) != nil {
		return &NotFoundError{name}
	}
	held, err := lockDirectory(s.path(name), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, fs.ErrNotExist) {
		return &NotFoundError{name}
	}
	busy := errors.Is(err, unix.EWOULDBLOCK)
	if err != nil && !busy {
		return step.Fail("remove volume", name, bare(err))
	}
	if held != nil {
		defer held.Close()
	}
	names, err := users(name)
	if err != nil {
		return step.Fail("remove volume", name, err)
	}
	if busy || len(names) > 0 {
		return &InUseError{name, names}
	}
	return step.Fail("remove volume", name, s.remove(name, held))
}

// remove takes the name away first: from then on there is no volume, however much
// of it is left. The caller holds the lock.
func (s *Store) remove(name string, held *os.File) error {
	if err := unmount(held); err != nil {
		return err
	}
	if err := nothingMounted(s.path(name)); err != nil {
		return err
	}
	gone := s.path(fmt.Sprintf("%s%d-%d", removed, os.Getpid(), time.Now().UnixNano()))
	if err := os.Rename(s.path(name), gone); err != nil {
		return bare(err)
	}
	return bare(rootfs.RemoveAll(gone))
}

// unmount takes the tmpfs from _data, where there is one.
func unmount(dir *os.File) error {
	fd, err := unix.Openat(int(dir.Fd()), dataName, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	mounted, err := isMount(fd)
	unix.Close(fd) // it would keep the mount busy
	if err != nil || !mounted {
		return err
	}
	path := filepath.Join(descriptorPath(int(dir.Fd())), dataName)
	return step.Fail("unmount", filepath.Join(dir.Name(), dataName), unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
}

// nothingMounted fails when something is mounted below the directory: its files
// are not the volume's, and must not go with it.
func nothingMounted(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 4 && strings.HasPrefix(unescape(f[4]), dir+"/") {
			return step.Fail("look at", unescape(f[4]), errors.New("something is mounted there, unmount it first"))
		}
	}
	return nil
}

// unescape undoes what proc_pid_mountinfo(5) does to blanks in a path.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// Retire ends the tmpfs of a volume when no container runs that uses it. Who is
// about to use it is waited for.
func (s *Store) Retire(name string, runs func() (bool, error)) error {
	held, err := lockDirectory(s.path(name), unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return step.Fail("unmount volume", name, bare(err))
	}
	defer held.Close()
	used, err := runs()
	if err != nil || used {
		return err
	}
	return step.Fail("unmount volume", name, unmount(held))
}

// Heal removes what killed processes have left of volumes that were being made,
// removed or filled. On the device of a volume that has one, the next use does it.
func (s *Store) Heal() error {
	names, err := s.names()
	errs := []error{err}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			errs = append(errs, s.healUnnamed(name))
			continue
		}
		for _, left := range []string{fillName, filledName} {
			if _, err := os.Lstat(filepath.Join(s.path(name), left)); err == nil {
				errs = append(errs, s.healFilling(name))
				break
			}
		}
	}
	return errors.Join(errs...)
}

func (s *Store) healUnnamed(name string) error {
	held, err := lockDirectory(s.path(name), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		return nil // in use, or gone by now
	}
	defer held.Close()
	if err := nothingMounted(s.path(name)); err != nil {
		return err
	}
	return rootfs.RemoveAll(s.path(name))
}

// healFilling carries on with a first use, unless its process lives.
func (s *Store) healFilling(name string) error {
	h, err := s.Hold(name)
	if err != nil {
		return nil // gone by now; one that cannot be read, List tells of
	}
	defer h.Release()
	if err := flock(h.file, unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	data, err := h.openData()
	if err != nil {
		return step.Fail("heal volume", name, err)
	}
	defer unix.Close(data)
	return step.Fail("heal volume", name, h.filling(data).carryOn())
}

// Size is how many bytes of disk the volume takes.
func (s *Store) Size(v *Volume) (bytes int64, err error) {
	if v.kind() == bind {
		return 0, nil // they are not the volume's, and do not go with it
	}
	return rootfs.DiskUsage(s.Mountpoint(v))
}
