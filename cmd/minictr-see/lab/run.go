package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A NotRunningError is that a lab does not run.
type NotRunningError struct{ Name string }

func (e *NotRunningError) Error() string { return "lab " + e.Name + " does not run" }

// Hint says what may help.
func (e *NotRunningError) Hint() string { return "minictr lab start " + e.Name + " starts it" }

// scriptTime bounds a script of an exercise: a learner's own may wait for something that
// never comes.
const scriptTime = 30 * time.Second

// Run runs a shell script in the lab and returns what it has printed.
func (l *Lab) Run(script string) (output string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), scriptTime)
	defer cancel()
	var out strings.Builder
	c := exec.CommandContext(ctx, "/bin/sh", "-eu", "-c", script)
	c.Env = l.Environment([]string{"TERM=dumb"})
	c.Stdout, c.Stderr = &out, &out
	// What the script leaves running may hold its output.
	c.WaitDelay = time.Second
	if err := l.Enter(c); err != nil {
		return "", err
	}
	err = c.Wait()
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("it was not done after %v", scriptTime)
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil
	}
	return out.String(), err
}

// Enter starts a command in the lab's namespaces, from where its path is looked up.
func (l *Lab) Enter(c *exec.Cmd) error {
	holder, err := l.open()
	if err != nil {
		return err
	}
	if holder == nil {
		return &NotRunningError{l.Name}
	}
	defer holder.Close()
	if c.Dir == "" {
		c.Dir = homeDir
	}
	done := make(chan error)
	go func() {
		// The thread is not given back: it is in other namespaces, and dies with this.
		runtime.LockOSThread()
		done <- startIn(holder, c)
	}()
	return <-done
}

func startIn(holder *os.File, c *exec.Cmd) error {
	// setns(2): a mount namespace can be entered by who shares its working directory with nobody.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return step.Fail("enter", "the lab", err)
	}
	all := unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	if err := unix.Setns(int(holder.Fd()), all); err != nil {
		return step.Fail("enter", "the lab", err)
	}
	return c.Start()
}

// Environment is that of a command in the lab: that of the caller, but for what names
// places. minictr is found first, and what minictr/base has last.
func (l *Lab) Environment(caller []string) []string {
	path := binDir
	var kept []string
	for _, variable := range caller {
		switch name, value, _ := strings.Cut(variable, "="); name {
		case "PATH":
			path += ":" + value
		case "HOME", "PWD", "OLDPWD", "MINICTR_LAB", "ENV", "BASH_ENV", "XDG_RUNTIME_DIR":
		default:
			kept = append(kept, variable)
		}
	}
	path += ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" + baseDir
	return append(kept, "PATH="+path, "HOME="+homeDir, "MINICTR_LAB="+l.Name)
}
