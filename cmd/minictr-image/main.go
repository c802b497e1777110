// Minictr-image fills minictr's image store: it pulls images from registries
// and reads them from archives; and it writes archives.
//
// It is a program of its own because what that takes (a registry client, HTTP,
// TLS, zstd) costs more than a millisecond of start-up, which would fall on
// every minictr command. minictr runs it as a child; people may run it too.
//
//	minictr-image [--root DIR] pull [--platform OS/ARCH[/VARIANT]] [--quiet] [--progress auto|plain|none] [--registries-conf FILE] NAME
//	minictr-image [--root DIR] load [--input FILE|DIR|-] [--name NAME] [--platform OS/ARCH[/VARIANT]] [--quiet]
//	minictr-image [--root DIR] verify [--quiet] [IMAGE]...
//	minictr-image [--root DIR] commit [--author NAME] [--change INSTRUCTION]... [--message TEXT] IMAGE [NAME] < LAYER
//	minictr-image [--root DIR] import [--change INSTRUCTION]... [--message TEXT] FILE|- [NAME]
//	minictr-image [--root DIR] save [--output FILE|DIR|-] [--format docker-archive|oci-archive|oci-dir] [--platform OS/ARCH[/VARIANT]] NAME...
//	minictr-image [--root DIR] push [--quiet] [--progress auto|plain|none] [--registries-conf FILE] NAME
//	minictr-image login [--username NAME] [--password-stdin] [SERVER]
//	minictr-image logout [SERVER]
//
// The answer is on standard output: the name of the image, or its id. Progress
// and errors are on standard error. The exit status is 0, or 1 after an error,
// which changed nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/rootfs"
)

// A command is one run of the program: where it reads and writes, and the store.
type command struct {
	store       *rootfs.Store
	in          io.Reader
	out, errors io.Writer
	flags       *flag.FlagSet
	args        []string // what is left after the flags
	platform    platformFlag
	quiet       bool
	progress    string
	input, name string
	changes     listFlag
	output      string
	format      string
	message     string
	author      string
	registries  string // --registries-conf

	username      string
	passwordStdin bool
}

// A subcommand declares its flags and returns what runs when they are parsed.
type subcommand struct {
	usage   string
	args    [2]int // how many are allowed: least, most
	declare func(c *command)
	run     func(ctx context.Context, c *command) error
}

func subcommands() map[string]subcommand {
	return map[string]subcommand{
		"pull":   {"pull [--platform OS/ARCH[/VARIANT]] [--quiet] [--progress auto|plain|none] [--registries-conf FILE] NAME", [2]int{1, 1}, declarePull, pull},
		"load":   {"load [--input FILE|DIR|-] [--name NAME] [--platform OS/ARCH[/VARIANT]] [--quiet]", [2]int{0, 0}, declareLoad, load},
		"verify": {"verify [--quiet] [IMAGE]...", [2]int{0, math.MaxInt}, declareVerify, verify},
		"commit": {"commit [--author NAME] [--change INSTRUCTION]... [--message TEXT] IMAGE [NAME] < LAYER", [2]int{1, 2}, declareCommit, commit},
		"import": {"import [--change INSTRUCTION]... [--message TEXT] FILE|- [NAME]", [2]int{1, 2}, declareImport, importTree},
		"save":   {"save [--output FILE|DIR|-] [--format docker-archive|oci-archive|oci-dir] [--platform OS/ARCH[/VARIANT]] NAME...", [2]int{1, math.MaxInt}, declareSave, save},
		"push":   {"push [--quiet] [--progress auto|plain|none] [--registries-conf FILE] NAME", [2]int{1, 1}, declarePush, push},
		"login":  {"login [--username NAME] [--password-stdin] [--registries-conf FILE] [SERVER]", [2]int{0, 1}, declareLogin, login},
		"logout": {"logout [SERVER]", [2]int{0, 1}, declareRegistries, logout},
	}
}

// memoryBytes is what the garbage collector aims at. A zstd frame with a window of
// 128 MiB lives beyond that, but not twice as it would without.
const memoryBytes = 80 << 20

func main() {
	// The store's own files are made with their modes, whatever the mask; files of
	// layers mostly have those that this one gives, and need no chmod.
	unix.Umask(0o022)
	debug.SetMemoryLimit(memoryBytes)
	ctx, stop := interruptible()
	err := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		report(os.Stderr, err)
		os.Exit(1)
	}
}

// interruptible returns a context that the first SIGINT, SIGTERM or SIGHUP ends.
// A second one kills: what it leaves, the next command removes.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	go func() {
		<-signals
		signal.Stop(signals)
		cancel(errInterrupted)
	}()
	return ctx, func() { cancel(nil) }
}

var errInterrupted = errors.New("interrupted")

// execute parses the arguments and runs the subcommand.
func execute(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) error {
	c := &command{in: in, out: out, errors: errs}
	global := flag.NewFlagSet("minictr-image", flag.ContinueOnError)
	global.SetOutput(io.Discard)
	root := global.String("root", "/var/lib/minictr", "")
	if err := parse(global, args, usage()); err != nil {
		return c.help(err)
	}
	if global.NArg() == 0 {
		return &usageError{"no command", usage()}
	}
	sub, known := subcommands()[global.Arg(0)]
	if !known {
		return &usageError{fmt.Sprintf("unknown command %q", global.Arg(0)), usage()}
	}
	c.flags = flag.NewFlagSet(global.Arg(0), flag.ContinueOnError)
	c.flags.SetOutput(io.Discard)
	sub.declare(c)
	if err := parse(c.flags, global.Args()[1:], sub.usage); err != nil {
		return c.help(err)
	}
	c.args = c.flags.Args()
	if len(c.args) < sub.args[0] || len(c.args) > sub.args[1] {
		return &usageError{fmt.Sprintf("%s: wrong number of arguments", global.Arg(0)), sub.usage}
	}
	if os.Geteuid() != 0 && !slices.Contains([]string{"login", "logout"}, global.Arg(0)) {
		return errNotRoot
	}
	c.store = rootfs.OpenStore(*root)
	return sub.run(ctx, c)
}

// parse reads flags; one or two dashes are the same to package flag.
func parse(flags *flag.FlagSet, args []string, usage string) error {
	err := flags.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return &usageError{err.Error(), usage}
	}
	if err != nil {
		return &usageError{"", usage}
	}
	return nil
}

// help turns a request for help into an answer.
func (c *command) help(err error) error {
	var u *usageError
	if errors.As(err, &u) && u.problem == "" {
		_, err := fmt.Fprintln(c.out, "usage: minictr-image [--root DIR] "+u.usage)
		return err
	}
	return err
}

func usage() string {
	return strings.Join(slices.Sorted(maps.Keys(subcommands())), "|") + " …"
}

// A listFlag may be given several times.
type listFlag []string

func (l *listFlag) String() string { return strings.Join(*l, ",") }

// Set adds a value.
func (l *listFlag) Set(v string) error { *l = append(*l, v); return nil }

// transaction runs f in a transaction of the store and ends it.
func (c *command) transaction(f func(tx *rootfs.Transaction) error) error {
	tx, err := c.store.Begin()
	if err != nil {
		return err
	}
	err = f(tx)
	if closeErr := tx.Close(); err == nil {
		return closeErr
	}
	return err // the next command removes what Close could not
}
