package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/minictr/minictr/runtime"
	"github.com/spf13/cobra"
)

// runFlags is what the command line of run says, before it is understood.
type runFlags struct {
	runtime.Config
	networkFlags
	envFiles, env, labels, volumes, mounts, tmpfs, devices []string
	capAdd, capDrop, securityOpt, ulimits, sysctls         []string
	uidmap, gidmap                                         []string
	entrypoint, rootfs, pull, umask, platform              string
	cidfile, pidfile, shmSize, oomScore                    string
	volumesFrom, warnings                                  []string
	explain, dryRun, step                                  bool

	release func() // lets the image go
}

func runCommand(a *app) *cobra.Command {
	f := &runFlags{}
	c := &cobra.Command{
		Use: "run [FLAGS] IMAGE [COMMAND [ARG…]]",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && f.rootfs == "" {
				return fmt.Errorf("no image is named")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd, f, args) },
	}
	f.declare(c)
	return c
}

func (f *runFlags) declare(c *cobra.Command) {
	s := c.Flags()
	s.Bool("help", false, "help for run") // without cobra's -h, which is the hostname
	s.SetInterspersed(false)              // what follows the image is the container's
	s.BoolVarP(&f.Detach, "detach", "d", false, "run in the background and print the container's id")
	s.BoolVarP(&f.OpenStdin, "interactive", "i", false, "connect standard input")
	s.BoolVarP(&f.Terminal, "tty", "t", false, "give it a terminal")
	s.BoolVar(&f.Remove, "rm", false, "remove the container when it has ended")
	s.StringVar(&f.Name, "name", "", "the container's name")
	s.StringVarP(&f.Hostname, "hostname", "h", "", "hostname inside")
	s.StringVar(&f.Domainname, "domainname", "", "NIS domain name inside")
	s.StringArrayVarP(&f.env, "env", "e", nil, "set a variable, NAME=VALUE; NAME alone takes the value from here")
	s.StringArrayVar(&f.envFiles, "env-file", nil, "read variables from a file, one a line")
	s.StringVarP(&f.Cwd, "workdir", "w", "", "working directory inside")
	s.StringVarP(&f.User, "user", "u", "", "user[:group] inside, names or numbers")
	s.StringVar(&f.entrypoint, "entrypoint", "", "command in place of the image's entrypoint; \"\" for none")
	s.StringArrayVarP(&f.volumes, "volume", "v", nil, "mount a volume or a directory, [NAME|HOST:]CONTAINER[:OPTIONS]; what is missing is made")
	s.StringArrayVar(&f.mounts, "mount", nil, "mount, type=volume|bind|tmpfs,source=…,target=…[,readonly…]")
	s.StringArrayVar(&f.volumesFrom, "volumes-from", nil, "mount what another container has mounted, CONTAINER[:ro]")
	s.StringArrayVar(&f.tmpfs, "tmpfs", nil, "tmpfs, DIRECTORY[:OPTIONS]")
	s.BoolVar(&f.ReadOnly, "read-only", false, "make the root file system read-only")
	s.StringVar(&f.rootfs, "rootfs", "", "use this directory as the root file system, without an image")
	s.StringVar(&f.pull, "pull", "missing", "pull the image: always, missing or never")
	s.StringVar(&f.platform, "platform", "", "platform to pull, os/arch[/variant]")

	f.networkFlags.declare(c)
	s.StringArrayVar(&f.DNS.Servers, "dns", nil, "name server")
	s.StringArrayVar(&f.DNS.Search, "dns-search", nil, "domain to search names in")
	s.StringArrayVar(&f.DNS.Options, "dns-option", nil, "option for resolv.conf")
	s.StringArrayVar(&f.DNS.Options, "dns-opt", nil, "the same as --dns-option")
	s.StringArrayVar(&f.DNS.AddHosts, "add-host", nil, "line for /etc/hosts, NAME:ADDRESS")

	f.declareLimits(c)
	f.declareSecurity(c)

	s.StringArrayVarP(&f.labels, "label", "l", nil, "label, NAME=VALUE")
	s.StringVar(&f.cidfile, "cidfile", "", "write the container's id to this new file")
	s.StringVar(&f.pidfile, "pidfile", "", "write the pid of its first process to this file")
	s.StringVar(&f.StopSignal, "stop-signal", "", "signal for stop, a name or a number")
	s.IntVar(&f.StopTimeout, "stop-timeout", 10, "seconds that stop waits")
	s.BoolVar(&f.Init, "init", false, "run an init inside that forwards signals and reaps processes")
	s.BoolVar(&f.explain, "explain", false, "print every system call and every step as it happens")
	s.BoolVar(&f.step, "step", false, "stop before every step and show it; go on, open a shell in what is there so far, or give up")
	s.BoolVar(&f.dryRun, "dry-run", false, "print what makes its network and missing volumes, as a shell script, and change nothing")
}

