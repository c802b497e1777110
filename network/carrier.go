package network

import (
	"fmt"

	"github.com/minictr/minictr/runtime/step"
)

// SyncCarrier lets the kernel take notice at once that a cable has been plugged
// into a bridge. By itself it does so in the background, and until then the port
// does not pass packets on and the bridge, if it is the first port, sends none:
// linkwatch handles at most one batch a second of links that it does not find
// urgent, and a bridge is such (linkwatch_urgent_event). What a container sends
// meanwhile is lost, and ARP and neighbour discovery try again after a second.
//
// Asking for a link by RTM_GETLINK has its carrier settled first
// (linkwatch_sync_dev, Linux 6.8). The order matters: the port's is what gives the
// bridge its own. Older kernels answer and go on as ever.
type SyncCarrier struct {
	Host   string // the host's end of the pair, whose other end is up
	Bridge string

	at *place
}

func (s *SyncCarrier) object() string { return s.Host + " on " + s.Bridge }

// Apply asks for the port, then for the bridge.
func (s *SyncCarrier) Apply() error {
	return explain("sync carrier", s.object(), s.at.do(Netns{}, func(c *conn) error {
		if _, err := c.link(s.Host); err != nil {
			return err
		}
		_, err := c.link(s.Bridge)
		return err
	}))
}

// Undo has nothing to take back.
func (s *SyncCarrier) Undo() error {
	s.at.close()
	return nil
}

// Check wants the port to pass packets on.
func (s *SyncCarrier) Check() error {
	err := once(Netns{}, func(c *conn) error {
		l, err := c.link(s.Host)
		if err == nil && l.port != "forwarding" {
			err = fmt.Errorf("the port is %s", l.port)
		}
		return err
	})
	return step.Fail("check carrier", s.object(), err)
}

// Words says the step in plain words.
func (s *SyncCarrier) Words() string {
	return "have the kernel notice at once that " + s.Host + " is plugged into " + s.Bridge
}

func (s *SyncCarrier) String() string {
	return fmt.Sprintf("ip link show %s >/dev/null && ip link show %s >/dev/null", s.Host, s.Bridge)
}
