package doctor

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// tcmsgBytes is the size of struct tcmsg.
const tcmsgBytes = 20

// tcmsg is struct tcmsg, linux/rtnetlink.h, for the link with the index, or all for 0.
func tcmsg(index int, parent uint32) nl.NetlinkRequestData {
	b := make([]byte, tcmsgBytes)
	nl.NativeEndian().PutUint32(b[4:], uint32(index))
	nl.NativeEndian().PutUint32(b[12:], parent)
	return raw(b)
}

// readQueues lists the qdiscs that are not what a link is born with, and of those at the
// ingress the filters.
func readQueues() (list []Queue, err error) {
	err = dump(unix.RTM_GETQDISC, tcmsg(0, 0), func(m []byte) error {
		if len(m) < tcmsgBytes {
			return errShort
		}
		q := Queue{Index: number(m[4:8])}
		err := attributes(m[tcmsgBytes:], func(kind uint16, b []byte) {
			switch kind {
			case unix.TCA_KIND:
				q.Kind = unix.ByteSliceToString(b)
			case unix.TCA_OPTIONS:
				q.parse(b)
			}
		})
		if !slices.Contains(born(), q.Kind) || q.Loses {
			list = append(list, q)
		}
		return err
	})
	if err != nil {
		if gone(err) { // a kernel without qdiscs has none that could lose packets
			return nil, nil
		}
		return nil, err
	}
	for i := range list {
		if err := list[i].readFilters(); err != nil && !gone(err) {
			return nil, err
		}
	}
	return list, nil
}

// born are the qdiscs that the kernel or the distribution gives a link by itself.
func born() []string {
	return []string{"noqueue", "pfifo_fast", "mq", "fq_codel", "fq", "pfifo", "bfifo", "noop", "sfq", "cake"}
}

// parse reads what of the options may lose packets. It comes behind the kind, as the
// kernel writes it.
func (q *Queue) parse(b []byte) {
	switch q.Kind {
	case "netem":
		q.parseNetem(b)
	case "pfifo", "bfifo": // struct tc_fifo_qopt
		if len(b) >= 4 && nl.NativeEndian().Uint32(b) == 0 {
			q.Text, q.Loses = "limit 0", true
		}
	case "tbf":
		_ = attributes(b, func(kind uint16, b []byte) { // the kernel's own message
			if kind == 1 && len(b) >= 12 { // TCA_TBF_PARMS: struct tc_ratespec, whose rate is at 8
				rate := nl.NativeEndian().Uint32(b[8:])
				q.Text, q.Slow = fmt.Sprintf("rate %s", bitrate(uint64(rate)*8)), rate < 16<<10
			}
		})
	}
}

// parseNetem reads struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter,
// and behind it TCA_NETEM_CORRUPT and, for delays in ns, TCA_NETEM_LATENCY64.
func (q *Queue) parseNetem(b []byte) {
	const size = 24
	if len(b) < size {
		return
	}
	words := func(at int) uint32 { return nl.NativeEndian().Uint32(b[at:]) }
	var texts []string
	if limit := words(4); limit < 2 {
		texts, q.Loses = append(texts, fmt.Sprintf("limit %d", limit)), true
	}
	if loss := words(8); loss > 0 {
		texts, q.Loses = append(texts, fmt.Sprintf("loss %.3g%%", float64(loss)/(1<<32)*100)), true
	}
	_ = attributes(b[size:], func(kind uint16, b []byte) { // the kernel's own message
		switch {
		case kind == 4 && len(b) >= 4 && nl.NativeEndian().Uint32(b) > 0: // TCA_NETEM_CORRUPT
			texts, q.Loses = append(texts, fmt.Sprintf("corrupt %.3g%%", float64(nl.NativeEndian().Uint32(b))/(1<<32)*100)), true
		case kind == 5: // TCA_NETEM_LOSS: a model of states
			texts, q.Loses = append(texts, "loss by a model"), true
		case kind == 10 && len(b) >= 8 && nl.NativeEndian().Uint64(b) > 0: // TCA_NETEM_LATENCY64
			ns := nl.NativeEndian().Uint64(b)
			texts, q.Slow = append(texts, fmt.Sprintf("delay %dms", ns/1e6)), q.Slow || ns >= 50e6
		case kind == 6 && len(b) >= 4: // TCA_NETEM_RATE: struct tc_netem_rate
			rate := nl.NativeEndian().Uint32(b)
			texts, q.Slow = append(texts, "rate "+bitrate(uint64(rate)*8)), q.Slow || rate > 0 && rate < 16<<10
		}
	})
	q.Text = strings.Join(texts, " ")
}

func bitrate(bits uint64) string {
	switch {
	case bits >= 1e6:
		return fmt.Sprintf("%dMbit", bits/1e6)
	case bits >= 1e3:
		return fmt.Sprintf("%dkbit", bits/1e3)
	}
	return fmt.Sprintf("%dbit", bits)
}

// The places at which filters of clsact hang, linux/pkt_sched.h.
const (
	ingressPlace = 0xFFFFFFF2
	egressPlace  = 0xFFFFFFF3
)

// readFilters looks for filters that drop.
func (q *Queue) readFilters() error {
	places := map[string]uint32{"ingress": 0xFFFF0000}
	if q.Kind == "clsact" {
		places = map[string]uint32{"ingress": ingressPlace, "egress": egressPlace}
	} else if q.Kind != "ingress" {
		places = map[string]uint32{"root": 0}
	}
	for _, name := range []string{"ingress", "egress", "root"} {
		parent, asked := places[name]
		if !asked {
			continue
		}
		err := dump(unix.RTM_GETTFILTER, tcmsg(q.Index, parent), func(m []byte) error {
			if len(m) < tcmsgBytes {
				return errShort
			}
			kind := ""
			return attributes(m[tcmsgBytes:], func(attribute uint16, b []byte) {
				switch attribute {
				case unix.TCA_KIND:
					kind = unix.ByteSliceToString(b)
				case unix.TCA_OPTIONS:
					if dropsIn(b, 3) {
						q.Drop = kind + " at " + name
					} else if kind == "bpf" && q.Drop == "" {
						q.Drop = "a bpf program at " + name
					}
				}
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dropsIn looks for an action that drops, below the options of any kind of filter:
// struct tc_gact and its like begin with index, capab, action (tc_gen), and a list of
// actions is nested by their numbers.
func dropsIn(b []byte, depth int) (drops bool) {
	if depth == 0 {
		return false
	}
	_ = attributes(b, func(_ uint16, b []byte) { // not everything is nested
		if hasDrop(b) {
			drops = true
		}
		drops = drops || dropsIn(b, depth-1)
	})
	return drops
}

// hasDrop reads one action: TCA_ACT_KIND "gact" or another, TCA_ACT_OPTIONS with its
// parameters.
func hasDrop(b []byte) bool {
	const kindOf, options, shot = 1, 2, 2 // TCA_ACT_KIND, TCA_ACT_OPTIONS, TC_ACT_SHOT
	kind, drop := "", false
	_ = attributes(b, func(attribute uint16, b []byte) { // not everything is an action
		switch attribute {
		case kindOf:
			kind = unix.ByteSliceToString(b)
		case options:
			_ = attributes(b, func(_ uint16, b []byte) { // the kernel's own message
				drop = drop || len(b) >= 20 && len(b) <= 64 && binary.NativeEndian.Uint32(b[8:]) == shot
			})
		}
	})
	return drop && slices.Contains([]string{"gact", "police", "mirred", "skbedit"}, kind)
}
