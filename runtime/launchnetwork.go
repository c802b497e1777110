package runtime

import (
	"errors"
	"fmt"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/runtime/step"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// networkBegin resolves the network and makes what its containers share, beside
// the stages that make the root file system; networkEnd waits for it.
func (l *launch) networkBegin() error {
	l.networkDone = make(chan error, 1)
	go func() { l.networkDone <- l.resolveNetwork() }()
	return nil
}

// networkEnd waits for networkBegin and remembers its steps for undo.
func (l *launch) networkEnd() error {
	err := <-l.networkDone
	l.networkDone = nil
	return err
}

// request is what network.Resolve is asked.
func (r *Runtime) request(c *Config) network.Request {
	mode := c.Network.Mode
	if c.Network.Join != "" {
		mode += ":" + c.Network.Join
	}
	return network.Request{
		Network: mode, IP: c.Network.IP, MAC: c.Network.MAC,
		Owner: c.ID, Name: c.Name, RunRoot: r.Runroot, Alive: r.holds,
	}
}

// resolveNetwork takes the lease and makes the bridge and what belongs to it.
func (l *launch) resolveNetwork() error {
	if !l.config.ownNetwork() {
		return nil
	}
	cfg, err := network.Resolve(l.request(l.config))
	if err != nil {
		return err
	}
	l.network = cfg
	return l.apply(network.Shared(cfg)...)
}

// prepareNamespaces settles which namespaces clone3 makes, and opens the one of
// --network container: and ns:.
func (l *launch) prepareNamespaces() error {
	for _, n := range l.plan.spec.Linux.Namespaces {
		if n.Path == "" {
			if n.Type != specs.CgroupNamespace || !l.plan.cgroupNS {
				l.plan.cloneFlags |= namespaceFlags[n.Type]
			}
			continue
		}
		path := n.Path
		if l.config.Network.Mode == "container" {
			other, err := l.Container(l.config.Network.Join)
			if err != nil {
				return fmt.Errorf("join the network of %s: %w", l.config.Network.Join, err)
			}
			if other.Status != Running {
				return fmt.Errorf("join the network of %s: %w", l.config.Network.Join, &NotRunningError{other.Config.Name})
			}
			path = fmt.Sprintf("/proc/%d/ns/net", other.State.Pid)
			l.sharesNames = other.Config.ID
		}
		file, err := network.Netns{Path: path}.Open()
		if err != nil {
			return fmt.Errorf("join the network namespace %s: %w", path, err)
		}
		fd, err := l.stream(file)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
		l.plan.joins = append(l.plan.joins, join{kind: specs.NetworkNamespace, fd: fd, path: path})
	}
	return nil
}

// connect makes the container's side of the network. The veth dies with the
// namespace, so none of its steps needs an undo.
func (l *launch) connect() error {
	if l.network == nil {
		return nil
	}
	l.network.Netns.Path = fmt.Sprintf("/proc/%d/ns/net", l.pid)
	return l.applyOnly(network.Endpoint(l.network))
}

// releaseLease is the undo of taking an address.
func (l *launch) releaseLease() error {
	if l.network == nil {
		return nil
	}
	return network.Release(l.network)
}

// NetworkScript returns, as a shell script, what would make the container's
// network: the same steps that Run applies, and none of them applied. The
// container's namespace is one that ip-netns(8) makes, named like the container.
func (r *Runtime) NetworkScript(c *Config) (string, error) {
	if err := r.fill(c); err != nil {
		return "", err
	}
	request := r.request(c)
	request.DryRun = true
	cfg, err := network.Resolve(request)
	if err != nil {
		return "", err
	}
	var steps []step.Step
	if c.ownNetwork() {
		steps = append(steps, &network.AddNetns{Name: cfg.Netns.Name})
	}
	steps = append(steps, network.Shared(cfg)...)
	return step.Script(append(steps, network.Endpoint(cfg)...)), nil
}
