// Package netapplet holds the commands of the base image that show a network and
// try it out.
package netapplet

import (
	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/dns"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/icmp"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/ip"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/nc"
)

// Applets are all of them.
func Applets() []applet.Applet {
	return []applet.Applet{
		ip.Applet(),
		icmp.Ping(), icmp.Traceroute(),
		nc.Applet(),
		dns.Applet(),
	}
}
