package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"os/signal"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// commitFlags are the flags of commit. What is about the image is handed on to
// minictr-image.
type commitFlags struct {
	author, message string
	changes         []string
	pause           bool
}

func commitCommand(a *app) *cobra.Command {
	var f commitFlags
	c := &cobra.Command{
		Use: "commit [FLAGS] CONTAINER [IMAGE]", Args: cobra.RangeArgs(1, 2),
		Long: "Commit makes an image of a container: its image with what is different in the container as a layer upon it.\n" +
			"It prints the id. The configuration is that of the image, with the changes of --change; volumes do not belong to it.",
		RunE: func(_ *cobra.Command, args []string) error { return a.commit(args, f) },
	}
	s := c.Flags()
	s.StringVarP(&f.author, "author", "a", "", "who made the image: \"Ada <ada@example.org>\"")
	s.StringVarP(&f.message, "message", "m", "", "text for the image's history")
	s.StringArrayVarP(&f.changes, "change", "c", nil, "instruction for the image's configuration, as in a Dockerfile: CMD, ENV, …")
	s.BoolVarP(&f.pause, "pause", "p", true, "let the container stand still meanwhile")
	return c
}

func (a *app) commit(args []string, f commitFlags) error {
	r := a.runtime()
	c, err := r.Container(args[0])
	if err != nil {
		return err
	}
	for _, name := range args[1:] {
		if _, err := rootfs.ParseReference(name); err != nil {
			return err // before the container is made to stand still
		}
	}
	handed := []string{"commit", "--author=" + f.author, "--message=" + f.message}
	for _, change := range f.changes {
		handed = append(handed, "--change="+change)
	}
	handed = append(append(handed, "--", c.Config.Image.ID), args[1:]...)
	// A signal must not leave the container standing still.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	return a.imageProgramFed(ctx, func(w io.Writer) error {
		return r.Layer(c.Config.ID, w, f.pause, a.warn)
	}, handed...)
}

// imageProgramFed runs minictr-image with what write writes on its standard
// input. When that fails, the program is ended before its input is: it must not
// take what there is for all.
func (a *app) imageProgramFed(ctx context.Context, write func(io.Writer) error, args ...string) error {
	path, err := runtime.Beside("minictr-image")
	if err != nil {
		return err
	}
	var words bytes.Buffer
	c := exec.Command(path, append([]string{"--root", a.root}, args...)...)
	c.Stdout, c.Stderr = a.out, &words
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	failed := write(interruptible{ctx, in})
	if failed != nil {
		_ = c.Process.Signal(unix.SIGTERM) // it may have ended by itself
	}
	_ = in.Close() // it may have ended by itself
	err = c.Wait()
	if failed != nil && !errors.Is(failed, unix.EPIPE) {
		return failed
	}
	_, _ = words.WriteTo(a.err) // as good as writing there itself
	if is[*exec.ExitError](err) {
		return exitError(exitFailed) // it has said why
	}
	return err
}

// An interruptible writer fails when its context has ended.
type interruptible struct {
	ctx context.Context
	w   io.Writer
}

func (i interruptible) Write(b []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, errors.New("interrupted")
	}
	return i.w.Write(b)
}
