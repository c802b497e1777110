package network

import "net/netip"

// A Port is a published port: what arrives at it on the host goes to the
// container. Count neighbouring ports are published together.
type Port struct {
	HostIP        netip.Addr `json:"hostIp,omitzero"` // the zero Addr: at every address of the host
	HostPort      uint16     `json:"hostPort"`
	ContainerPort uint16     `json:"containerPort"`
	Count         uint16     `json:"count"`
	Protocol      string     `json:"protocol"` // tcp, udp or sctp
}
