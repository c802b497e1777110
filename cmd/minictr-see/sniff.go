package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network/capture"
	"github.com/minictr/minictr/network/capture/pcapfilter"
	"github.com/minictr/minictr/network/namespaces"
	"github.com/minictr/minictr/network/survey"
	"github.com/minictr/minictr/runtime"
)

// sniffFlags say what is captured, and how it is shown.
type sniffFlags struct {
	write      string
	count      int
	interfaces []string
	uplink     bool
	print      bool
	show       sniffShow
}

func sniffCommand(a *app) *cobra.Command {
	var f sniffFlags
	c := &cobra.Command{
		Use:   "sniff TARGET [FILTER…]",
		Short: "show the packets of a container, at both ends of its cable",
		Long: `Show the packets of a container, or another network namespace, one a line, as they are seen at both ends of its
cable: "out eth0>veth12ab" was sent by the container and came out of the other end,
"out eth0 only" did not. Where the host translates addresses, the line tells the others.

FILTER is an expression of pcap-filter(7), as tcpdump takes it: 'tcp port 80 and not
host 10.0.0.1', 'icmp', 'udp port 53', 'tcp[tcpflags] & tcp-syn != 0'. The addresses are
those that the container knows; containers may be called by their names.

` + targetForms,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.sniff(args[0], strings.Join(args[1:], " "), f) },
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.runningNames(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	s := c.Flags()
	s.SetInterspersed(true)
	s.StringVarP(&f.write, "write", "w", "", "write the packets to `FILE` as pcapng, for tcpdump -r and Wireshark, and show none; - is standard output")
	s.BoolVar(&f.print, "print", false, "show them even with -w")
	s.IntVarP(&f.count, "count", "c", 0, "end after `COUNT` packets")
	s.StringArrayVarP(&f.interfaces, "interface", "i", nil, "only at this `INTERFACE` of the container; lo is one, too")
	s.BoolVarP(&f.uplink, "uplink", "u", false, "also where the container's packets leave the host, with the host's address")
	s.BoolVarP(&f.show.numeric, "numeric", "n", false, "addresses of containers as numbers")
	s.BoolVarP(&f.show.link, "link", "e", false, "with the addresses of Ethernet")
	s.BoolVarP(&f.show.verbose, "verbose", "v", false, "with the header of IP, and the time from one end to the other")
	s.BoolVar(&f.show.json, "json", false, "a line of JSON for each packet")
	return c
}

// runningNames are the names of the containers that run.
func (a *app) runningNames() (names []string) {
	list, _ := a.runtime().List() // what can be read is offered
	for _, c := range list {
		if c.Status == runtime.Running {
			names = append(names, c.Config.Name)
		}
	}
	return names
}

// sniff captures until it is interrupted, there was enough, or the container ends.
func (a *app) sniff(name, expression string, f sniffFlags) error {
	if f.count < 0 {
		return usageError{fmt.Errorf("--count %d: not a number of packets", f.count)}
	}
	t, err := a.target(name)
	if err != nil {
		return err
	}
	defer t.close()
	hosts, err := a.containerAddresses()
	if err != nil {
		a.warn(err)
	}
	filter, err := pcapfilter.Compile(expression, hosts.resolve)
	if err != nil {
		return usageError{err}
	}
	places, err := a.sniffPlaces(t, f)
	if err != nil {
		return err
	}
	s := &sniffer{app: a, name: t.netnsName(), flags: f, places: places, hosts: hosts, filter: filter}
	return s.run(t.pidfd)
}

// sniffPlaces finds where to look. A container's cable leads to the host; that of another
// namespace may lead to any.
func (a *app) sniffPlaces(t *target, f sniffFlags) ([]capture.Place, error) {
	netns, err := t.netns()
	if err != nil {
		return nil, err
	}
	source := survey.Source{Path: netns.Path, Inode: netns.Inode}
	inside, err := survey.ReadOne(source)
	if err != nil {
		return nil, fmt.Errorf("read the network of %s: %w", t, err)
	}
	sources := []survey.Source{source}
	if t.container == nil {
		others, err := namespaces.Read(namespaces.Network)
		if err != nil {
			return nil, err
		}
		for _, n := range others {
			if path := pathOf(n); path != "" && n.Inode != source.Inode {
				sources = append(sources, survey.Source{Path: path, Inode: n.Inode})
			}
		}
	}
	host, err := survey.Read(sources)
	if err != nil {
		return nil, fmt.Errorf("read the host's network: %w", err)
	}
	if n := host.Namespace(inside.Inode); n != nil {
		inside = n
	}
	places, notes, err := capture.Places(host, inside, f.interfaces, f.uplink)
	for _, n := range notes {
		a.warn(errors.New(n))
	}
	return places, err
}

// hosts are the addresses of containers.
type hosts struct {
	names     map[netip.Addr]string
	addresses map[string][]netip.Addr
}

func (a *app) containerAddresses() (hosts, error) {
	h := hosts{map[netip.Addr]string{}, map[string][]netip.Addr{}}
	list, err := a.runtime().List()
	for _, c := range list {
		if c.Status != runtime.Running || c.State.Network == nil {
			continue
		}
		for _, e := range c.State.Network.Endpoints {
			for _, p := range e.Interface.Addresses() {
				h.names[p.Addr()] = c.Config.Name
				h.addresses[c.Config.Name] = append(h.addresses[c.Config.Name], p.Addr())
			}
		}
	}
	return h, err
}

// resolve finds a host of a filter: a container, or whom the host's resolver knows.
func (h hosts) resolve(name string) ([]netip.Addr, error) {
	if list := h.addresses[name]; len(list) > 0 {
		return list, nil
	}
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	for i := range list {
		list[i] = list[i].Unmap()
	}
	return list, err
}

// A sniffer is one run of sniff.
type sniffer struct {
	*app
	name   string
	flags  sniffFlags
	places []capture.Place
	hosts  hosts
	filter []bpf.Instruction

	tracker *capture.Tracker
	view    *sniffView
	file    *captureFile
	seen    int
	lost    int // seen at one end only
}

// shownBytes are enough for what is shown of a packet.
const shownBytes = 2048

func (s *sniffer) run(ended int) (err error) {
	if s.tracker, err = capture.NewTracker(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.tracker.Close()) }()
	s.view = newSniffView(s)
	if s.flags.write != "" {
		if s.file, err = createCapture(s.flags.write, s.out, s.places); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.file.close()) }()
	}
	vm, err := bpf.NewVM(s.filter)
	if err != nil {
		return err
	}
	// Interrupts are ours from here on: what is captured is told of.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	most := shownBytes
	if s.flags.write != "" {
		most = capture.Whole
	}
	c, err := capture.Open(s.places, s.filter, most, func(one capture.Copy) bool { return s.view.concerns(one, vm) })
	if err != nil {
		return err
	}
	defer c.Close()
	c.Down = func(p capture.Place) {
		fmt.Fprintf(s.err, "%s has gone down, or away\n", terminal.Visible(p.Name))
	}
	fmt.Fprintf(s.err, "listening on %s of %s, Ctrl-C ends it\n", placeNames(s.places), terminal.Visible(s.name))
	watch, gone := s.untilEnd(ctx, ended)
	err = c.Run(watch, s.show)
	dropped, derr := c.Dropped()
	c.Close() // the container's namespace may go now
	s.summary(dropped, gone())
	return errors.Join(err, derr)
}

