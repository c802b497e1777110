package doctor

import (
	"errors"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// What survey does not read is asked for here: queues, the tables of neighbours, and
// single routes.

// errShort says that a message of the kernel ends too early.
var errShort = errors.New("netlink message too short")

// dump asks the namespace of the calling thread for a list, and begins again when it
// changes meanwhile.
func dump(kind int, head nl.NetlinkRequestData, each func(message []byte) error, more ...nl.NetlinkRequestData) error {
	var messages [][]byte
	var err error
	for range 5 {
		r := nl.NewNetlinkRequest(kind, unix.NLM_F_DUMP)
		r.AddData(head)
		for _, m := range more {
			r.AddData(m)
		}
		messages, err = r.Execute(unix.NETLINK_ROUTE, 0)
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil && !errors.Is(err, nl.ErrDumpInterrupted) {
		return err
	}
	for _, m := range messages {
		if err := each(m); err != nil {
			return err
		}
	}
	return nil
}

// attributes gives each attribute of b to f.
func attributes(b []byte, f func(kind uint16, value []byte)) error {
	list, err := nl.ParseRouteAttr(b)
	if err != nil {
		return err
	}
	for _, a := range list {
		f(a.Attr.Type&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), a.Value)
	}
	return nil
}

func number(b []byte) int {
	switch {
	case len(b) >= 4:
		return int(int32(nl.NativeEndian().Uint32(b)))
	case len(b) >= 2:
		return int(nl.NativeEndian().Uint16(b))
	case len(b) == 1:
		return int(b[0])
	}
	return 0
}

// raw are bytes of a message.
type raw []byte

// Len is how many they are.
func (r raw) Len() int { return len(r) }

// Serialize gives them as they are.
func (r raw) Serialize() []byte { return r }

// readNeighbourTables reads how full the tables of neighbours are: what RTM_GETNEIGHTBL says of
// the two families. Their limits are the machine's, as is what is in them.
func (f *Filled) readNeighbourTables() error {
	return dump(unix.RTM_GETNEIGHTBL, raw([]byte{unix.AF_UNSPEC, 0, 0, 0}), func(m []byte) error {
		const name, limit, config = 1, 4, 5 // NDTA_NAME, NDTA_THRESH3, NDTA_CONFIG
		table, max, entries := "", 0, 0
		if len(m) < 4 {
			return errShort
		}
		err := attributes(m[4:], func(kind uint16, b []byte) {
			switch kind {
			case name:
				table = unix.ByteSliceToString(b)
			case limit:
				max = number(b)
			case config:
				const at = 4 // struct ndt_config: two 16-bit sizes, then ndtc_entries
				if len(b) >= at+4 {
					entries = number(b[at:])
				}
			}
		})
		switch {
		case max == 0: // of a link
		case table == "arp_cache":
			f.Neighbours, f.NeighboursMax, f.NeighboursKnown = entries, max, true
		case table == "ndisc_cache":
			f.Neighbours6, f.NeighboursMax6 = entries, max
		}
		return err
	})
}

// gone tells an error that says that what was asked for is not there any more, or not
// in this kernel.
func gone(err error) bool {
	for _, e := range []syscall.Errno{unix.ENOENT, unix.ESRCH, unix.ENODEV, unix.EOPNOTSUPP, unix.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
