package files

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// A copier copies files for cp, and for mv between file systems.
type copier struct {
	c                                   *applet.Call
	recursive, keep, force, ask, update bool
	noClobber, verbose, hardLink        bool
	symlink                             bool
	follow                              byte             // 'L' all links, 'H' those of the command line, 'P' none
	links                               map[inode]string // copies of files with several names, for -a
	into                                map[inode]bool   // directories made by this copy: not to be copied again
	answers                             *bufio.Reader
	bad                                 bool
}

type inode struct{ dev, ino uint64 }

func inodeOf(st fs.FileInfo) inode {
	s := statOf(st)
	return inode{s.Dev, s.Ino}
}

const copyLong = "recursive=R force=f interactive=i preserve? no-clobber=n update=u verbose=v dereference=L no-dereference=P archive=a link=l target-directory=t no-target-directory=T symbolic-link=s"

func cp(c *applet.Call) error {
	o, err := c.Options("aLPHRfinpruvdlsTt:x", strings.Fields(copyLong)...)
	if err != nil {
		return err
	}
	k := &copier{
		c: c, recursive: o.Has("a", "R", "r"), keep: o.Has("a", "p", "preserve"), force: o.Has("f"),
		ask: o.Last("i", "f", "n") == "i", noClobber: o.Last("i", "f", "n") == "n", update: o.Has("u"),
		verbose: o.Has("v"), hardLink: o.Has("l"), symlink: o.Has("s"), follow: 'L', links: map[inode]string{}, into: map[inode]bool{},
	}
	if k.recursive {
		k.follow = 'P'
	}
	if last := o.Last("L", "P", "H", "d", "a"); last == "d" || last == "a" {
		k.follow = 'P'
	} else if last != "" {
		k.follow = last[0]
	}
	return k.toDestination(o, func(from, to string) error { return k.copy(from, to, true) })
}

// toDestination works out where each source goes: into the last operand where
// that is a directory, else to it.
func (k *copier) toDestination(o *applet.Options, do func(from, to string) error) error {
	sources, dest := o.Args, o.Value("t", "")
	if dest == "" {
		if len(sources) < 2 {
			return applet.UsageError("needs a source and a destination")
		}
		dest = sources[len(sources)-1]
		sources = sources[:len(sources)-1]
	}
	into := isDir(dest) && !o.Has("T")
	if !into && (len(sources) > 1 || o.Has("t")) {
		return fmt.Errorf("%s: not a directory", dest)
	}
	err := each(k.c, sources, func(from string) error {
		to := dest
		if into {
			to = filepath.Join(dest, filepath.Base(from))
		}
		return do(from, to)
	})
	if err != nil {
		return err
	}
	return failed(k.bad)
}

// copy copies a file or, recursively, a directory.
func (k *copier) copy(from, to string, operand bool) error {
	info, err := os.Lstat(from)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 && (k.follow == 'L' || k.follow == 'H' && operand) {
		info, err = os.Stat(from)
	}
	if err != nil {
		return err
	}
	if there, err := os.Stat(to); err == nil {
		switch {
		case os.SameFile(info, there) && !k.hardLink && info.Mode()&fs.ModeSymlink == 0:
			return fmt.Errorf("%s and %s are the same file", from, to)
		case info.IsDir() && !there.IsDir():
			return fmt.Errorf("%s: not a directory", to)
		case !info.IsDir() && there.IsDir() && info.Mode()&fs.ModeSymlink == 0:
			return fmt.Errorf("%s: %w", to, errIsDir)
		case !info.IsDir() && !k.mayReplace(to, info, there):
			return nil
		}
	}
	if info.IsDir() {
		return k.copyDir(from, to, info)
	}
	if done, err := k.linked(from, to, info); done {
		return err
	}
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		err = k.copyLink(from, to)
	case mode.IsRegular() || !k.recursive:
		err = k.copyContent(from, to, info)
	default:
		_ = os.Remove(to) // mknod says what is wrong
		err = os.NewSyscallError("mknod", unix.Mknod(to, statOf(info).Mode, int(statOf(info).Rdev)))
	}
	if err == nil {
		err = k.attributes(to, info)
	}
	k.tell(from, to, err)
	return err
}

func (k *copier) tell(from, to string, err error) {
	if k.verbose && err == nil {
		fmt.Fprintf(k.c.Out, "'%s' -> '%s'\n", from, to)
	}
}

// mayReplace asks and looks whether an existing file may be replaced.
func (k *copier) mayReplace(to string, info, there fs.FileInfo) bool {
	switch {
	case k.noClobber, k.update && !info.ModTime().After(there.ModTime()):
		return false
	case k.ask:
		return k.confirm(fmt.Sprintf("overwrite '%s'?", to))
	}
	return true
}

func (k *copier) confirm(question string) bool {
	if k.answers == nil {
		k.answers = bufio.NewReader(k.c.In)
	}
	fmt.Fprintf(k.c.Err, "%s: %s ", k.c.Name, question)
	answer, err := k.answers.ReadString('\n')
	return (err == nil || answer != "") && strings.HasPrefix(strings.ToLower(answer), "y")
}

