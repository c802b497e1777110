package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An element is one entry of a set of our table, as the kernel has it.
type element struct {
	set     *nftables.Set
	comment string
	text    string                // in nft's language: "minictr0", 172.17.0.0/16
	keys    []nftables.SetElement // what the kernel keeps: two for an interval
}

// hasTable asks the kernel whether our table is there.
func hasTable() (bool, error) {
	c, err := dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return false, err
	}
	defer c.close()
	err = c.do(request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETTABLE, unix.NLM_F_ACK,
		&nl.Nfgenmsg{NfgenFamily: unix.NFPROTO_IPV4, Version: nl.NFNETLINK_V0},
		nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated(tableName))), nil)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// readElements lists the elements of a set that exists.
func readElements(set *nftables.Set) ([]element, error) {
	keys, err := (&nftables.Conn{}).GetSetElements(set)
	if err != nil {
		return nil, fmt.Errorf("list set %s: %w", set.Name, err)
	}
	// Where two intervals touch, one's end has the key of the other's begin.
	slices.SortFunc(keys, func(a, b nftables.SetElement) int {
		if c := bytes.Compare(a.Key, b.Key); c != 0 || a.IntervalEnd == b.IntervalEnd {
			return c
		}
		if a.IntervalEnd {
			return -1
		}
		return 1
	})
	var list []element
	for i, k := range keys {
		if k.IntervalEnd {
			continue
		}
		e := element{set: set, comment: k.Comment, keys: keys[i : i+1]}
		if set.Interval && i+1 < len(keys) {
			e.keys = keys[i : i+2] // sorted, an interval's end follows its begin
		}
		e.text = keyText(set, e.keys)
		list = append(list, e)
	}
	return list, nil
}

// keyText is the key in nft's language.
func keyText(set *nftables.Set, keys []nftables.SetElement) string {
	if !set.Interval {
		return fmt.Sprintf("%q", bytes.TrimRight(keys[0].Key, "\x00"))
	}
	begin, _ := netip.AddrFromSlice(keys[0].Key)
	if len(keys) < 2 || len(keys[0].Key) != 4 || len(keys[1].Key) != 4 {
		return begin.String()
	}
	size := binary.BigEndian.Uint32(keys[1].Key) - binary.BigEndian.Uint32(keys[0].Key)
	return netip.PrefixFrom(begin, bits.LeadingZeros32(size-1)).String()
}

// elementsOf lists the elements that a network has in our table.
func elementsOf(network string) ([]element, error) {
	have, err := hasTable()
	if err != nil || !have {
		return nil, err
	}
	var list []element
	for _, set := range newTable().sets() {
		all, err := readElements(set)
		if err != nil {
			return nil, err
		}
		for _, e := range all {
			if e.comment == elementComment(network) {
				list = append(list, e)
			}
		}
	}
	return list, nil
}

// removeNetwork deletes the network's elements from our table, or the whole
// table when no other network is in it. What is gone is no error.
func removeNetwork(network string) error {
	ours, err := elementsOf(network)
	if err != nil || len(ours) == 0 {
		return err
	}
	c, t := &nftables.Conn{}, newTable()
	bridges, err := readElements(t.bridges)
	if err != nil {
		return err
	}
	others := slices.ContainsFunc(bridges, func(e element) bool { return e.comment != elementComment(network) })
	if others {
		for _, e := range ours {
			if err := c.SetDeleteElements(e.set, e.keys); err != nil {
				return err
			}
		}
	} else {
		c.DelTable(t.table)
	}
	if err := c.Flush(); !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

// rulesOf lists what of our table concerns the network, as commands of nft(8):
// its elements, and the rules that look them up.
func rulesOf(network string) ([]string, error) {
	elements, err := elementsOf(network)
	if err != nil || len(elements) == 0 {
		return nil, err
	}
	var texts []string
	for _, e := range elements {
		texts = append(texts, elementText(e.set.Name, e.text, e.comment))
	}
	t := newTable()
	rules, err := (&nftables.Conn{}).GetRules(t.table, t.chain)
	if err != nil {
		return nil, fmt.Errorf("list chain %s: %w", postrouting, err)
	}
	for _, r := range rules {
		if comment, ok := userdata.GetString(r.UserData, userdata.TypeComment); ok && isOurs(comment) {
			texts = append(texts, fmt.Sprintf("add rule ip %s %s %s", tableName, postrouting, ruleText(r)))
		}
	}
	return texts, nil
}