func (f *runFlags) declareLimits(c *cobra.Command) {
	s := c.Flags()
	s.StringVarP(&f.Limits.Memory, "memory", "m", "", "memory limit, bytes or with b, k, m, g")
	s.StringVar(&f.Limits.MemorySwap, "memory-swap", "", "limit of memory and swap together; -1 for no limit on swap")
	s.StringVar(&f.Limits.MemoryReservation, "memory-reservation", "", "memory that it keeps when memory is short")
	s.StringVar(&f.Limits.CPUs, "cpus", "", "CPUs, such as 1.5")
	s.Int64VarP(&f.Limits.CPUShares, "cpu-shares", "c", 0, "weight of its CPU time, 1024 is usual")
	s.StringVar(&f.Limits.CpusetCPUs, "cpuset-cpus", "", "CPUs it may run on, such as 0-3,5")
	s.StringVar(&f.Limits.CpusetMems, "cpuset-mems", "", "memory nodes it may use")
	s.Int64Var(&f.Limits.PidsLimit, "pids-limit", 0, "how many processes and threads; -1 for no limit")
	s.StringArrayVar(&f.ulimits, "ulimit", nil, "resource limit, NAME=SOFT[:HARD]")
	s.StringVar(&f.shmSize, "shm-size", "", "size of /dev/shm, 64m by default")
	s.StringVar(&f.oomScore, "oom-score-adj", "", "OOM score adjustment, -1000 to 1000")
}

func (f *runFlags) declareSecurity(c *cobra.Command) {
	s := c.Flags()
	s.StringArrayVar(&f.capAdd, "cap-add", nil, "add a capability; ALL for all")
	s.StringArrayVar(&f.capDrop, "cap-drop", nil, "drop a capability; ALL for all")
	s.BoolVar(&f.Privileged, "privileged", false, "all capabilities, all devices, no seccomp filter")
	s.StringArrayVar(&f.securityOpt, "security-opt", nil, "no-new-privileges, seccomp=unconfined or seccomp=FILE")
	s.StringArrayVar(&f.Groups, "group-add", nil, "additional group")
	s.StringArrayVar(&f.sysctls, "sysctl", nil, "sysctl of its namespaces, NAME=VALUE")
	s.StringArrayVar(&f.devices, "device", nil, "device of the host, HOST[:CONTAINER[:rwm]]")
	s.StringVar(&f.umask, "umask", "", "file mode mask, octal")
	s.StringArrayVar(&f.uidmap, "uidmap", nil, "make a user namespace, CONTAINER:HOST:COUNT")
	s.StringArrayVar(&f.gidmap, "gidmap", nil, "the groups of the user namespace; the same as --uidmap by default")
}

