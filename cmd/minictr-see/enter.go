package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/namespaces"
)

// enterFlags are the options of enter, as nsenter(1) spells them.
type enterFlags struct {
	target      string // -t, instead of the first argument
	all         bool
	kinds       [8]bool // in the order of namespaces.Kinds
	root        string  // "" or a directory; targetsOwn: the target's
	directory   string  // the same
	uid, gid    int     // -1: not asked for
	preserve    bool
	noFork      bool
	withCommand []string
}

// targetsOwn is the value of -r and -w without a directory: that of the target.
const targetsOwn = "."

// enterOptions are the letters and names of the kinds, in the order of
// namespaces.Kinds.
var enterOptions = [8]struct{ letter, name, what string }{
	{"m", "mount", "mount namespace: what is at which path"},
	{"n", "net", "network namespace"},
	{"p", "pid", "PID namespace; the command is a child, born in it"},
	{"u", "uts", "UTS namespace: host name"},
	{"i", "ipc", "IPC namespace"},
	{"U", "user", "user namespace, as its user 0"},
	{"C", "cgroup", "cgroup namespace"},
	{"T", "time", "time namespace"},
}

func enterCommand(a *app) *cobra.Command {
	flags := enterFlags{}
	c := &cobra.Command{
		Use: "enter TARGET [-a|-n|-m|-p|-u|-i|-U|-C|-T] [--] [COMMAND [ARGUMENT…]]", Args: cobra.ArbitraryArgs,
		Short:             "run a command in the namespaces of a container or process",
		ValidArgsFunction: a.targetWords(1),
		Long: `Enter runs a command, else a shell, in namespaces of the target, as nsenter does: all of them, or those
that are named. With -n alone the host's own tools run in the target's network. The command keeps the
caller's rights, environment and terminal: it is not confined as the container is (minictr exec is).

As with nsenter, -n does not mount /sys anew and does not look into /etc/netns: /sys/class/net still shows
the caller's links. minictr netns exec does both, as ip netns exec does.

` + targetForms,
		Example: "  minictr enter web -n ip addr\n  minictr enter web\n  minictr enter netns:blue -- ss -tln\n  minictr enter 4711 -n -m -- sh -c 'cat /etc/resolv.conf; ip route'",
		RunE: func(c *cobra.Command, args []string) error {
			word, err := enterArguments(c.Flags(), &flags, args)
			if err != nil {
				return err
			}
			return a.enter(word, flags)
		},
	}
	declareEnterFlags(c.Flags(), &flags)
	return c
}

func declareEnterFlags(f *pflag.FlagSet, flags *enterFlags) {
	f.SortFlags = false
	f.SetInterspersed(false)
	f.StringVarP(&flags.target, "target", "t", "", "the target, when the arguments are to be the command alone")
	f.BoolVarP(&flags.all, "all", "a", false, "all namespaces of the target; the default for a container or process")
	for i, o := range enterOptions {
		f.BoolVarP(&flags.kinds[i], o.name, o.letter, false, o.what)
	}
	f.StringVarP(&flags.root, "rootdir", "r", "", "with the target's root directory, or another as it is called there")
	f.Lookup("rootdir").NoOptDefVal = targetsOwn
	f.StringVarP(&flags.directory, "wd", "w", "", "in the target's working directory, or another as it is called there")
	f.Lookup("wd").NoOptDefVal = targetsOwn
	f.IntVarP(&flags.uid, "setuid", "S", -1, "as this user; the default in another user namespace is its user 0")
	f.IntVarP(&flags.gid, "setgid", "G", -1, "as this group; the default in another user namespace is its group 0")
	f.BoolVar(&flags.preserve, "preserve-credentials", false, "keep user and group in a user namespace, too")
	f.BoolVarP(&flags.noFork, "no-fork", "F", false, "with -p: let only the children of the command be in it")
}

// enterArguments reads what follows the first argument: options may stand behind the
// target, and end where the command begins.
func enterArguments(f *pflag.FlagSet, flags *enterFlags, args []string) (word string, err error) {
	if word = flags.target; word == "" {
		if len(args) == 0 {
			return "", usageError{errors.New("enter whose namespaces? usage: minictr enter TARGET [-a|-n|-m|…] [COMMAND…]")}
		}
		word = args[0]
		if err := f.Parse(args[1:]); err != nil {
			return "", usageError{err}
		}
		if help, _ := f.GetBool("help"); help { // cobra has looked only before the target
			return "", pflag.ErrHelp
		}
		args = f.Args()
		if flags.target != "" {
			return "", usageError{fmt.Errorf("%s and -t %s are two targets; give one", word, flags.target)}
		}
	}
	flags.withCommand = args
	return word, errors.Join(checkID(f, "setuid", flags.uid), checkID(f, "setgid", flags.gid))
}

// checkID refuses what is no user or group: cut to 32 bits it would be another one, and
// 4294967295 means to stay who one is, setresuid(2).
func checkID(f *pflag.FlagSet, option string, id int) error {
	if f.Changed(option) && (id < 0 || id >= math.MaxUint32) {
		return usageError{fmt.Errorf("--%s %d: a number from 0 to %d", option, id, uint32(math.MaxUint32-1))}
	}
	return nil
}

// enter runs the command and sets the exit code.
func (a *app) enter(word string, flags enterFlags) error {
	t, err := a.target(word)
	if err != nil {
		return err
	}
	defer t.close()
	here, err := namespaces.Self()
	if err != nil {
		return err
	}
	plan := entry{target: t.String(), pidfd: t.pidfd, env: os.Environ(), preserve: flags.preserve, uid: flags.uid, gid: flags.gid}
	if t.file != nil {
		plan.file = int(t.file.Fd())
	}
	if plan.kinds, err = chooseKinds(t, here, flags); err != nil {
		return err
	}
	plan.fork = slices.Contains(plan.kinds, namespaces.PID) && !flags.noFork
	defer plan.close()
	if err := plan.resolve(t, flags); err != nil {
		return err
	}
	a.code, err = plan.run()
	if err != nil {
		return statusError{err, a.code}
	}
	return nil
}

// chooseKinds are the namespaces to enter. One that the caller is in already is left
// out: entering it again would change the root and working directory, or fail.
func chooseKinds(t *target, here namespaces.Set, flags enterFlags) (kinds []namespaces.Kind, err error) {
	all := flags.all || !slices.Contains(flags.kinds[:], true)
	for i, k := range namespaces.Kinds() {
		inode, has := t.set[k]
		if !has && flags.kinds[i] {
			return nil, lacks(t, i)
		}
		if has && (all || flags.kinds[i]) && inode != here[k] {
			kinds = append(kinds, k)
		}
	}
	return kinds, nil
}

func lacks(t *target, i int) error {
	o := enterOptions[i]
	if t.path == "" {
		return &targetError{text: fmt.Sprintf("this kernel has no %s namespaces", o.name), err: unix.EINVAL}
	}
	var has []string
	for k := range t.set {
		has = append(has, string(k))
	}
	return &targetError{
		text: fmt.Sprintf("%s is a namespace of type %s: there is nothing for -%s to enter", t, strings.Join(has, ""), o.letter),
		hint: "a container or a process has namespaces of all types", err: unix.EINVAL,
	}
}