func placeNames(places []capture.Place) string {
	var names []string
	for _, p := range places {
		names = append(names, terminal.Visible(p.Name)+" ("+string(p.Role)+")")
	}
	return strings.Join(names, ", ")
}

// untilEnd is a context that ends with the container, too; gone tells whether it has. A
// namespace that is not a process's has no such end: then ended is -1, which poll(2)
// takes for nothing.
func (s *sniffer) untilEnd(ctx context.Context, ended int) (_ context.Context, gone func() bool) {
	ctx, cancel := context.WithCancel(ctx)
	const pace = 100 // ms
	isGone := func(wait int) bool {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(ended), Events: unix.POLLIN}}, wait) // EINTR: it is asked again
		return n > 0
	}
	go func() {
		for ctx.Err() == nil && !isGone(pace) {
		}
		cancel()
	}()
	return ctx, func() bool { return isGone(0) }
}

// show shows a packet, or writes it.
func (s *sniffer) show(one *capture.Sighting) (more bool, err error) {
	line, err := s.view.line(one)
	if err != nil {
		return false, err
	}
	s.seen++
	if one.Missed >= 0 {
		s.lost++
	}
	if s.file != nil {
		if err := s.file.Write(one, line.comment()); err != nil {
			return false, err
		}
	}
	if s.file == nil || s.flags.print {
		if err := s.view.print(line); err != nil {
			return false, err
		}
	}
	return s.flags.count == 0 || s.seen < s.flags.count, nil
}

// summary tells what was seen and what not.
func (s *sniffer) summary(dropped []int, gone bool) {
	if gone {
		fmt.Fprintf(s.err, "%s has ended\n", terminal.Visible(s.name))
	}
	fmt.Fprintf(s.err, "%d packets captured\n", s.seen)
	if s.lost > 0 {
		fmt.Fprintf(s.err, "%d of them at one end of the cable only\n", s.lost)
	}
	total := 0
	for i, n := range dropped {
		if total += n; n > 0 {
			fmt.Fprintf(s.err, "%d packets dropped by kernel at %s: the other end's copies of them look as if they had been lost\n", n, terminal.Visible(s.places[i].Name))
		}
	}
	if total == 0 {
		fmt.Fprintln(s.err, "0 packets dropped by kernel")
	}
}

// widest is the longest of words.
func widest(words []string) int {
	n := 0
	for _, w := range words {
		n = max(n, len([]rune(w)))
	}
	return n
}
