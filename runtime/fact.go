package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
)

// NetworkFacts reads what the network of a running container is now, and compares it
// with what was asked for. For one that does not run, or ends meanwhile, the error is a
// *NotRunningError.
func (r *Runtime) NetworkFacts(c *Container) ([]network.Fact, error) {
	if c.Status != Running {
		return nil, &NotRunningError{c.Config.Name}
	}
	facts, err := c.namespaceFact()
	if err != nil {
		return nil, err
	}
	n, err := r.networkOf(c)
	if n != nil {
		more, ferr := network.Facts(n)
		facts, err = append(facts, more...), errors.Join(err, ferr)
	}
	files, ferr := c.fileFacts()
	if !c.State.alive() {
		return nil, &NotRunningError{c.Config.Name}
	}
	return append(facts, files...), errors.Join(err, ferr)
}

// networkOf is what was asked for in the container's namespace, by whomever: nil for
// the host's, of which nobody has asked for anything.
func (r *Runtime) networkOf(c *Container) (*network.Config, error) {
	path := fmt.Sprintf("/proc/%d/ns/net", c.State.Pid)
	switch network.Mode(c.Config.Network.Mode) {
	case network.Host:
		return nil, nil
	case network.Container:
		other, err := r.Container(c.Config.Network.Join)
		if err == nil && other.Status == Running && other.State.Network != nil {
			return other.State.Network, nil
		}
	case network.Namespace:
		list, err := r.Adoptions()
		inode, ierr := network.Inode(path)
		for _, a := range list {
			if ierr == nil && a.Network.Netns.Inode == inode {
				return a.Network, nil
			}
		}
		return &network.Config{Mode: network.Namespace, Netns: network.Netns{Name: c.Config.Network.Join, Path: path, Foreign: true}}, errors.Join(err, ierr)
	}
	return c.State.Network, nil
}

// namespaceFact is where all of it is.
func (c *Container) namespaceFact() ([]network.Fact, error) {
	path := fmt.Sprintf("/proc/%d/ns/net", c.State.Pid)
	inode, err := network.Inode(path)
	if err != nil {
		return nil, err
	}
	f := network.Fact{Field: "namespace", Value: fmt.Sprintf("net:[%d]", inode), Source: path}
	if n := c.State.Network; n != nil && n.Netns.Inode != 0 {
		if f.Asked = fmt.Sprintf("net:[%d]", n.Netns.Inode); f.Asked != f.Value {
			f.Drift = "its first process has gone to another one"
		}
	}
	if c.Config.Network.Mode == string(network.Host) {
		f.Value += ", the host's"
	}
	if c.Config.Network.Mode == string(network.Container) {
		f.Value += ", that of " + c.Config.Network.Join
	}
	return []network.Fact{f}, nil
}

// fileFacts are the files that say who is who.
func (c *Container) fileFacts() (list []network.Fact, err error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", c.State.Pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, step.Fail("open the root of", c.Config.Name, err)
	}
	defer unix.Close(root)
	for _, path := range []string{"/etc/resolv.conf", "/etc/hosts", "/etc/hostname"} {
		own, ours := c.State.Files[path]
		f := network.Fact{Field: path, Source: fmt.Sprintf("/proc/%d/root%s", c.State.Pid, path)}
		content, st, err := readInRoot(root, path)
		switch {
		case err != nil:
			f.Drift = "gone: " + err.Error()
		case ours && (st.Dev != own.Device || st.Ino != own.Inode):
			f.Drift = "another file than minictr's lies there"
		case ours && sumOf(content) != own.Sum:
			f.Drift = "its content is not what minictr wrote"
		}
		if f.Value = summary(path, content); f.Drift == "" && ours {
			f.Asked = f.Value
		}
		if !ours && f.Drift != "" { // an image need not have one
			continue
		}
		list = append(list, f)
	}
	return list, nil
}

// readInRoot reads a file without following a link out of the root: it is the
// container's to choose what lies there.
func readInRoot(root int, path string) (content string, st unix.Stat_t, err error) {
	fd, err := unix.Openat2(root, path, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return "", st, err
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	if err := unix.Fstat(fd, &st); err != nil {
		return "", st, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "", st, errors.New("not a file")
	}
	b, err := io.ReadAll(io.LimitReader(file, maxOwnFile))
	return string(b), st, err
}

// summary is what a file says, without comments: of hosts the names of 127.0.0.1 and
// the like left out.
func summary(path, content string) string {
	var lines []string
	for line := range strings.Lines(content) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if path == "/etc/hosts" && slices.Contains([]string{"127.0.0.1", "::1", "fe00::0", "ff00::0", "ff02::1", "ff02::2"}, words[0]) {
			continue
		}
		lines = append(lines, strings.Join(words, " "))
	}
	return strings.Join(lines, "; ")
}
