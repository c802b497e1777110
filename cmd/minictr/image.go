package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// useImage finds the image, pulls it where it has to, and takes from it what the
// command line leaves open.
func (a *app) useImage(cmd *cobra.Command, f *runFlags, args []string) error {
	if f.rootfs != "" {
		f.Image.Rootfs = f.rootfs
		return f.command(cmd, rootfs.Config{}, args)
	}
	image, release, err := a.findImage(args[0], f.pull, f.platform)
	if err != nil {
		return err
	}
	f.release = release
	if err := judge(image.Config); err != nil {
		return fmt.Errorf("image %s: %w", args[0], err)
	}
	f.Image = runtime.Image{Reference: args[0], ID: image.ID, Layers: image.Lower()}
	return f.command(cmd, image.Config, args[1:])
}

// judge refuses what an image cannot mean: a string with a NUL, of which the
// kernel would see the beginning only, and a stop signal that there is not, by
// which the container could never be stopped.
func judge(c rootfs.Config) error {
	for _, list := range []struct {
		name   string
		values []string
	}{
		{"Entrypoint", c.Entrypoint}, {"Cmd", c.Cmd}, {"Env", c.Env}, {"WorkingDir", []string{c.WorkingDir}}, {"User", []string{c.User}},
	} {
		for _, v := range list.values {
			if strings.Contains(v, "\x00") {
				return fmt.Errorf("config.%s: %.100q contains a NUL", list.name, v)
			}
		}
	}
	if c.StopSignal == "" {
		return nil
	}
	if _, err := runtime.ParseSignal(c.StopSignal); err != nil {
		return fmt.Errorf("config.StopSignal: %w", err)
	}
	return nil
}

// findImage returns the image from the store, pulling it as --pull says. It stays
// there until release is called, which the caller does when the container's
// config names it. A pull cannot end while somebody holds that.
func (a *app) findImage(name, pull, platform string) (image *rootfs.Image, release func(), err error) {
	switch pull {
	case "always":
	case "missing", "never":
		image, release, err = a.holdImage(name)
		if err == nil && pull == "missing" && isOutdated(image) {
			release()
			return a.updateBuiltin(name)
		}
		if err == nil || pull == "never" || !is[*rootfs.NotFoundError](err) {
			return image, release, err
		}
		fmt.Fprintf(a.err, "image %s is not here; pulling it\n", name)
	default:
		return nil, nil, usageError{fmt.Errorf("--pull %q: there are always, missing and never", pull)}
	}
	args := []string{"pull"}
	if platform != "" {
		args = append(args, "--platform", platform)
	}
	quiet := *a
	quiet.out = a.err // standard output is the container's
	if err := quiet.imageProgram(append(args, name)...); err != nil {
		return nil, nil, err
	}
	return a.holdImage(name)
}

// holdImage looks the image up and keeps it from being taken away.
func (a *app) holdImage(name string) (image *rootfs.Image, release func(), err error) {
	store := rootfs.OpenStore(a.root)
	if release, err = store.Use(); err != nil {
		return nil, nil, err
	}
	if image, err = store.Lookup(name); err != nil {
		release()
		return nil, nil, err
	}
	return image, release, nil
}

// builtinImage is the full name of the image that minictr-image carries.
const builtinImage = "docker.io/minictr/base:latest"

// isOutdated reports whether it is the built-in image of another minictr. Its
// labels, which are at hand, say so: no other launch pays for the question.
func isOutdated(image *rootfs.Image) bool {
	labels := image.Config.Labels
	return image.Reference == builtinImage && labels["org.opencontainers.image.title"] == "minictr/base" &&
		labels["org.opencontainers.image.version"] != version
}

// updateBuiltin puts this minictr's own built-in image into the store. Where it
// has none, the one that is there goes on to serve.
func (a *app) updateBuiltin(name string) (image *rootfs.Image, release func(), err error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer null.Close()
	quiet := *a
	quiet.out, quiet.err = null, null
	if err := quiet.imageProgram("pull", "--quiet", name); err != nil && !is[exitError](err) {
		return nil, nil, err
	}
	return a.holdImage(name)
}

// imageProgram runs minictr-image, which holds all that talks to registries and
// unpacks archives: its libraries would cost every other command their start-up.
func (a *app) imageProgram(args ...string) error {
	path, err := runtime.Beside("minictr-image")
	if err != nil {
		return err
	}
	c := exec.Command(path, append([]string{"--root", a.root}, args...)...)
	c.Stdin, c.Stdout, c.Stderr = a.in, a.out, a.err
	if err := c.Start(); err != nil {
		return err
	}
	stop := outliving(c.Process)
	err = c.Wait()
	stop()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitError(exitFailed) // it has said why
	}
	return err
}

// outliving keeps signals from ending this process before p, which has to clean
// up and perhaps to restore the terminal. A SIGINT of the terminal goes to both:
// it is handed on only to a p that does not care.
func outliving(p *os.Process) (stop func()) {
	signals, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			if s == unix.SIGINT {
				select {
				case <-time.After(2 * time.Second):
				case <-ended:
					return
				}
			}
			_ = p.Signal(s) // it may have ended just now
		case <-ended:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(ended)
	}
}

// command works out what the container runs and with what environment: the
// image's entrypoint and command by Docker's rules.
func (f *runFlags) command(cmd *cobra.Command, image rootfs.Config, args []string) error {
	entrypoint := image.Entrypoint
	if cmd.Flags().Changed("entrypoint") {
		entrypoint = nil
		if f.entrypoint != "" {
			entrypoint = []string{f.entrypoint}
		}
	} else if len(args) == 0 {
		args = image.Cmd
	}
	f.Args = append(append([]string(nil), entrypoint...), args...)
	if len(f.Args) == 0 {
		return usageError{errors.New("no command: the image has none, and none follows its name")}
	}
	if err := errors.Join(f.imageVolumes(image), f.exposed(image)); err != nil {
		return err
	}
	asked := f.Env
	f.Env = append([]string(nil), image.Env...)
	if !hasVariable(f.Env, "PATH") {
		f.Env = append(f.Env, "PATH="+runtime.DefaultPath)
	}
	if f.Terminal {
		f.Env = append(f.Env, "TERM=xterm")
	}
	f.Env = mergeEnv(f.Env, asked)
	f.Cwd = firstOf(f.Cwd, image.WorkingDir, "/")
	f.User = firstOf(f.User, image.User)
	f.StopSignal = firstOf(f.StopSignal, image.StopSignal, "SIGTERM")
	for k, v := range image.Labels {
		if f.Labels == nil {
			f.Labels = map[string]string{}
		}
		if _, own := f.Labels[k]; !own {
			f.Labels[k] = v
		}
	}
	return nil
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

func variableName(assignment string) string {
	for i := range assignment {
		if assignment[i] == '=' {
			return assignment[:i]
		}
	}
	return assignment
}

func hasVariable(env []string, name string) bool {
	for _, e := range env {
		if variableName(e) == name {
			return true
		}
	}
	return false
}

// mergeEnv sets variables in env, each in the place where it is already.
func mergeEnv(env, more []string) []string {
next:
	for _, m := range more {
		for i, e := range env {
			if variableName(e) == variableName(m) {
				env[i] = m
				continue next
			}
		}
		env = append(env, m)
	}
	return env
}