// run understands the flags, finds the image, and starts the container.
func (a *app) run(cmd *cobra.Command, f *runFlags, args []string) error {
	if err := f.parse(); err != nil {
		return usageError{err}
	}
	if f.dryRun {
		return a.dryRun(f)
	}
	if f.step && f.Detach {
		return usageError{errors.New("--step with -d: a detached container has nobody to ask; leave out one of them")}
	}
	if err := a.checkTerminal(f.Terminal && f.OpenStdin && !f.Detach); err != nil {
		return err
	}
	if err := a.mountsFrom(f); err != nil {
		return err
	}
	if err := a.useImage(cmd, f, args); err != nil {
		return err
	}
	files, err := openIDFiles(f)
	if err != nil {
		return err
	}
	w := a.watch(f.explain)
	for _, text := range f.warnings {
		w.Warn(text)
	}
	end := func() {}
	if f.step {
		end = a.stepping(&w)
	}
	streams := runtime.Standard{Stdin: a.in, Stdout: a.out, Stderr: a.err}
	r := a.runtime()
	p, err := r.Run(&f.Config, streams, w)
	end()
	if f.release != nil {
		f.release()
	}
	if err != nil {
		return errors.Join(err, files.discard())
	}
	if err := files.write(f.ID, pidOf(r, f.ID, p)); err != nil {
		a.warn(err) // the container runs all the same
	}
	if p == nil { // detached
		fmt.Fprintln(a.out, f.ID)
		a.heal(r)
		return nil
	}
	go func() { _ = r.Heal() }() // while this one runs; ps and rm tell of what cannot be healed
	if !f.OpenStdin {
		streams.Stdin = nil
	}
	return a.wait(p, streams)
}

// pidOf is the container's first process; 0 when it has ended already.
func pidOf(r *runtime.Runtime, id string, p *runtime.Process) int {
	if p != nil {
		return p.Pid
	}
	c, err := r.Container(id)
	if err != nil {
		return 0
	}
	return c.Pid()
}

// parse turns the flags into the configuration.
func (f *runFlags) parse() error {
	if f.Name != "" {
		if err := runtime.ValidateName(f.Name); err != nil {
			return err
		}
	}
	if f.StopSignal != "" {
		if _, err := runtime.ParseSignal(f.StopSignal); err != nil {
			return fmt.Errorf("--stop-signal: %w", err)
		}
	}
	for _, parse := range []func() error{
		f.parseNetwork, f.parseHostname, f.parseEnv, f.parseLabels, f.parseMounts, f.parseDevices, f.parseSecurity, f.parseUlimits, f.parseLimits, f.parseMappings, f.parseDNS,
	} {
		if err := parse(); err != nil {
			return err
		}
	}
	return nil
}

// parseEnv reads --env-file and --env, the latter winning.
func (f *runFlags) parseEnv() error {
	for _, name := range f.envFiles {
		b, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("--env-file: %w", err)
		}
		n := 0
		for line := range strings.Lines(string(b)) {
			n++
			line = strings.TrimLeft(strings.TrimRight(line, "\r\n"), " \t")
			if line == "" || line[0] == '#' {
				continue
			}
			key, _, _ := strings.Cut(line, "=")
			if key == "" || strings.ContainsAny(key, " \t") {
				return fmt.Errorf("--env-file %s: line %d: %q is no name of a variable", name, n, key)
			}
			f.Env = append(f.Env, expandEnv([]string{line})...)
		}
	}
	for _, e := range f.env {
		if strings.HasPrefix(e, "=") || e == "" {
			return fmt.Errorf("--env %q: the name is missing", e)
		}
	}
	f.Env = append(f.Env, expandEnv(f.env)...)
	return nil
}

func (f *runFlags) parseLabels() error {
	for _, l := range f.labels {
		key, value, _ := strings.Cut(l, "=")
		if key == "" {
			return fmt.Errorf("--label %q: the name is missing", l)
		}
		if f.Labels == nil {
			f.Labels = map[string]string{}
		}
		f.Labels[key] = value
	}
	return nil
}
