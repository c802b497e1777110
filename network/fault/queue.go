package fault

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
)

// queue is a queueing discipline at the root of a link that loses what it is given.
type queue struct {
	Netns network.Netns
	Index int
	Link  string
	Kind  string // a row of queues
}

// queues are the disciplines: the options of tc(8), and those of the kernel, or nil
// where the library has them.
func queues() map[string]string {
	return map[string]string{
		"pfifo": "pfifo limit 0",
		"tbf":   "tbf rate 8bit burst 64 limit 64",
		"netem": "netem loss 100%",
	}
}

func (s *queue) attributes() netlink.QdiscAttrs {
	return netlink.QdiscAttrs{LinkIndex: s.Index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)}
}

// rootQueue is the kind of the discipline at the root of the link.
func rootQueue(ns network.Netns, index int) (kind string, err error) {
	err = in(ns, func() error {
		if _, err := linkMessage(index); err != nil {
			return err
		}
		list, err := netlink.QdiscList(linkOf(index))
		for _, q := range list {
			if q.Attrs().Parent == netlink.HANDLE_ROOT && q.Attrs().LinkIndex == index {
				kind = q.Type()
			}
		}
		return err
	})
	return kind, err
}

func (s *queue) has() (bool, error) {
	kind, err := rootQueue(s.Netns, s.Index)
	return kind == s.Kind, err
}

func (s *queue) put() error {
	return in(s.Netns, func() error {
		switch s.Kind {
		case "tbf":
			return netlink.QdiscAdd(&netlink.Tbf{QdiscAttrs: s.attributes(), Rate: 1, Limit: 64, Buffer: 64 * tickRate})
		case "netem":
			err := netlink.QdiscAdd(netlink.NewNetem(s.attributes(), netlink.NetemQdiscAttrs{Loss: 100}))
			if errors.Is(err, unix.ENOENT) {
				err = fmt.Errorf("the kernel has no queue netem: %w", errors.ErrUnsupported)
			}
			return err
		}
		return s.addFIFO()
	})
}

// tickRate is how many ticks of the kernel's packet scheduler a second has, of 64 ns
// each: the time that the bytes of a burst take is told in them.
const tickRate = 1_000_000_000 / 64

// addFIFO makes a queue for no packets: the library does not know its options.
func (s *queue) addFIFO() error {
	r := nl.NewNetlinkRequest(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	r.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(s.Index), Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT})
	r.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated(s.Kind)))
	r.AddData(nl.NewRtAttr(nl.TCA_OPTIONS, nl.Uint32Attr(0))) // struct tc_fifo_qopt, limit
	_, err := r.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func (s *queue) take() error {
	return in(s.Netns, func() error {
		attributes := s.attributes()
		attributes.Handle = 0 // whatever it is
		return netlink.QdiscDel(&netlink.GenericQdisc{QdiscAttrs: attributes, QdiscType: s.Kind})
	})
}

func (s *queue) what() string { return "queue of " + s.Link + where(s.Netns) }

func (s *queue) command(put bool) string {
	if !put {
		return fmt.Sprintf("%s qdisc del dev %s root", tc(s.Netns), s.Link)
	}
	return fmt.Sprintf("%s qdisc add dev %s root handle 1: %s", tc(s.Netns), s.Link, queues()[s.Kind])
}

func tc(ns network.Netns) string { return strings.Replace(ip(ns), "ip", "tc", 1) }

// ingressFilter is a BPF program that throws away what comes in by a link, in the
// traffic control of its ingress.
type ingressFilter struct {
	Index int
	Link  string
}

func (s *ingressFilter) ingress() *netlink.Ingress {
	return &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: s.Index, Parent: netlink.HANDLE_INGRESS, Handle: netlink.MakeHandle(0xffff, 0)}}
}

func (s *ingressFilter) has() (bool, error) {
	if _, err := linkMessage(s.Index); err != nil {
		return false, err
	}
	list, err := netlink.QdiscList(linkOf(s.Index))
	for _, q := range list {
		if q.Type() == "ingress" && q.Attrs().LinkIndex == s.Index {
			return true, err
		}
	}
	return false, err
}

func (s *ingressFilter) put() error {
	program, err := loadProgram(unix.BPF_PROG_TYPE_SCHED_CLS, int32(netlink.TC_ACT_SHOT))
	if err != nil {
		return err
	}
	defer unix.Close(program)
	if err := netlink.QdiscAdd(s.ingress()); err != nil {
		return err
	}
	return netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: s.Index, Parent: netlink.MakeHandle(0xffff, 0), Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1},
		Fd:          program, Name: "drop.o:[classifier]", DirectAction: true,
	})
}

func (s *ingressFilter) take() error { return netlink.QdiscDel(s.ingress()) }

func (s *ingressFilter) what() string { return "filter of what comes in by " + s.Link }

func (s *ingressFilter) command(put bool) string {
	if !put {
		return "tc qdisc del dev " + s.Link + " ingress"
	}
	return fmt.Sprintf("tc qdisc add dev %s ingress\ntc filter add dev %s ingress matchall action drop", s.Link, s.Link)
}

// xdpProgram is a program that throws away what comes in by a link, before the kernel
// makes a packet of it (XDP).
type xdpProgram struct {
	Index int
	Link  string
}

// xdpDrop and xdpGeneric are XDP_DROP and XDP_FLAGS_SKB_MODE (linux/bpf.h, if_link.h).
// The generic mode leaves the queues and the offloads of the link as they are.
const (
	xdpDrop    = 1
	xdpGeneric = 1 << 1
)

func (s *xdpProgram) has() (bool, error) {
	l, err := netlink.LinkByIndex(s.Index)
	if err != nil {
		return false, missingLink(err)
	}
	return l.Attrs().Xdp != nil && l.Attrs().Xdp.Attached, nil
}

func (s *xdpProgram) put() error {
	program, err := loadProgram(unix.BPF_PROG_TYPE_XDP, xdpDrop)
	if err != nil {
		return err
	}
	defer unix.Close(program)
	return netlink.LinkSetXdpFdWithFlags(linkOf(s.Index), program, xdpGeneric)
}

func (s *xdpProgram) take() error {
	return netlink.LinkSetXdpFdWithFlags(linkOf(s.Index), -1, xdpGeneric)
}

func (s *xdpProgram) what() string { return "XDP program of " + s.Link }

func (s *xdpProgram) command(put bool) string {
	if !put {
		return "ip link set dev " + s.Link + " xdpgeneric off"
	}
	return "# drop.o is: SEC(\"xdp\") int drop(void *packet) { return 1; /* XDP_DROP */ }\n" +
		"ip link set dev " + s.Link + " xdpgeneric object drop.o section xdp"
}
