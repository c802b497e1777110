package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/namespaces"
	"github.com/minictr/minictr/network/netnsdir"
	"github.com/minictr/minictr/runtime/step"
)

// deleteFlags are the options of netns delete.
type deleteFlags struct {
	all, kill bool
	seconds   uint
}

func netnsDeleteCommand(a *app) *cobra.Command {
	var flags deleteFlags
	c := &cobra.Command{
		Use: "delete [--kill] NAME", Aliases: []string{"del", "rm"}, Args: cobra.ArbitraryArgs, ValidArgsFunction: a.netnsNames,
		Short: "take a name away, and the network namespace with it; say what keeps it",
		Long: `Delete takes the name away, as ip netns does. The namespace goes with it unless something else keeps it alive:
processes, open descriptors, sockets that were made in it, other mounts. Delete names them. With --kill it
ends the processes first: SIGTERM and, after a while, SIGKILL. It never ends a process that is not in the
namespace, nor those that it was started from. A container's name is refused: minictr stop and rm end it.
A namespace that has lost its name already is given as net:[NUMBER].`,
		Example: "  minictr netns delete blue\n  minictr netns delete --kill blue\n  minictr netns delete --kill 'net:[4026532454]'\n  minictr netns -all delete",
		RunE: func(_ *cobra.Command, args []string) error {
			if flags.all {
				return a.netnsDeleteAll(flags)
			}
			if len(args) != 1 {
				return usageError{errors.New("one name is needed; usage: minictr netns delete [--kill] NAME")}
			}
			return netnsStatus(a.netnsDelete(args[0], flags))
		},
	}
	allFlag(c, &flags.all)
	c.Flags().BoolVar(&flags.kill, "kill", false, "end the processes in it")
	c.Flags().UintVarP(&flags.seconds, "time", "t", 3, "with --kill: seconds between SIGTERM and SIGKILL")
	return c
}

// netnsDeleteAll deletes each name that is not a container's.
func (a *app) netnsDeleteAll(flags deleteFlags) error {
	names, err := a.netns().Names()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		err := a.netnsDelete(name, flags)
		if is[*containersNetns](err) {
			a.warn(fmt.Errorf("%w; its name is left", err))
			continue
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// lastBreath is how long a namespace may take to go when nothing keeps it any more:
// processes that have just been ended are still being taken apart.
const lastBreath = 500 * time.Millisecond

// A doomed is a network namespace that is to go.
type doomed struct {
	name  string // in the directory; empty: it has none any more
	file  *os.File
	inode uint64
	stays bool // nobody expects it to go: its name is a link, or it is the caller's own
}

// netnsDelete takes a name away, and the processes, when that was asked for.
func (a *app) netnsDelete(word string, flags deleteFlags) error {
	d, err := a.doom(word)
	if err != nil {
		return err
	}
	if d.file == nil { // there is no namespace behind the name
		return a.netns().Delete(d.name)
	}
	defer d.file.Close() // twice is no harm
	if err := a.mayDelete(d, flags.kill); err != nil {
		return err
	}
	life, err := netnsdir.WatchLife(d.file)
	if err != nil {
		return step.Fail("delete network namespace", word, err)
	}
	defer life.Close()
	var ended []namespaces.Ending
	var errs []error
	if flags.kill {
		ended, err = namespaces.End(namespaces.Network, d.inode, time.Duration(flags.seconds)*time.Second)
		errs = append(errs, err)
		a.sayEnded(ended)
	}
	if d.name != "" {
		err = a.netns().Delete(d.name)
		errs = append(errs, err)
	}
	if err != nil || d.stays && !flags.kill {
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, a.seeOff(d, life, flags.kill))...)
}

// doom finds the namespace of a name, or of "net:[NUMBER]". A name that leads to none
// has no file.
func (a *app) doom(word string) (*doomed, error) {
	d := &doomed{name: word}
	_, missing := os.Lstat(a.netns().Path(word))
	if number, ok := netnsInode(word); ok && missing != nil {
		n, err := findNetns(number)
		if err != nil {
			return nil, err
		}
		d.name, d.inode = "", number
		d.file, err = n.Open()
		return d, err
	}
	if err := netnsdir.CheckName(word); err != nil {
		return nil, err
	}
	f, err := a.netns().Open(word)
	if err != nil {
		return d, nil // Delete says what is wrong, or takes away what is no namespace
	}
	d.file = f
	self, err := namespaces.Self()
	if err != nil {
		return d, err
	}
	d.inode, err = namespaces.Inode(f)
	_, linked := a.netns().Linked(word)
	d.stays = linked || d.inode == self[namespaces.Network]
	return d, err
}

// netnsInode reads a namespace as /proc writes it: net:[4026532454].
func netnsInode(word string) (uint64, bool) {
	number, begins := strings.CutPrefix(word, "net:[")
	number, ends := strings.CutSuffix(number, "]")
	inode, err := strconv.ParseUint(number, 10, 64)
	return inode, begins && ends && err == nil
}

func findNetns(inode uint64) (namespaces.Namespace, error) {
	list, err := namespaces.Read(namespaces.Network)
	for _, n := range list {
		if n.Inode == inode {
			return n, err
		}
	}
	return namespaces.Namespace{}, errors.Join(err, hinted{fmt.Errorf("there is no network namespace net:[%d]", inode), "minictr ns -t net lists them"})
}

// seeOff waits until the namespace is gone. When it is not, it says what keeps it; that
// is a failure only where it was to be ended at any price.
func (a *app) seeOff(d *doomed, life *netnsdir.Life, kill bool) error {
	closing, err := netnsdir.Closing(d.file)
	if err != nil {
		return err
	}
	d.file.Close() // or we would keep it
	gone, err := life.Ended(lastBreath)
	if gone || err != nil {
		return err
	}
	holds, err := namespaces.HoldsOf(namespaces.Network, d.inode)
	if err != nil {
		return err
	}
	if holds.Empty() { // it has gone meanwhile, or this is the one thing that is known of it
		if gone, err := life.Ended(lastBreath); gone || err != nil {
			return err
		}
	}
	a.sayHolds(d, holds, closing)
	if kill {
		return silentError{}
	}
	return nil
}

// sayEnded tells what became of each process.
func (a *app) sayEnded(list []namespaces.Ending) {
	for _, e := range list {
		switch who := processWords(e.Process); {
		case e.Spared != "":
			fmt.Fprintf(a.err, "left alone: %s: %s\n", who, e.Spared)
		case e.Err != nil:
			a.warn(step.Fail("end", who, e.Err))
		default:
			fmt.Fprintf(a.err, "ended: %s, by %s\n", who, unix.SignalName(e.Signal))
		}
	}
}
