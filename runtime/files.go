package runtime

import (
	"github.com/minictr/minictr/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// prepareFiles writes the container's /etc/hostname, /etc/hosts and
// /etc/resolv.conf and adds them to its mounts, as Docker does. A container in
// the host's network, or in another container's, shares that one's names.
func (l *launch) prepareFiles() error {
	c := l.config
	hosts, err := l.hostsFile()
	if err != nil {
		return err
	}
	resolv, err := l.resolvFile()
	if err != nil {
		return err
	}
	for _, f := range []struct{ name, content, path string }{
		{"hostname", network.Hostname(c.Hostname), "/etc/hostname"},
		{"hosts", hosts, "/etc/hosts"},
		{"resolv.conf", resolv, "/etc/resolv.conf"},
	} {
		if l.mounted(f.path) {
			continue // the user has put a file of theirs there
		}
		source := l.lasting(c.ID, f.name)
		if l.sharesNames != "" && f.name != "hostname" {
			source = l.lasting(l.sharesNames, f.name)
		} else if err := l.apply(&writeFile{path: source, value: f.content, mode: 0o644, words: "write the container's " + f.path}); err != nil {
			return err
		}
		l.plan.spec.Mounts = append(l.plan.spec.Mounts, specs.Mount{Destination: f.path, Type: "bind", Source: source, Options: []string{"bind"}})
	}
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

func (l *launch) hostsFile() (string, error) {
	r := network.HostsRequest{Hostname: l.config.Hostname, Add: l.config.DNS.AddHosts}
	if n := l.network; n != nil {
		r.Address, r.Gateway = n.Interface.Address.Addr(), n.Network.Gateway.Addr()
	}
	return network.Hosts(r)
}

func (l *launch) resolvFile() (string, error) {
	d := l.config.DNS
	r := network.ResolvRequest{Servers: d.Servers, Search: d.Search, Options: d.Options, HostNetwork: l.config.Network.Mode == "host"}
	if err := r.ReadResolvConf("/"); err != nil {
		return "", err
	}
	content, warning, err := network.ResolvConf(r)
	if warning != "" && l.config.Network.Mode == "bridge" {
		l.warn(warning)
	}
	return content, err
}

// warn tells what works less well than asked.
func (l *launch) warn(text string) {
	if l.watch.Warn != nil {
		l.watch.Warn(text)
	}
}
