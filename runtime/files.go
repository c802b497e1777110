package runtime

import (
	"errors"
	"net/netip"
	"os"
	"slices"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// prepareFiles writes the container's /etc/hostname, /etc/hosts and
// /etc/resolv.conf and adds them to its mounts, as Docker does. They lie on a
// tmpfs that is attached nowhere: nothing is left of them when the container
// ends.
func (l *launch) prepareFiles() error {
	hosts, err := l.hostsFile()
	if err != nil {
		return err
	}
	resolv, err := l.resolvFile()
	if err != nil {
		return err
	}
	fd, err := mountDetached("tmpfs", mountOptions{set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC, data: []string{"mode=755", "size=1m"}})
	if err != nil {
		return step.Fail("mount tmpfs for", "/etc/hosts", err)
	}
	if fd, err = l.own(fd); err != nil {
		return err
	}
	l.plan.filesystem = fd
	for _, f := range []struct{ path, name, content string }{
		{"/etc/hostname", "hostname", network.Hostname(l.config.Hostname)},
		{"/etc/hosts", "hosts", hosts},
		{"/etc/resolv.conf", "resolv.conf", resolv},
	} {
		if l.mounted(f.path) {
			continue // the user has put a file of theirs there
		}
		if err := l.addFile(fd, f.path, f.name, f.content); err != nil {
			return step.Fail("write the container's", f.path, err)
		}
	}
	return nil
}

// addFile writes a file on the detached tmpfs and adds it to the mounts.
func (l *launch) addFile(tmpfs int, path, name, content string) error {
	fd, err := unix.Openat(tmpfs, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return os.NewSyscallError("openat", err)
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	// As root of the container, whatever the mask of this process.
	if err := file.Chmod(0o644); err != nil {
		return err
	}
	if err := file.Chown(int(l.config.hostUID(0)), int(l.config.hostGID(0))); err != nil {
		return err
	}
	if _, err := file.WriteString(content); err != nil {
		return err
	}
	if err := l.rememberFile(path, file, content); err != nil {
		return err
	}
	i := len(l.plan.spec.Mounts)
	l.plan.names[i], l.plan.files[i] = name, true
	l.plan.spec.Mounts = append(l.plan.spec.Mounts, specs.Mount{Destination: path, Type: "bind", Source: name, Options: []string{"bind"}})
	return nil
}

// mounted reports whether the user has asked for a mount at the path.
func (l *launch) mounted(path string) bool {
	for _, m := range l.config.Mounts {
		if m.Destination == path {
			return true
		}
	}
	return false
}

// hostsFile is of the container's own network, or of the one that it shares.
func (l *launch) hostsFile() (string, error) {
	r := network.HostsRequest{Hostname: l.config.Hostname, Add: l.config.DNS.AddHosts}
	n := l.network
	if l.host != nil {
		n, r.Hostname = l.host.State.Network, l.host.Config.Hostname
		r.Add = append(r.Add[:len(r.Add):len(r.Add)], l.host.Config.DNS.AddHosts...)
	}
	if n != nil {
		r.Endpoints = n.Endpoints
	}
	var err error
	if r.Base, err = l.netnsFile("hosts"); err != nil {
		return "", err
	}
	return network.Hosts(r)
}

// netnsFile is the file that ip-netns(8) keeps for the namespace that the container
// joins, or the one does that it shares the network of; nil without one.
func (l *launch) netnsFile(name string) ([]byte, error) {
	n := l.config.Network
	if l.host != nil {
		n = l.host.Config.Network
	}
	if n.Mode != string(network.Namespace) {
		return nil, nil
	}
	return network.NetnsFile(n.Join, name)
}

func (l *launch) resolvFile() (string, error) {
	c := l.config
	d, mode := c.DNS, c.Network.Mode
	if l.host != nil && len(d.Servers) == 0 {
		d, mode = l.host.Config.DNS, l.host.Config.Network.Mode
	}
	r := network.ResolvRequest{
		NameServers: l.nameServers(), Servers: d.Servers, Search: d.Search, Options: d.Options, HostNetwork: mode == "host",
	}
	if err := r.ReadResolvConf("/"); err != nil {
		return "", err
	}
	own, err := l.netnsFile("resolv.conf")
	if err != nil {
		return "", err
	}
	if own != nil {
		r.Host, r.HostNetwork = own, true
	}
	content, warning, err := network.ResolvConf(r)
	if warning != "" && mode == "bridge" && l.watch.Warn != nil {
		l.watch.Warn(warning)
	}
	return content, err
}

// nameServers are those of the container's networks, or of the ones of the container
// whose network it shares, but for servers that could not be started.
func (l *launch) nameServers() []netip.Addr {
	n := l.network
	if l.host != nil {
		n = l.host.State.Network
	}
	if n == nil {
		return nil
	}
	l.mu.Lock() // the servers are started meanwhile
	defer l.mu.Unlock()
	answering := *n
	answering.Endpoints = slices.DeleteFunc(slices.Clone(n.Endpoints), func(e network.Endpoint) bool {
		return slices.Contains(l.nameless, e.Network.Name)
	})
	return answering.NameServers()
}

// makeNames lets others find the container by its names. A network without a name
// server is told; its containers ask the host's servers.
func (l *launch) makeNames() error {
	steps := network.Names(l.network)
	if err := l.apply(steps...); err != nil {
		return err
	}
	for _, s := range steps {
		if start, ok := s.(*network.StartNames); ok && start.Failed() != nil {
			l.mu.Lock()
			l.nameless = append(l.nameless, start.Network.Name)
			l.mu.Unlock()
			l.warn(start.Failed().Error() + ": containers are not found by name there")
		}
	}
	return nil
}

// rewriteResolv puts other servers into /etc/resolv.conf, when those that were to be
// there could not be started. The child may have mounted the file already.
func (l *launch) rewriteResolv() error {
	if len(l.nameless) == 0 || l.mounted("/etc/resolv.conf") {
		return nil
	}
	content, err := l.resolvFile()
	if err != nil {
		return err
	}
	fd, err := unix.Openat(l.plan.filesystem, "resolv.conf", unix.O_WRONLY|unix.O_TRUNC|unix.O_CLOEXEC, 0)
	if err != nil {
		return step.Fail("write the container's", "/etc/resolv.conf", err)
	}
	file := os.NewFile(uintptr(fd), "resolv.conf")
	_, err = file.WriteString(content)
	err = errors.Join(err, l.rememberFile("/etc/resolv.conf", file, content), file.Close())
	if err != nil {
		return step.Fail("write the container's", "/etc/resolv.conf", err)
	}
	if l.state == nil {
		return nil // that could not be written; the launch is about to fail
	}
	l.state.Files = l.files
	return l.keepState(true) // which says what the file is
}
