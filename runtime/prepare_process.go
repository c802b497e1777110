package runtime

import (
	"encoding/json"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime/capability"
	"github.com/minictr/minictr/runtime/program"
	"github.com/minictr/minictr/runtime/seccomp"
	"github.com/minictr/minictr/runtime/step"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// prepareUser looks the user up in the image's own files, sets HOME, makes the
// working directory, and lists where the command may lie.
func (l *launch) prepareUser() error {
	u, err := rootfs.LookupUser(l.plan.root, l.config.User)
	if err != nil {
		return err
	}
	if l.plan.user, err = l.identity(l.plan.root, u); err != nil {
		return err
	}
	p := l.plan.spec.Process
	p.Env = l.config.usualEnv(p.Env, u.Home)
	if !path.IsAbs(p.Cwd) {
		return step.Fail("go to the working directory", p.Cwd, errors.New("not an absolute path"))
	}
	if below, _ := cover(l.plan.spec.Mounts, len(l.plan.spec.Mounts), p.Cwd); below < 0 && p.Cwd != "/" {
		if err := l.asRootOfContainer(func() error {
			return rootfs.MkdirAll(l.plan.root, p.Cwd, 0o755, int(l.config.hostUID(0)), int(l.config.hostGID(0)))
		}); err != nil {
			return step.Fail("make the working directory", p.Cwd, err)
		}
	}
	l.plan.candidates = candidates(p.Args[0], p.Env, p.Cwd)
	return nil
}

// identity is the user with the groups of --group-add.
func (l *launch) identity(root int, u rootfs.User) (identity, error) {
	who := identity{uid: u.UID, gid: u.GID, groups: u.Groups}
	for _, name := range l.config.Groups {
		gid, err := rootfs.LookupGroup(root, name)
		if err != nil {
			return who, err
		}
		who.groups = append(who.groups[:len(who.groups):len(who.groups)], gid)
	}
	return who, nil
}

// usualEnv adds what every process of the container has, where it is not set.
func (c *Config) usualEnv(env []string, home string) []string {
	if c.Hostname != "" {
		env = withDefault(env, "HOSTNAME="+c.Hostname)
	}
	return withDefault(env, "HOME="+home)
}

// DefaultPath is what the command is looked for in when the container has no
// PATH; it is Docker's.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// candidates are the paths that execvp(3) would try. The working directory has
// been entered when they are.
func candidates(command string, env []string, cwd string) []string {
	if strings.Contains(command, "/") {
		return []string{command}
	}
	search, ok := lookupEnv(env, "PATH")
	if !ok {
		search = DefaultPath
	}
	var list []string
	for _, dir := range filepath.SplitList(search) {
		if dir == "" {
			dir = cwd
		}
		list = append(list, path.Join(dir, command))
	}
	return list
}

// lookupEnv returns the last value of a variable.
func lookupEnv(env []string, name string) (string, bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], name+"="); ok {
			return v, true
		}
	}
	return "", false
}

// prepareFilter compiles the seccomp profile.
func (l *launch) prepareFilter() (err error) {
	l.plan.filter, l.plan.filterFlag, err = l.config.filter()
	if err != nil {
		return err
	}
	if l.plan.lastCapability, err = lastCapability(); err != nil {
		return err
	}
	stub, err := program.OpenStub()
	if err != nil {
		return err
	}
	l.plan.stub, err = l.own(stub)
	return err
}

// filter is the seccomp program of the container; none when it is unconfined.
func (c *Config) filter() ([]unix.SockFilter, uint64, error) {
	if c.Seccomp == "unconfined" || c.Privileged && c.Seccomp == "" {
		return nil, 0, nil
	}
	if c.Seccomp == "" {
		set, err := capability.ParseNames(c.Capabilities)
		if err != nil {
			return nil, 0, err
		}
		f, flags, err := seccomp.Default(set)
		return f, uint64(flags), err
	}
	profile, err := parseSeccomp([]byte(c.Seccomp))
	if err != nil {
		return nil, 0, err
	}
	f, flags, err := seccomp.Compile(profile, seccomp.Native())
	return f, uint64(flags), err
}

// parseSeccomp reads a profile in the OCI form.
func parseSeccomp(profile []byte) (*specs.LinuxSeccomp, error) {
	p := new(specs.LinuxSeccomp)
	if err := json.Unmarshal(profile, p); err != nil {
		return nil, step.Fail("read the seccomp profile", "", err)
	}
	return p, nil
}

// lastCapability reads the highest capability that the kernel knows.
func lastCapability() (int, error) {
	const file = "/proc/sys/kernel/cap_last_cap"
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, step.Fail("read", file, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return n, step.Fail("read", file, err)
}
