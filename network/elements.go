package network

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An element is one entry of a set or a map of ours.
type element struct {
	set     string
	key     []byte
	end     []byte // of an interval: of set subnets the first key behind it, else the last in it
	value   []byte // of a map
	comment string
}

// command is the nft command that adds the element.
func (t table) command(e element) string { return t.change("add", e) }

// change is the command of the verb, add or delete, for the element.
func (t table) change(verb string, e element) string {
	text := t.keyText(e)
	if e.comment != "" {
		text += fmt.Sprintf(" comment %q", e.comment)
	}
	if len(e.value) > 0 {
		text += " : " + t.valueText(e.value)
	}
	return fmt.Sprintf("%s element %s %s %s { %s }", verb, t.family, tableName, e.set, text)
}

// entries are the element as the library wants it. An interval of single keys is
// two, its first key and the first one behind it; one of a concatenation has both.
func (e element) entries() []nftables.SetElement {
	first := nftables.SetElement{Key: e.key, Val: e.value, Comment: e.comment}
	if e.set == rangesMap || e.set == hairpinSet {
		first.KeyEnd = e.end
		return []nftables.SetElement{first}
	}
	if e.end != nil {
		return []nftables.SetElement{first, {Key: e.end, IntervalEnd: true}}
	}
	return []nftables.SetElement{first}
}

// elementsAtATime fit into one message, whose attributes are at most 64 KiB long.
const elementsAtATime = 200

// addElements puts the elements into the batch, few to a message.
func (t table) addElements(batch *nftables.Conn, list []element) error {
	return t.eachSet(list, batch.SetAddElements)
}

// deleteElements is the same for taking them out.
func (t table) deleteElements(batch *nftables.Conn, list []element) error {
	return t.eachSet(list, batch.SetDeleteElements)
}

func (t table) eachSet(list []element, f func(*nftables.Set, []nftables.SetElement) error) error {
	for _, set := range t.sets() {
		var entries []nftables.SetElement
		for _, e := range list {
			if e.set == set.Name {
				entries = append(entries, e.entries()...)
			}
		}
		for some := range slices.Chunk(entries, elementsAtATime) {
			if err := f(set, some); err != nil {
				return err
			}
		}
	}
	return nil
}

// bigBatch is for transactions of many elements, for which the usual buffers of a
// socket do not suffice.
func bigBatch() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(enlarge))
}

func enlarge[C interface {
	SetWriteBuffer(bytes int) error
	SetReadBuffer(bytes int) error
}](c C) error {
	const bytes = 16 << 20
	return errors.Join(c.SetWriteBuffer(bytes), c.SetReadBuffer(bytes))
}

// getElement is the request NFT_MSG_GETSETELEM for one element, Linux 4.15. Of a
// map with intervals it finds the one in which the key is.
func getElement(f family, set string, key []byte) *nl.NetlinkRequest {
	elements := nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, nil)
	elements.AddRtAttr(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, nil).
		AddRtAttr(unix.NFTA_SET_ELEM_KEY|unix.NLA_F_NESTED, nil).
		AddRtAttr(unix.NFTA_DATA_VALUE, key)
	return request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETSETELEM, unix.NLM_F_ACK,
		&nl.Nfgenmsg{NfgenFamily: uint8(f), Version: nl.NFNETLINK_V0},
		nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_TABLE, nl.ZeroTerminated(tableName)),
		nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_SET, nl.ZeroTerminated(set)),
		elements)
}

// missing lists those of the elements that the table does not have.
func (c *conn) missing(t table, list []element) (missing []element, err error) {
	have, err := c.find(t.family, list)
	// The first question loads nf_tables. While another one has it loaded, and that of
	// foreign rules is asked beside this, there is nobody to ask yet: EINVAL.
	for wait := time.Millisecond; errors.Is(err, unix.EINVAL) && wait < time.Second; wait *= 2 {
		time.Sleep(wait)
		have, err = c.find(t.family, list)
	}
	if err != nil {
		return nil, err
	}
	for i, e := range list {
		if have[i] == nil {
			missing = append(missing, e)
		}
	}
	return missing, nil
}

// A found element is what the kernel says of one that was asked for.
type found struct {
	comment string
	value   []byte
}

// find asks for each of the elements; what is not there, or whose set or table is
// not, is nil. The kernel answers all that one sendto(2) has asked.
func (c *conn) find(f family, list []element) ([]*found, error) {
	answers := make([]*found, 0, len(list))
	for some := range slices.Chunk(list, 32) { // whose answers fit into the socket's buffer
		var requests []*nl.NetlinkRequest
		for _, e := range some {
			requests = append(requests, getElement(f, e.set, e.key))
		}
		these := make([]*found, len(some))
		err := c.doAll(requests, func(i int, m syscall.NetlinkMessage) error {
			return eachElement(m, func(e rawElement) { these[i] = &found{e.comment(), bytes.Clone(e.value)} })
		})
		if err != nil {
			return nil, err
		}
		answers = append(answers, these...)
	}
	return answers, nil
}

// doAll sends several requests at once and gives the messages of the answers to
// each, with the request's place in the list. ENOENT is an answer too: none.
func (c *conn) doAll(requests []*nl.NetlinkRequest, each func(int, syscall.NetlinkMessage) error) error {
	var all []byte
	place := map[uint32]int{}
	for i, r := range requests {
		place[r.Seq] = i
		all = append(all, r.Serialize()...)
		all = append(all, make([]byte, -len(all)&3)...)
	}
	if err := unix.Sendto(c.fd, all, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("sendto: %w", err)
	}
	for waiting := len(place); waiting > 0; {
		messages, err := c.receive()
		if err != nil {
			return err
		}
		for _, m := range messages {
			i, ours := place[m.Header.Seq]
			if !ours {
				continue
			}
			if m.Header.Type != unix.NLMSG_ERROR {
				if err := each(i, m); err != nil {
					return err
				}
				continue
			}
			waiting--
			if err := refusal(m); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
	}
	return nil
}
