// Package classic is the applets arp, route, ifconfig and brctl, which older texts
// on networks use. They show what they always showed; what they change is put into
// the words of ip, which does it.
package classic

import (
	"fmt"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/ip"
	"github.com/minictr/minictr/cmd/minictr-base/netapplet/rtnl"
)

// Applets are arp, route, ifconfig and brctl.
func Applets() []applet.Applet {
	return []applet.Applet{Arp(), Route(), Ifconfig(), Brctl()}
}

// byIP lets ip do what the words say, under the caller's name.
func byIP(c *applet.Call, words ...string) error {
	return ip.Applet().Run(&applet.Call{Name: c.Name, Args: words, In: c.In, Out: c.Out, Err: c.Err})
}

// links are the links of the namespace by index.
func links(conn *rtnl.Conn) (list []rtnl.Link, names map[int]string, err error) {
	names = map[int]string{}
	list, err = conn.Links()
	for _, l := range list {
		names[l.Index] = l.Name
	}
	return list, names, err
}

// find looks a link up by its name.
func find(list []rtnl.Link, name string) (*rtnl.Link, error) {
	for i := range list {
		if list[i].Name == name {
			return &list[i], nil
		}
	}
	return nil, fmt.Errorf("%s: no such interface", name)
}
