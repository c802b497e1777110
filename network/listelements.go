package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A rawElement is an element as the kernel sends it. Its fields are valid only
// during the call that they are given to: there may be ten thousand.
type rawElement struct {
	key, end, value, userdata []byte
	isEnd                     bool // it is the first key behind an interval
}

func (e rawElement) comment() string {
	text, _ := userdata.GetString(e.userdata, userdata.NFTNL_UDATA_SET_ELEM_COMMENT)
	return text
}

// eachAttribute walks the attributes in b without copying them.
func eachAttribute(b []byte, f func(kind uint16, value []byte)) error {
	for len(b) >= unix.SizeofNlAttr {
		length := int(nl.NativeEndian().Uint16(b))
		kind := nl.NativeEndian().Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if length < unix.SizeofNlAttr || length > len(b) {
			return errShort
		}
		f(kind, b[unix.SizeofNlAttr:length])
		b = b[min(len(b), (length+3)&^3):]
	}
	return nil
}

// eachElement gives each element of the message to f.
func eachElement(m syscall.NetlinkMessage, f func(rawElement)) error {
	if len(m.Data) < nl.SizeofNfgenmsg {
		return errShort
	}
	var errs []error
	walk := func(b []byte, f func(uint16, []byte)) {
		if err := eachAttribute(b, f); err != nil {
			errs = append(errs, err)
		}
	}
	data := func(into *[]byte, b []byte) {
		walk(b, func(kind uint16, b []byte) {
			if kind == unix.NFTA_DATA_VALUE {
				*into = b
			}
		})
	}
	element := func(_ uint16, b []byte) {
		var e rawElement
		walk(b, func(kind uint16, b []byte) {
			switch kind {
			case unix.NFTA_SET_ELEM_KEY:
				data(&e.key, b)
			case nftables.NFTA_SET_ELEM_KEY_END:
				data(&e.end, b)
			case unix.NFTA_SET_ELEM_DATA:
				data(&e.value, b)
			case unix.NFTA_SET_ELEM_USERDATA:
				e.userdata = b
			case unix.NFTA_SET_ELEM_FLAGS:
				e.isEnd = len(b) == 4 && binary.BigEndian.Uint32(b)&unix.NFT_SET_ELEM_INTERVAL_END != 0
			}
		})
		f(e)
	}
	walk(m.Data[nl.SizeofNfgenmsg:], func(kind uint16, b []byte) {
		if kind == unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			walk(b, element)
		}
	})
	return errors.Join(errs...)
}

