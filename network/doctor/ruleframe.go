package doctor

import (
	"fmt"
	"slices"

	"github.com/minictr/minictr/network/survey"
)

// inEvery reports whether the entry of a VLAN stands beside one without. It was made
// with that one, for each VLAN of the port, and goes with it.
func (c *cableOf) inEvery(entry survey.FDBEntry) bool {
	return entry.VLAN != 0 && slices.ContainsFunc(c.Host.FDB, func(f survey.FDBEntry) bool {
		return f.VLAN == 0 && f.MAC == entry.MAC && f.Link == entry.Link && f.Master == entry.Master
	})
}

// frames looks for entries of the bridge's table that somebody has made by hand.
func (c *cableOf) frames() {
	if c.inside == nil {
		return
	}
	clean := true
	for _, f := range c.Host.FDB {
		byHand := f.State == "static" || f.State == "permanent"
		elsewhere := f.Link == c.bridge.Index || f.Master == c.bridge.Index && (c.host == nil || f.Link != c.host.Index)
		if f.MAC != c.inside.MAC || !byHand || !elsewhere || f.MAC == c.bridge.MAC || c.inEvery(f) {
			continue
		}
		clean = false
		dev := c.Host.name(f.Link)
		rest, vlan := "master", ""
		if f.Link == c.bridge.Index {
			rest = "self"
		}
		if f.VLAN != 0 {
			vlan = fmt.Sprintf(" vlan %d", f.VLAN)
		}
		c.fault(Finding{
			Check: "bridge-static", Object: c.bridge.Name, What: fmt.Sprintf("its table has %s at %s by hand (%s)", f.MAC, dev, f.State),
			Why:  "frames to the container are delivered there, not to its port",
			Show: "bridge fdb show br " + c.bridge.Name, Remedies: sh(fmt.Sprintf("bridge fdb del %s dev %s %s%s", f.MAC, dev, rest, vlan)), Ours: true,
		})
	}
	if clean {
		c.ok("bridge-static", c.bridge.Name, "")
	}
}