func (k *copier) copyDir(from, to string, info fs.FileInfo) error {
	if !k.recursive {
		return fmt.Errorf("%s: %w; -r copies directories", from, errIsDir)
	}
	if k.into[inodeOf(info)] {
		return fmt.Errorf("%s: cannot be copied into itself", from)
	}
	made := false
	if err := os.Mkdir(to, info.Mode().Perm()|0o700); err == nil {
		made = true
		k.tell(from, to, nil)
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if there, err := os.Stat(to); err == nil {
		k.into[inodeOf(there)] = true
	}
	items, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, item := range items {
		if err := k.copy(filepath.Join(from, item.Name()), filepath.Join(to, item.Name()), false); err != nil {
			k.c.Warn(err)
			k.bad = true
		}
	}
	if made && !k.keep && info.Mode().Perm()&0o700 != 0o700 {
		return os.Chmod(to, info.Mode().Perm()&^fs.FileMode(currentUmask()))
	}
	return k.attributes(to, info)
}

// linked makes a link instead of a copy: with -l and -s, and with -a where
// another name of the file was copied before.
func (k *copier) linked(from, to string, info fs.FileInfo) (bool, error) {
	switch {
	case k.hardLink:
		return true, os.Link(from, to)
	case k.symlink:
		return true, os.Symlink(from, to)
	case !k.keep || statOf(info).Nlink < 2:
		return false, nil
	}
	id := inodeOf(info)
	if earlier, ok := k.links[id]; ok {
		_ = os.Remove(to) // link says what is wrong
		return true, os.Link(earlier, to)
	}
	k.links[id] = to
	return false, nil
}

func (k *copier) copyLink(from, to string) error {
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	err = os.Symlink(target, to)
	if errors.Is(err, fs.ErrExist) {
		if err = os.Remove(to); err == nil {
			err = os.Symlink(target, to)
		}
	}
	return err
}

func (k *copier) copyContent(from, to string, info fs.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	out, err := os.OpenFile(to, flags, info.Mode().Perm())
	if err != nil && k.force {
		if os.Remove(to) == nil {
			out, err = os.OpenFile(to, flags, info.Mode().Perm())
		}
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// attributes gives the copy the owner, mode and times of the original.
func (k *copier) attributes(to string, info fs.FileInfo) error {
	if !k.keep {
		return nil
	}
	st := statOf(info)
	err := os.Lchown(to, int(st.Uid), int(st.Gid))
	if errors.Is(err, fs.ErrPermission) {
		err = nil // only root gives files away; cp(1) says nothing of it
	}
	if err == nil && info.Mode()&fs.ModeSymlink == 0 {
		err = os.Chmod(to, info.Mode())
	}
	if err == nil {
		times := []unix.Timespec{{Sec: st.Atim.Sec, Nsec: st.Atim.Nsec}, {Sec: st.Mtim.Sec, Nsec: st.Mtim.Nsec}}
		err = unix.UtimesNanoAt(unix.AT_FDCWD, to, times, unix.AT_SYMLINK_NOFOLLOW)
	}
	return err
}

func mv(c *applet.Call) error {
	o, err := c.Options("finuvTt:", strings.Fields(copyLong)...)
	if err != nil {
		return err
	}
	k := &copier{
		c: c, recursive: true, keep: true, force: true, follow: 'P', links: map[inode]string{}, into: map[inode]bool{},
		ask: o.Last("i", "f", "n") == "i", noClobber: o.Last("i", "f", "n") == "n", update: o.Has("u"), verbose: o.Has("v"),
	}
	return k.toDestination(o, k.move)
}

// move renames, and copies and removes where the destination is on another file
// system.
func (k *copier) move(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if there, err := os.Lstat(to); err == nil {
		switch {
		case os.SameFile(info, there) && statOf(info).Nlink < 2:
			return fmt.Errorf("%s and %s are the same file", from, to)
		case !k.mayReplace(to, info, there):
			return nil
		}
	}
	err = os.Rename(from, to)
	if !errors.Is(err, unix.EXDEV) {
		k.tell(from, to, err)
		return err
	}
	k.ask, k.noClobber, k.update = false, false, false
	if err := k.copy(from, to, false); err != nil {
		return err
	}
	if k.bad {
		return fmt.Errorf("%s: stays, since not all of it was copied", from)
	}
	return os.RemoveAll(from)
}

func rm(c *applet.Call) error {
	o, err := c.Options("rRfivd", "recursive=r", "force=f", "interactive=i", "verbose=v", "dir=d", "no-preserve-root")
	if err != nil {
		return err
	}
	force := o.Last("f", "i") == "f"
	if len(o.Args) == 0 && force {
		return nil
	}
	k := &copier{c: c, ask: o.Last("f", "i") == "i"}
	recursive := o.Has("r", "R")
	return each(c, o.Args, func(name string) error {
		switch base := filepath.Base(name); {
		case base == "." || base == "..":
			return fmt.Errorf("%s: refusing to remove a directory that is . or .. here", name)
		case filepath.Clean(name) == "/" && !o.Has("no-preserve-root"):
			return errors.New("refusing to remove /; --no-preserve-root does")
		}
		info, err := os.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && force:
			return nil
		case err != nil:
			return err
		case info.IsDir() && !recursive && !o.Has("d"):
			return fmt.Errorf("%s: %w", name, errIsDir)
		case k.ask && !k.confirm(fmt.Sprintf("remove '%s'?", name)):
			return nil
		case recursive:
			err = os.RemoveAll(name)
		default:
			err = os.Remove(name)
		}
		if err == nil && o.Has("v") {
			fmt.Fprintf(c.Out, "removed '%s'\n", name)
		}
		return err
	})
}
