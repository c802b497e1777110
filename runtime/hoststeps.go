package runtime

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/step"
	"golang.org/x/sys/unix"
)

// makeDirectory is a directory of a container's own; its Undo removes it with
// what is in it.
type makeDirectory struct {
	path string
	mode os.FileMode
	what string // "the container's own layer"
}

func (s *makeDirectory) Apply() error {
	err := os.Mkdir(s.path, s.mode)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(parent(s.path), 0o700); err != nil {
			return err
		}
		err = os.Mkdir(s.path, s.mode)
	}
	return err
}

func (s *makeDirectory) Undo() error { return rootfs.RemoveAll(s.path) }

func (s *makeDirectory) Check() error {
	_, err := os.Stat(s.path)
	return err
}

func (s *makeDirectory) Words() string { return "make the directory for " + s.what }

func (s *makeDirectory) String() string { return "mkdir -p -m 700 " + s.path }

// makeContainer is the directory of a new container. It gets its name when its
// lock is held: to anybody else a container that nobody looks after is one to
// clean up.
type makeContainer struct {
	launch *launch
	path   string
}

func (s *makeContainer) Apply() error {
	fresh := filepath.Join(parent(s.path), unnamed+filepath.Base(s.path))
	if err := (&makeDirectory{path: fresh, mode: 0o700}).Apply(); err != nil {
		return err
	}
	lock, err := openLock(fresh)
	if err != nil {
		return err
	}
	s.launch.lock = lock
	if err := unix.Flock(lock.fd, unix.LOCK_EX); err != nil {
		return step.Fail("lock", fresh, err)
	}
	return os.Rename(fresh, s.path)
}

func (s *makeContainer) Undo() error { return rootfs.RemoveAll(s.path) }

func (s *makeContainer) Check() error {
	_, err := os.Stat(s.path)
	return err
}

func (s *makeContainer) Words() string {
	return "make the directory for what outlives the container's process"
}

func (s *makeContainer) String() string { return "mkdir -p -m 700 " + s.path }

// unnamed begins the names of directories of containers that nobody knows yet.
const unnamed = ".new-"

// makeSource is a directory of the host that -v names and that was not there. Its
// Undo removes it only while it is empty: what is in it is the user's.
type makeSource struct{ path string }

func (s *makeSource) Apply() error { return step.Fail("make", s.path, os.MkdirAll(s.path, 0o755)) }

func (s *makeSource) Undo() error {
	err := os.Remove(s.path)
	if errors.Is(err, unix.ENOTEMPTY) {
		return nil
	}
	return ignoreMissing(err)
}

func (s *makeSource) Check() error {
	_, err := os.Stat(s.path)
	return err
}

func (s *makeSource) Words() string { return "make the missing directory " + s.path }

func (s *makeSource) String() string { return "mkdir -p " + step.Quote(s.path) }

// writeFile is a new file: a value as JSON, or a text.
type writeFile struct {
	path  string
	value any
	mode  os.FileMode // 0 means 0600
	whole bool        // under another name first: nobody ever sees half of it
	words string
}

func (s *writeFile) content() ([]byte, error) {
	if text, ok := s.value.(string); ok {
		return []byte(text), nil
	}
	return json.Marshal(s.value)
}

func (s *writeFile) Apply() error {
	b, err := s.content()
	if err != nil {
		return step.Fail("write", s.path, err)
	}
	mode := s.mode
	if mode == 0 {
		mode = 0o600
	}
	if !s.whole {
		return os.WriteFile(s.path, b, mode)
	}
	if err := os.WriteFile(s.path+".new", b, mode); err != nil {
		return err
	}
	return os.Rename(s.path+".new", s.path)
}

func (s *writeFile) Undo() error { return ignoreMissing(os.Remove(s.path)) }

func (s *writeFile) Check() error {
	_, err := os.Stat(s.path)
	return err
}

func (s *writeFile) Words() string { return s.words }

func (s *writeFile) String() string { return "cat > " + s.path }

// reserveName makes a name the container's.
type reserveName struct {
	runtime  *Runtime
	name, id string
}

func (s *reserveName) Apply() error { return s.runtime.takeName(s.name, s.id) }
func (s *reserveName) Undo() error  { return s.runtime.freeName(s.name, s.id) }

func (s *reserveName) Check() error {
	_, err := s.runtime.resolve(s.name)
	return err
}

func (s *reserveName) Words() string { return "give it the name " + s.name }

func (s *reserveName) String() string {
	return "ln -s " + s.id + " " + s.runtime.Root + "/names/" + s.name
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
