package rootfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// AddDirectory is the step that makes a directory of the host, in a parent that
// exists. Undo removes it with everything in it.
type AddDirectory struct {
	Path string      // absolute
	Mode os.FileMode // permission bits, not lessened by the umask
	For  string      // what it is for, in words: "the changes of the container"
}

// WritableLayer returns the steps that make a container's own layer in dir, and
// the two directories for an Overlay. The mode of upper is that of the root
// directory which the container sees.
func WritableLayer(dir string) (upper, work string, steps []step.Step) {
	upper, work = dir+"/upper", dir+"/work"
	return upper, work, []step.Step{
		AddDirectory{Path: upper, Mode: 0o755, For: "the changes of the container"},
		AddDirectory{Path: work, Mode: 0o700, For: "overlay's own use"},
	}
}

// Apply makes the directory; one that exists is an error (EEXIST).
func (d AddDirectory) Apply() error {
	err := unix.Mkdir(d.Path, 0o700)
	if err == nil {
		err = unix.Chmod(d.Path, uint32(d.Mode.Perm()))
	}
	return step.Fail("make directory", d.Path, err)
}

// Undo removes the directory and its content. It follows no symbolic link.
func (d AddDirectory) Undo() error {
	return step.Fail("remove directory", d.Path, bare(RemoveAll(d.Path)))
}

// Check reports whether the directory is there with its mode.
func (d AddDirectory) Check() error {
	st, err := os.Lstat(d.Path)
	if err == nil && st.Mode() != os.ModeDir|d.Mode.Perm() {
		err = fmt.Errorf("mode is %v, not %v", st.Mode(), os.ModeDir|d.Mode.Perm())
	}
	return step.Fail("check directory", d.Path, bare(err))
}

// Words says what the directory is for.
func (d AddDirectory) Words() string { return "make a directory for " + d.For }

// String is the command that does the same.
func (d AddDirectory) String() string {
	return fmt.Sprintf("mkdir -m %04o %s", d.Mode.Perm(), step.Quote(d.Path))
}

// bare takes the operation and path out of an error of package os; the caller
// names both in its own words.
func bare(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}
