package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// forget deletes what conntrack knows of the ports. What it knows, it does not
// look up again: a client that goes on sending to an UDP port, with the same
// port of its own, would keep reaching what was behind the port when it began, be
// it nothing or a container that is gone. The flows are found by the port and the
// address of the host, to which the client speaks, not by what they were
// translated to. TCP begins anew by itself, and what has begun may end.
func (s *PublishPorts) forget() error {
	var errs []error
	for _, f := range families() {
		ports := slices.DeleteFunc(s.publishedOn(f), func(p Port) bool { return p.Protocol == "tcp" })
		if len(ports) > 0 {
			errs = append(errs, forgetPorts(f, ports))
		}
	}
	return errors.Join(errs...)
}

// Messages and attributes of ctnetlink, linux/netfilter/nfnetlink_conntrack.h.
const (
	ctGet    = 1
	ctDelete = 2

	ctaTupleOrig = 1
	ctaFilter    = 25 // Linux 5.8; older kernels do not know it and give all

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Dst = 2
	ctaIPv6Dst = 4

	ctaProtoNum     = 1
	ctaProtoDstPort = 3

	ctaFilterOrigFlags = 1
	filterProtoNum     = 1 << 3 // net/netfilter/nf_internals.h, CTA_FILTER_F_CTA_PROTO_NUM
	filterProtoDstPort = 1 << 5
)

// forgetPorts deletes the flows to the ports, which have an address of the family.
func forgetPorts(f family, ports []Port) error {
	c, err := dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer c.close()
	local, err := localAddresses(f)
	if err != nil {
		return err
	}
	flows, err := c.listFlows(f, ports)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil // the kernel is without ctnetlink: nobody can look
	}
	for _, flow := range flows {
		if !flow.to.HostIP.IsLoopback() && !slices.Contains(local, flow.to.HostIP) {
			continue // it only passes through the host
		}
		r := ctRequest(ctDelete, unix.NLM_F_ACK, f)
		r.AddData(nl.NewRtAttr(ctaTupleOrig|unix.NLA_F_NESTED, flow.tuple))
		if e := c.do(r, nil); !errors.Is(e, unix.ENOENT) { // it has just ended
			err = errors.Join(err, e)
		}
	}
	return err
}

// A flow is what conntrack has of a connection in its first direction.
type flow struct {
	to    Port
	tuple []byte
}

func ctRequest(kind, flags int, f family) *nl.NetlinkRequest {
	return request(unix.NFNL_SUBSYS_CTNETLINK<<8|kind, flags, &nl.Nfgenmsg{NfgenFamily: uint8(f), Version: nl.NFNETLINK_V0})
}

// listFlows gives the flows to the ports. For a single port the kernel sorts out by
// itself; the time that it takes is that of walking through its table.
func (c *conn) listFlows(f family, ports []Port) (flows []flow, err error) {
	ask := func() *nl.NetlinkRequest {
		r := ctRequest(ctGet, unix.NLM_F_DUMP, f)
		if len(ports) == 1 && ports[0].Count == 1 {
			addFilter(r, ports[0])
		}
		return r
	}
	err = c.dump(ask, func() { flows = nil }, func(m syscall.NetlinkMessage) error {
		if len(m.Data) < nl.SizeofNfgenmsg {
			return errShort
		}
		return eachAttribute(m.Data[nl.SizeofNfgenmsg:], func(kind uint16, b []byte) {
			if kind != ctaTupleOrig {
				return
			}
			to := destinationOf(b)
			if slices.ContainsFunc(ports, func(p Port) bool { return p.overlaps(to) }) {
				flows = append(flows, flow{to, bytes.Clone(b)})
			}
		})
	})
	return flows, err
}

// addFilter asks only for entries to the port.
func addFilter(r *nl.NetlinkRequest, p Port) {
	tuple := nl.NewRtAttr(ctaTupleOrig|unix.NLA_F_NESTED, nil)
	proto := tuple.AddRtAttr(ctaTupleProto|unix.NLA_F_NESTED, nil)
	proto.AddRtAttr(ctaProtoNum, []byte{protocols()[p.Protocol]})
	proto.AddRtAttr(ctaProtoDstPort, binary.BigEndian.AppendUint16(nil, p.HostPort))
	filter := nl.NewRtAttr(ctaFilter|unix.NLA_F_NESTED, nil)
	filter.AddRtAttr(ctaFilterOrigFlags, nl.Uint32Attr(filterProtoNum|filterProtoDstPort))
	r.AddData(tuple)
	r.AddData(filter)
}

// destinationOf reads where the tuple goes. Attributes that are missing or cut
// short leave a Port that matches none.
func destinationOf(tuple []byte) (to Port) {
	to.Count = 1
	_ = eachAttribute(tuple, func(kind uint16, b []byte) {
		_ = eachAttribute(b, func(inner uint16, b []byte) {
			switch {
			case kind == ctaTupleIP && (inner == ctaIPv4Dst || inner == ctaIPv6Dst):
				to.HostIP, _ = netip.AddrFromSlice(b)
			case kind == ctaTupleProto && inner == ctaProtoNum && len(b) == 1:
				to.Protocol = protocolName(b[0])
			case kind == ctaTupleProto && inner == ctaProtoDstPort && len(b) == 2:
				to.HostPort = binary.BigEndian.Uint16(b)
			}
		})
	})
	return to
}
