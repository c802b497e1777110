package network

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/runtime/step"
)

// A Cause is an errno of the kernel that would mislead, put into words where
// it is understood. It unwraps to the kernel's error.
type Cause struct {
	Text string // what it means here
	Hint string // what to try; may be empty
	Err  error
}

func (c *Cause) Error() string { return c.Text }

func (c *Cause) Unwrap() error { return c.Err }

// A misleadingErrno means something else in this place than its text says.
type misleadingErrno struct {
	operations []string // empty: any
	errno      unix.Errno
	text, hint string
}

func misleading() []misleadingErrno {
	return append(misleadingOfLinks(), []misleadingErrno{
		{
			// br_add_if -> find_portno, net/bridge/br_if.c: EXFULL, "Exchange full".
			[]string{"add veth"},
			unix.EXFULL,
			"the bridge has 1023 ports, the most that a bridge can have",
			"remove containers that are not needed (minictr ps), or put some on another network",
		},
		{
			[]string{"add bridge"},
			unix.EOPNOTSUPP,
			"this kernel has no bridges (CONFIG_BRIDGE)",
			"modprobe bridge; without it there are --network none and --network host",
		},
		{
			[]string{"add veth"},
			unix.EOPNOTSUPP,
			"this kernel has no virtual Ethernet pairs (CONFIG_VETH)",
			"modprobe veth; without it there are --network none and --network host",
		},
		{
			// socket(2): nothing registered NETLINK_NETFILTER.
			[]string{"add firewall"},
			unix.EPROTONOSUPPORT,
			"this kernel has no nfnetlink (CONFIG_NETFILTER_NETLINK)",
			"modprobe -a nfnetlink nf_tables nft_chain_nat nft_masq nft_nat nft_ct nft_fib_ipv4",
		},
		{
			// nfnetlink_rcv_batch: no such subsystem.
			[]string{"add firewall"},
			unix.EOPNOTSUPP,
			"this kernel has no nf_tables (CONFIG_NF_TABLES)",
			"modprobe -a nf_tables nft_chain_nat nft_masq nft_nat nft_ct nft_fib_ipv4",
		},
		{
			// nf_tables_newchain, nf_tables_newrule: an unknown chain type or
			// expression is ENOENT, as if the table were missing.
			[]string{"add firewall"},
			unix.ENOENT,
			"this kernel's nf_tables lacks what the firewall needs (CONFIG_NFT_NAT, NFT_MASQ, NFT_CT, NFT_FIB_IPV4, NFT_FIB_IPV6)",
			"modprobe -a nft_chain_nat nft_masq nft_nat nft_ct nft_fib_ipv4 nft_fib_ipv6",
		},
		{
			// unshare(2): the limit of namespaces, not of a disk.
			[]string{"add netns"},
			unix.ENOSPC,
			"there are as many network namespaces as user.max_net_namespaces allows",
			"sysctl user.max_net_namespaces",
		},
		{
			nil, unix.EPERM,
			"operation not permitted: it needs CAP_NET_ADMIN in the namespace of the host's network",
			"run as root",
		},
	}...)
}

// misleadingOfLinks are those of macvlans, VLANs and IPv6.
func misleadingOfLinks() []misleadingErrno {
	return []misleadingErrno{
		{
			// macvlan_port_create -> netdev_rx_handler_register: one taker only.
			[]string{"add macvlan"},
			unix.EBUSY,
			"its parent's packets go elsewhere already: it is a port of a bridge or a bond, or carries an ipvlan",
			"ip -d link; the bridge itself can be the parent",
		},
		{
			[]string{"add macvlan"},
			unix.EOPNOTSUPP,
			"this kernel has no macvlan (CONFIG_MACVLAN)",
			"modprobe macvlan; without it there is the driver bridge",
		},
		{
			// macvlan_open -> macvlan_addr_busy.
			[]string{"set link up"},
			unix.EADDRINUSE,
			"another macvlan on the same parent has the hardware address",
			"another --mac-address",
		},
		{
			[]string{"add VLAN"},
			unix.EOPNOTSUPP,
			"this kernel has no VLANs (CONFIG_VLAN_8021Q)",
			"modprobe 8021q",
		},
		{
			// inet6_rtm_newaddr: nobody answers for the family.
			[]string{"add address", "add route"},
			unix.EOPNOTSUPP,
			noIPv6,
			noIPv6Hint,
		},
		{
			// inet6_addr_add -> addrconf_add_dev: "IPv6 is disabled on this device".
			[]string{"add address"},
			unix.EACCES,
			"IPv6 is switched off on the link",
			"sysctl net.ipv6.conf.LINK.disable_ipv6=0",
		},
	}
}

// explain makes a step.Error of the operation and the object, its errno put
// into words where it misleads. It returns nil when err is nil.
func explain(operation, object string, err error) error {
	if err == nil {
		return nil
	}
	for _, m := range misleading() {
		if errors.Is(err, m.errno) && (m.operations == nil || slices.Contains(m.operations, operation)) {
			err = &Cause{Text: m.text, Hint: m.hint, Err: err}
			break
		}
	}
	return step.Fail(operation, object, err)
}
