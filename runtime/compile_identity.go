package runtime

import (
	"fmt"
	"math/bits"

	"github.com/minictr/minictr/runtime/program"
	"golang.org/x/sys/unix"
)

// becomeUser takes the capabilities away that the container must not have and
// becomes its user. The order is the kernel's: the bounding set shrinks while
// CAP_SETPCAP is held, groups and ids change while CAP_SETGID and CAP_SETUID
// are, PR_SET_KEEPCAPS carries the permitted set across setuid, and capset comes
// last; see capabilities(7).
func (c *compiler) becomeUser() {
	p := c.spec.Process
	if p.Capabilities == nil {
		p.Capabilities = capabilitySets(nil)
	}
	bounding := c.bits("bounding", p.Capabilities.Bounding)
	c.Task(fmt.Sprintf("keep %d capabilities and drop the others for good", bits.OnesCount64(bounding)), fmt.Sprintf("capsh --drop=… (bounding set %#x)", bounding))
	for i := range uint64(c.lastCapability + 1) {
		if bounding&(1<<i) == 0 {
			c.Add(program.Prctl(program.Constant{Value: unix.PR_CAPBSET_DROP, Name: "PR_CAPBSET_DROP"}, i))
		}
	}
	u := c.user
	c.Task(fmt.Sprintf("become user %d, group %d", u.uid, u.gid), fmt.Sprintf("setpriv --reuid %d --regid %d --groups …", u.uid, u.gid))
	c.Add(
		program.Prctl(program.Constant{Value: unix.PR_SET_KEEPCAPS, Name: "PR_SET_KEEPCAPS"}, 1),
		program.Setgroups(u.groups),
		program.Setresgid(u.gid),
		program.Setresuid(u.uid),
		program.Capset(c.bits("effective", p.Capabilities.Effective), c.bits("permitted", p.Capabilities.Permitted), c.bits("inheritable", p.Capabilities.Inheritable)),
	)
	for ambient := c.bits("ambient", p.Capabilities.Ambient); ambient != 0; ambient &= ambient - 1 {
		c.Add(program.Prctl2(program.Constant{Value: unix.PR_CAP_AMBIENT, Name: "PR_CAP_AMBIENT"},
			program.Constant{Value: unix.PR_CAP_AMBIENT_RAISE, Name: "PR_CAP_AMBIENT_RAISE"}, uint64(bits.TrailingZeros64(ambient))))
	}
	c.dieWithParent() // changing the ids has cleared it, prctl(2)
}

func (c *compiler) bits(field string, names []string) uint64 {
	set, err := capabilityBits(names)
	if err != nil {
		c.fail(fmt.Errorf("process.capabilities.%s: %w", field, err))
	}
	return set
}

// seccompEarly loads the filter while CAP_SYS_ADMIN is held, which seccomp(2)
// demands without no_new_privs; seccompLate does it as the last thing with it.
func (c *compiler) seccompEarly() {
	if !c.spec.Process.NoNewPrivileges {
		c.loadFilter()
	}
}

func (c *compiler) seccompLate() {
	if !c.spec.Process.NoNewPrivileges {
		return
	}
	c.Task("give up gaining privileges", "setpriv --no-new-privs")
	c.Add(program.Prctl(program.Constant{Value: unix.PR_SET_NO_NEW_PRIVS, Name: "PR_SET_NO_NEW_PRIVS"}, 1))
	c.loadFilter()
}

func (c *compiler) loadFilter() {
	if len(c.filter) == 0 {
		return
	}
	c.Task("load the seccomp filter", "")
	c.Add(program.Seccomp(c.filter, c.filterFlag))
}
