package runtime

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/firewall"
	"github.com/minictr/minictr/runtime/step"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The network is made by a goroutine beside everything else: it costs the kernel
// as much time as all the rest together.
//
//	launch                            networkBegin
//	------                            ------------
//	cgroup, overlay, files            a network namespace
//	   │  ◄── resolved: the address ──  an address lease
//	bind mounts, compile, clone3       bridge, forwarding, masquerade
//	the child mounts                   veth, addresses, route
//	state.json                            │
//	release ◄── networkEnd ────────────── done
//
// The namespace is there before the child, which enters it. In a user namespace
// that would be the wrong owner: there clone3 makes the network namespace, and
// the container's side of the network waits for the child.

// lateNetwork reports whether the network namespace is made by clone3.
func (l *launch) lateNetwork() bool { return len(l.config.UIDMappings) > 0 }

// outcome is what became of making the network.
type outcome struct{ err error }

// networkBegin starts making the network.
func (l *launch) networkBegin() error {
	l.resolved, l.networkDone = make(chan error, 1), make(chan outcome, 1)
	if !l.config.ownNetwork() {
		l.resolved <- nil
		l.networkDone <- outcome{}
		return nil
	}
	if l.watch.Ask != nil {
		return l.networkInOrder()
	}
	go func() { l.networkDone <- outcome{l.makeNetwork()} }()
	return nil
}

// networkInOrder makes the network before all else, for whoever is asked before each
// step.
func (l *launch) networkInOrder() error {
	err := l.makeNetwork()
	l.networkDone <- outcome{}
	resolved := <-l.resolved
	l.resolved <- nil
	return errors.Join(resolved, err)
}

func (l *launch) makeNetwork() error {
	err := l.resolveNetwork()
	l.resolved <- err
	if err != nil {
		return nil // it has been told
	}
	l.askFirewalls()
	shared := network.Shared(l.network)
	if err := l.apply(shared...); err != nil {
		return err
	}
	l.watch.tellForwarding(shared)
	l.restoreOthers(shared)
	if err := l.makeNames(); err != nil {
		return err
	}
	if l.lateNetwork() {
		return nil
	}
	return l.plugIn()
}

// restoreOthers puts back what other containers had in a table that somebody has
// taken away, now that this launch has made it again.
func (l *launch) restoreOthers(steps []step.Step) {
	for _, s := range steps {
		if f, ok := s.(*network.AddFirewall); ok && f.MadeTable() {
			if err := l.reloadContainers(l.watch, l.config.ID); err != nil {
				l.warn("what other containers had in the nftables table could not be put back: " + err.Error())
			}
			return
		}
	}
}

// plugIn makes the container's side of the network, which dies with its namespace,
// and then publishes its ports.
func (l *launch) plugIn() error {
	if err := l.applyOnly(network.Inside(l.network)); err != nil {
		return err
	}
	return l.apply(network.Publish(l.network)...)
}

// tellForwarding says so when ip_forward was off: it changes what the host does
// for others too.
func (w Watch) tellForwarding(steps []step.Step) {
	for _, s := range steps {
		switch s := s.(type) {
		case *network.SetSysctl:
			if was, changed := s.Changed(); changed && s.Key == "net/ipv4/ip_forward" {
				w.warn("net.ipv4.ip_forward was " + was + " and is 1 now: the host passes packets on between its links")
			}
		case *network.ForwardIPv6:
			if _, changed := s.Changed(); changed {
				w.warn("net.ipv6.conf.all.forwarding was 0 and is 1 now: the host passes IPv6 packets on between its links")
			}
		}
	}
}

// resolveNetwork makes the namespace and takes the lease.
func (l *launch) resolveNetwork() error {
	if !l.lateNetwork() {
		if err := l.apply(&makeNetns{launch: l}); err != nil {
			return err
		}
	}
	cfg, err := network.Resolve(l.request(l.config))
	if err != nil {
		return l.nameUsers(err)
	}
	l.network = cfg
	if l.netns != nil {
		cfg.Netns.Path = fmt.Sprintf("/proc/self/fd/%d", l.netns.Fd())
	}
	return nil
}

// awaitAddress waits until the namespace is there and the address is known.
func (l *launch) awaitAddress() error {
	err := <-l.resolved
	l.resolved = nil
	return err
}

// networkEnd waits until the network is made.
func (l *launch) networkEnd() error {
	made := <-l.networkDone
	l.networkDone = nil
	if l.advice != nil {
		(<-l.advice)()
	}
	return made.err
}

// askFirewalls looks, beside everything else, whether another firewall of the host
// stands in the container's way.
func (l *launch) askFirewalls() {
	if l.watch.Warn == nil || len(l.network.Endpoints) == 0 {
		return
	}
	l.advice = make(chan func(), 1)
	cfg := *l.network
	go func() {
		findings, err := network.Advise(&cfg)
		l.advice <- func() { l.watch.tellFindings(findings, err) }
	}()
}

// tellFindings says what another firewall drops, and the cure.
func (w Watch) tellFindings(findings []firewall.Finding, err error) {
	for _, f := range findings {
		w.warn(f.String())
	}
	if err != nil {
		w.warn(err.Error())
	}
}

// settleNetwork ends what networkBegin has begun, whatever became of it.
func (l *launch) settleNetwork() {
	if l.networkDone != nil {
		<-l.networkDone // the error that ended the launch is told already
	}
	if l.netns != nil {
		l.netns.Close()
	}
}