// list gives the elements of a set for which want is true, or all of them, in the
// order of their keys. A set that is not there has none.
func (t table) list(set string, want func(comment string) bool) (list []element, err error) {
	c, err := dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	defer c.close()
	ask := func() *nl.NetlinkRequest {
		return request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP,
			&nl.Nfgenmsg{NfgenFamily: uint8(t.family), Version: nl.NFNETLINK_V0},
			nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_TABLE, nl.ZeroTerminated(tableName)),
			nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_SET, nl.ZeroTerminated(set)))
	}
	var ends [][]byte
	restart := func() { list, ends = nil, nil }
	err = c.dump(ask, restart, func(m syscall.NetlinkMessage) error {
		return eachElement(m, func(e rawElement) {
			if e.isEnd {
				ends = append(ends, bytes.Clone(e.key))
				return
			}
			if comment := e.comment(); want == nil || want(comment) {
				list = append(list, element{
					set: set, comment: comment,
					key: bytes.Clone(e.key), end: bytes.Clone(e.end), value: bytes.Clone(e.value),
				})
			}
		})
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	slices.SortFunc(list, func(a, b element) int { return bytes.Compare(a.key, b.key) })
	slices.SortFunc(ends, bytes.Compare)
	for i := range list {
		if at, _ := slices.BinarySearchFunc(ends, list[i].key, compareAfter); set == subnetsSet && at < len(ends) {
			list[i].end = ends[at]
		}
	}
	return list, err
}

// compareAfter orders so that a search for key finds the first end behind it.
func compareAfter(end, key []byte) int {
	if bytes.Compare(end, key) <= 0 {
		return -1
	}
	return 1
}

// keyText is the element's key in nft's language.
func (t table) keyText(e element) string {
	switch e.set {
	case layoutSet:
		return fmt.Sprint(nl.NativeEndian().Uint32(e.key))
	case bridgesSet, internalSet:
		return quoteName(e.key)
	case sameSet:
		return quoteName(e.key[:unix.IFNAMSIZ]) + " . " + quoteName(e.key[unix.IFNAMSIZ:])
	case subnetsSet:
		first, _ := netip.AddrFromSlice(e.key)
		return netip.PrefixFrom(first, commonBits(e.key, e.end)).String()
	case hairpinSet:
		first, name := t.addrAt(e.key)
		last, _ := t.addrAt(e.end)
		return netip.PrefixFrom(first, commonBits(first.AsSlice(), last.Next().AsSlice())).String() + " . " + quoteName(name)
	}
	words := []string{protocolName(e.key[0])}
	key, end := e.key[4:], e.end
	if e.set != everywhereMap {
		var a netip.Addr
		a, key = t.addrAt(key)
		words = append(words, a.String())
		if len(end) > 4 {
			_, end = t.addrAt(end[4:])
		}
	}
	first := binary.BigEndian.Uint16(key)
	words = append(words, fmt.Sprint(first))
	if e.set == rangesMap && len(end) >= 2 {
		if strings.Trim(words[1], "0.:") == "" { // the unspecified address, all of them
			words[1] += "/0"
		}
		words[2] = span(first, binary.BigEndian.Uint16(end)-first+1)
	}
	return strings.Join(words, " . ")
}

// valueText is the value in nft's language: an address, perhaps with a port.
func (t table) valueText(value []byte) string {
	if len(value) == 0 {
		return ""
	}
	a, rest := t.addrAt(value)
	if len(rest) < 2 {
		return a.String()
	}
	return fmt.Sprintf("%s . %d", a, binary.BigEndian.Uint16(rest))
}

func quoteName(b []byte) string { return fmt.Sprintf("%q", bytes.TrimRight(b, "\x00")) }

func protocolName(number byte) string {
	for name, n := range protocols() {
		if n == number {
			return name
		}
	}
	return fmt.Sprint(number)
}

// commonBits is the length of the subnet that begins with first and ends before end.
func commonBits(first, end []byte) int {
	for i := len(end) - 1; i >= 0 && len(first) == len(end); i-- {
		if d := end[i] - first[i]; d != 0 {
			return 8*i + 8 - bits.TrailingZeros8(d)
		}
	}
	return 8 * len(first)
}

// addrAt reads an address and what follows it.
func (t table) addrAt(b []byte) (netip.Addr, []byte) {
	_, length := t.family.offset(destination)
	if len(b) < int(length) {
		return netip.Addr{}, nil
	}
	a, _ := netip.AddrFromSlice(b[:length])
	return a, b[length:]
}

// networkSets are the sets that have elements of networks.
func networkSets() []string {
	return []string{bridgesSet, internalSet, sameSet, subnetsSet, hairpinSet, servicesSet}
}

// elementsOf lists the elements that a network has in the table.
func (t table) elementsOf(network string) ([]element, error) {
	var all []element
	for _, set := range networkSets() {
		list, err := t.list(set, func(comment string) bool { return comment == elementComment(network) })
		if err != nil {
			return nil, fmt.Errorf("list set %s: %w", set, err)
		}
		all = append(all, list...)
	}
	return all, nil
}

// removeNetwork deletes the network's elements from our tables, and a table in
// which no other network is. What is gone is no error.
func removeNetwork(network string) error {
	var errs []error
	for _, f := range families() {
		errs = append(errs, newTable(f).removeNetwork(network))
	}
	return errors.Join(errs...)
}

func (t table) removeNetwork(network string) error {
	ours, err := t.elementsOf(network)
	if err != nil {
		return err
	}
	others, err := t.list(bridgesSet, func(comment string) bool { return comment != elementComment(network) })
	if err != nil {
		return err
	}
	if len(ours) > 0 {
		batch := &nftables.Conn{}
		if len(others) == 0 {
			batch.DelTable(t.table)
		} else if err := t.deleteElements(batch, ours); err != nil {
			return err
		}
		if err := batch.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	if len(others) == 0 && t.family == ipv6 { // also where somebody has taken the table away
		return deleteBounce()
	}
	return nil
}

// rulesOf lists what of our tables concerns the network, as commands of nft(8):
// its elements, and the rules that look them up.
func rulesOf(network string) ([]string, error) {
	var texts []string
	for _, f := range families() {
		t := newTable(f)
		elements, err := t.elementsOf(network)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			texts = append(texts, t.command(e))
		}
		if len(elements) == 0 {
			continue
		}
		rules, err := t.readRules()
		if err != nil {
			return nil, err
		}
		texts = append(texts, rules...)
	}
	return texts, nil
}

// readRules lists the rules of ours that the table has, as commands.
func (t table) readRules() (texts []string, err error) {
	for _, chain := range t.chains() {
		rules, err := (&nftables.Conn{}).GetRules(t.table, chain)
		if errors.Is(err, unix.ENOENT) { // a table of an older layout
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list chain %s: %w", chain.Name, err)
		}
		for _, r := range rules {
			if isOurs(r) {
				texts = append(texts, ruleCommand(r))
			}
		}
	}
	return texts, nil
}
