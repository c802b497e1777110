package runtime

import (
	"os"
	"path/filepath"

	"github.com/minictr/minictr/runtime/step"
)

// Beside returns the path of another program of minictr, which lies in the same
// directory as this one.
func Beside(name string) (path string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", step.Fail("find", name, err)
	}
	path = filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return "", step.Fail("find", name, &MissingProgramError{Path: path, Err: err})
	}
	return path, nil
}

// MissingProgramError is that a program of minictr is not beside this one.
type MissingProgramError struct {
	Path string
	Err  error
}

func (e *MissingProgramError) Error() string { return "it should be at " + e.Path }

// Unwrap returns the cause.
func (e *MissingProgramError) Unwrap() error { return e.Err }

// monitorBinary returns the program that looks after a detached container, and
// the one that it becomes in the end.
func (l *launch) monitorBinary() (monitor, minictr string, err error) {
	if minictr, err = os.Executable(); err != nil {
		return "", "", step.Fail("find", "minictr", err)
	}
	monitor, err = Beside("minictr-monitor")
	return monitor, minictr, err
}