// connect makes the container's side of a late network, and finishes that of
// any. The veth dies with the namespace, so none of its steps needs an undo.
func (l *launch) connect() error {
	if err := l.networkEnd(); err != nil || l.network == nil {
		return err
	}
	if err := l.rewriteResolv(); err != nil {
		return err
	}
	if !l.lateNetwork() {
		return nil
	}
	l.network.Netns.Path = fmt.Sprintf("/proc/%d/ns/net", l.pid)
	return l.plugIn()
}

// lastingNetwork is the network as other processes find it: its namespace by the
// container's pid, and by its inode, in case that the pid is another's by then.
func (l *launch) lastingNetwork() (*network.Config, error) {
	if l.network == nil {
		return nil, nil
	}
	lasting := *l.network
	path := fmt.Sprintf("/proc/%d/ns/net", l.pid)
	if l.netns != nil { // the child may not have entered it yet
		path = fmt.Sprintf("/proc/self/fd/%d", l.netns.Fd())
	}
	var err error
	lasting.Netns.Inode, err = network.Inode(path)
	lasting.Netns.Path = fmt.Sprintf("/proc/%d/ns/net", l.pid)
	return &lasting, err
}

// makeNetns is the container's network namespace.
type makeNetns struct{ launch *launch }

func (s *makeNetns) Apply() (err error) {
	s.launch.netns, err = network.NewNetns()
	return step.Fail("make the network namespace of", s.launch.config.Name, err)
}

// Undo has nothing to do: the namespace ends with its last descriptor.
func (s *makeNetns) Undo() error { return nil }

func (s *makeNetns) Check() error {
	if s.launch.netns == nil {
		return os.ErrNotExist
	}
	return nil
}

func (s *makeNetns) Words() string {
	return "make a network namespace: links, addresses, routes and firewall of its own"
}

func (s *makeNetns) String() string { return "ip netns add " + s.launch.config.Name }

// request is what network.Resolve is asked.
func (r *Runtime) request(c *Config) network.Request {
	n := c.Network
	if n.Mode == string(network.Bridge) && len(n.Uses) == 0 {
		n.Uses = []network.Use{{Network: network.DefaultNetwork}}
	}
	return network.Request{
		Mode: network.Mode(n.Mode), Join: n.Join, Uses: n.Uses, Ports: n.Ports, Servers: c.DNS.addresses(),
		Owner: c.ID, Name: c.Name, Store: r.Networks(), Alive: r.holds, Settled: r.settled,
	}
}

// settleTime is how long a launch may take to make the container's network, once
// the container is written down.
const settleTime = 2 * time.Second

// settled reports whether the container runs, and its network is made.
func (r *Runtime) settled(id string) bool {
	s := r.state(id)
	return s.alive() && time.Since(s.Started) > settleTime
}

// prepareNamespaces settles which namespaces clone3 makes, and opens those to
// enter instead.
func (l *launch) prepareNamespaces() error {
	for _, n := range l.plan.spec.Linux.Namespaces {
		switch {
		case n.Type == specs.NetworkNamespace && n.Path != "":
			if err := l.joinNetwork(n.Path); err != nil {
				return err
			}
		case n.Type == specs.NetworkNamespace && l.netns != nil:
			if err := l.join(l.netns, "of the container's own"); err != nil {
				return err
			}
		case n.Type == specs.CgroupNamespace && l.plan.cgroupNS: // later, when it is in its group
		default:
			l.plan.cloneFlags |= namespaceFlags[n.Type]
		}
	}
	return nil
}

// joinNetwork opens the namespace of --network container: and ns:.
func (l *launch) joinNetwork(path string) error {
	if l.config.Network.Mode == "container" {
		other, err := l.Container(l.config.Network.Join)
		if err == nil && other.Status != Running {
			err = &NotRunningError{other.Config.Name}
		}
		if err != nil {
			return fmt.Errorf("join the network of %s: %w", l.config.Network.Join, err)
		}
		path = fmt.Sprintf("/proc/%d/ns/net", other.State.Pid)
		l.host = other
	}
	file, err := network.JoinedNetns(path).Open()
	if err != nil {
		return fmt.Errorf("join the network namespace %s: %w", path, err)
	}
	return errors.Join(l.join(file, path), file.Close())
}

func (l *launch) join(file *os.File, path string) error {
	fd, err := l.stream(file)
	l.plan.joins = append(l.plan.joins, join{kind: specs.NetworkNamespace, fd: fd, path: path})
	return err
}

// releaseLease is the undo of taking an address.
func (l *launch) releaseLease() error {
	if l.network == nil {
		return nil
	}
	return network.Release(l.network)
}

// NetworkScript returns, as a shell script, what would make the container's
// network, and the volumes and directories that are missing: the same steps that
// Run applies, and none of them applied. The container's namespace is one that
// ip-netns(8) makes, named like the container.
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
	steps := r.sourceSteps(c)
	if c.ownNetwork() {
		steps = append(steps, &network.AddNetns{Name: cfg.Netns.Name})
	}
	steps = slices.Concat(steps, network.Shared(cfg), network.Names(cfg), network.Inside(cfg))
	return step.Script(append(steps, network.Publish(cfg)...)), nil
}
