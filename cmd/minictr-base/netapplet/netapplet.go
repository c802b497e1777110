// Package netapplet holds the commands of the base image that show a network and
// try it out.
package netapplet

import (
	"slices"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/classic"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/dns"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/icmp"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/ip"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/nc"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/sniff"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/speed"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/ss"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/web"
)

// Applets are all of them.
func Applets() []applet.Applet {
	return slices.Concat(
		[]applet.Applet{
			ip.Applet(),
			icmp.Ping(), icmp.Traceroute(),
			nc.Applet(), dns.Applet(),
			web.Httpd(), web.Wget(),
			ss.Applet(), ss.Netstat(classic.ShowRoutes),
			sniff.Applet(), speed.Applet(),
		},
		classic.Applets(),
	)
}
