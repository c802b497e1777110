package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network/firewall"
)

// tablePrefix begins the name of the tables that mark probes; the id of the
// process follows, and the probe's port, so that two at once do not meet.
const tablePrefix = "minictr-trace-"

// tableOwner is NFT_TABLE_F_OWNER, Linux 5.12: nobody else may change the table,
// and it is gone when the socket is closed that made it.
const tableOwner = 2

// A marker holds the table in one namespace.
type marker struct {
	*socket
	table    string
	families []uint8
	owned    bool
}

// firstPriority comes before every chain that others have.
const firstPriority = math.MinInt32

// A markChain is a base chain of the table.
type markChain struct {
	family, hook uint8
	device       string
}

// markChains says where the probe must be marked for the rules that there are:
// where nothing hangs nothing is put.
func markChains(rules *firewall.Ruleset, v6 bool) (list []markChain) {
	ip := uint8(unix.NFPROTO_IPV4)
	if v6 {
		ip = unix.NFPROTO_IPV6
	}
	seen := map[markChain]bool{}
	add := func(c markChain) {
		if !seen[c] {
			seen[c] = true
			list = append(list, c)
		}
	}
	for _, b := range rules.Bases() {
		switch {
		case b.Hook == "ingress" || b.Hook == "egress":
			hook := map[string]uint8{"ingress": unix.NF_NETDEV_INGRESS, "egress": unix.NF_NETDEV_EGRESS}[b.Hook]
			for _, d := range b.Devices {
				add(markChain{unix.NFPROTO_NETDEV, hook, d})
			}
		case b.Family == "bridge":
			add(markChain{unix.NFPROTO_BRIDGE, unix.NF_INET_PRE_ROUTING, ""})
			add(markChain{unix.NFPROTO_BRIDGE, unix.NF_INET_LOCAL_OUT, ""})
		case b.Family == "inet" || (b.Family == "ip6") == v6:
			add(markChain{ip, unix.NF_INET_PRE_ROUTING, ""})
			add(markChain{ip, unix.NF_INET_LOCAL_OUT, ""})
		}
	}
	return list
}

// mark makes the table in the namespace of the calling thread, with the rules
// for the probe in each of the chains. Without chains there is no table.
func mark(table string, chains []markChain, rules []attributes) (*marker, error) {
	if len(chains) == 0 {
		return nil, nil
	}
	s, err := dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	m := &marker{socket: s, table: table, owned: true}
	for _, c := range chains {
		if len(m.families) == 0 || m.families[len(m.families)-1] != c.family {
			m.families = append(m.families, c.family)
		}
	}
	err = m.make(chains, rules, tableOwner)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) { // an older kernel: remove takes it away
		m.owned = false
		err = m.make(chains, rules, 0)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("add table %s: %w", table, err)
	}
	return m, nil
}

// tableName is the name of the probe's tables.
func (p *probe) tableName() string {
	return fmt.Sprintf("%s%d-%d", tablePrefix, os.Getpid(), p.flow.Source.Port())
}

// nfnetlink is the header of a message about a family, struct nfgenmsg.
func nfnetlink(family uint8, resource uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, resource)
}

func nft(message uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | message }

// make sends tables, chains and rules as one transaction.
func (m *marker) make(chains []markChain, rules []attributes, flags uint32) error {
	batch := m.message(unix.NFNL_MSG_BATCH_BEGIN, 0, nfnetlink(unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES))
	add := func(message, create uint16, family uint8, a attributes) {
		batch = append(batch, m.message(nft(message), create, append(nfnetlink(family, 0), a...))...)
	}
	for i, c := range chains {
		if i == 0 || chains[i-1].family != c.family {
			var a attributes
			a.addText(unix.NFTA_TABLE_NAME, m.table)
			a.addBig(unix.NFTA_TABLE_FLAGS, flags)
			add(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, c.family, a)
		}
		add(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, c.family, c.attributes(m.table, i))
		for _, r := range rules {
			var a attributes
			a.addText(unix.NFTA_RULE_TABLE, m.table)
			a.addText(unix.NFTA_RULE_CHAIN, chainName(i))
			a.nest(unix.NFTA_RULE_EXPRESSIONS, r)
			add(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, c.family, a)
		}
	}
	return m.commit(batch)
}

// commit ends the transaction with a message that is acknowledged, which comes
// after all errors.
func (m *marker) commit(batch []byte) error {
	end := m.message(unix.NFNL_MSG_BATCH_END, unix.NLM_F_ACK, nfnetlink(unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES))
	if err := m.send(append(batch, end...)); err != nil {
		return err
	}
	_, err := m.answers(m.seq)
	return err
}

func chainName(i int) string { return "mark" + strconv.Itoa(i) }

func (c markChain) attributes(table string, i int) attributes {
	var hook, a attributes
	hook.addBig(unix.NFTA_HOOK_HOOKNUM, uint32(c.hook))
	first := int32(firstPriority)
	hook.addBig(unix.NFTA_HOOK_PRIORITY, uint32(first))
	if c.device != "" {
		hook.addText(unix.NFTA_HOOK_DEV, c.device)
	}
	a.addText(unix.NFTA_CHAIN_TABLE, table)
	a.addText(unix.NFTA_CHAIN_NAME, chainName(i))
	a.nest(unix.NFTA_CHAIN_HOOK, hook)
	a.addText(unix.NFTA_CHAIN_TYPE, "filter")
	return a
}

// remove takes the table away. One that has an owner goes with the socket.
func (m *marker) remove() error {
	defer m.close()
	if m.owned {
		return nil
	}
	return m.delete(m.table, m.families...)
}

func (s *socket) delete(table string, families ...uint8) error {
	m := &marker{socket: s}
	batch := m.message(unix.NFNL_MSG_BATCH_BEGIN, 0, nfnetlink(unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES))
	for _, family := range families {
		var a attributes
		a.addText(unix.NFTA_TABLE_NAME, table)
		batch = append(batch, m.message(nft(unix.NFT_MSG_DELTABLE), 0, append(nfnetlink(family, 0), a...))...)
	}
	return m.commit(batch)
}

// heal takes the tables away that a killed trace has left in the namespace of
// the calling thread: of kernels that know no owner, and whose process is gone.
func heal() error {
	s, err := dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer s.close()
	tables, err := s.ask(nft(unix.NFT_MSG_GETTABLE), unix.NLM_F_DUMP, nfnetlink(unix.AF_UNSPEC, 0))
	if errors.Is(err, unix.EINVAL) { // nfnetlink without nf_tables
		return nil
	}
	var errs []error
	for _, body := range tables {
		if len(body) < len(nfnetlink(0, 0)) {
			continue
		}
		a := attributes(body[4:])
		name := a.text(unix.NFTA_TABLE_NAME)
		process, _, _ := strings.Cut(strings.TrimPrefix(name, tablePrefix), "-")
		pid, err := strconv.Atoi(process)
		if err != nil || !strings.HasPrefix(name, tablePrefix) || a.big(unix.NFTA_TABLE_FLAGS)&tableOwner != 0 || unix.Kill(pid, 0) == nil {
			continue
		}
		if err := s.delete(name, body[0]); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("delete table %s: %w", name, err))
		}
	}
	return errors.Join(append(errs, err)...)
}
