package doctor

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/survey"
	"github.com/minictr/minictr/runtime/step"
)

// Diagnose judges the facts: it answers every check, in the order of the chain, and
// names the one cause. It looks at nothing else.
func Diagnose(f *Facts) *Report {
	d := &diagnosis{Facts: f}
	if f.Name != "" {
		d.process()
	}
	if f.Network != nil && f.Inside.Err == nil {
		d.guest()
		for i := range f.Network.Endpoints {
			d.endpoint(&f.Network.Endpoints[i])
		}
		d.shared()
	}
	d.machine()
	if f.Name == "" {
		d.upstream()
	}
	if f.Target != nil {
		d.target()
	}
	d.unanswered()
	r := &Report{Container: f.Name, Checks: sorted(d.list)}
	r.Cause = choose(r.Checks)
	r.Healthy = r.Cause == nil
	return r
}

// unanswered says of every check that nobody has answered why: it does not apply.
func (d *diagnosis) unanswered() {
	why := "does not apply to this container"
	switch {
	case d.Inside.Err != nil:
		why = "its namespace cannot be entered"
	case d.Name == "":
		return
	case d.Network == nil:
		why = "it is in the host's network"
	case len(d.Network.Endpoints) == 0:
		why = "it is on no network of minictr"
	}
	for _, c := range Checks() {
		if !d.said(c.ID) && (d.Target != nil || !strings.HasPrefix(string(c.ID), "target")) {
			d.skip(c.ID, "%s", why)
		}
	}
}

// process is about the container's first process and its namespace.
func (d *diagnosis) process() {
	p := d.Process
	switch {
	case d.Pid == 0 && d.Network != nil:
		d.skip("frozen", "an adopted namespace has no process of its own")
		d.skip("container", "an adopted namespace has no process of its own")
	case p.Frozen != "":
		d.fault(Finding{
			Check: "frozen", Object: p.Frozen, What: "the cgroup is frozen: none of the container's processes runs",
			Why:  "its network is as ever, but nobody in it sends or answers",
			Show: "cat " + step.Quote(p.Frozen+"/cgroup.freeze"), Remedies: sh(thaw(p.Frozen)),
		})
	case p.State == "T":
		d.fault(Finding{
			Check: "frozen", Object: fmt.Sprint(d.Pid), What: "its first process is stopped (SIGSTOP)",
			Why:  "its network is as ever, but the process neither sends nor answers",
			Show: fmt.Sprintf("grep State /proc/%d/status", d.Pid), Remedies: sh(fmt.Sprintf("kill -CONT %d", d.Pid)),
		})
	default:
		d.ok("frozen", "", "")
	}
	if !d.said("container") {
		d.ok("container", d.Name, "%d", d.Pid)
	}
	d.filters()
	if d.Network == nil || d.Inside.Err == nil {
		return
	}
	d.fault(Finding{
		Check: "namespace", Object: d.Network.Netns.Name, What: "its network namespace cannot be entered: " + d.Inside.Err.Error(),
		Why: "everything of its network is in there", Show: fmt.Sprintf("ls -l /proc/%d/ns/net", d.Pid),
	})
}

func thaw(dir string) string {
	if strings.Contains(dir, "/freezer/") {
		return "echo THAWED > " + step.Quote(dir+"/freezer.state")
	}
	return "echo 0 > " + step.Quote(dir+"/cgroup.freeze")
}

// filters are what refuses packets or calls by the process, not by the network.
func (d *diagnosis) filters() {
	for _, f := range d.Process.Filters {
		d.fault(Finding{
			Check: "cgroup-filter", Object: f.Cgroup, What: fmt.Sprintf("a BPF program (%s, id %d) is attached to its cgroup", f.Attach, f.ID),
			Why:      "it sees every packet or call of the container's, and may drop it; minictr attaches none of this kind",
			Show:     "bpftool cgroup show " + step.Quote(f.Cgroup),
			Remedies: []Remedy{{Command: fmt.Sprintf("bpftool cgroup detach %s %s id %d", step.Quote(f.Cgroup), f.Attach, f.ID), Detach: &f}},
		})
	}
	if len(d.Process.Filters) == 0 {
		d.ok("cgroup-filter", "", "")
	}
	switch p := d.Process; {
	case p.SeccompHave > p.SeccompGave:
		d.warn(Finding{
			Check: "seccomp", What: fmt.Sprintf("its first process has %d seccomp filters, of which minictr gave it %d", p.SeccompHave, p.SeccompGave),
			Why: "one of its own may refuse calls such as socket(2)", Show: fmt.Sprintf("grep Seccomp /proc/%d/status", d.Pid),
		})
	default:
		d.ok("seccomp", "", "")
	}
}

// guest is about the namespace as a whole.
func (d *diagnosis) guest() {
	ns := d.Network.Netns
	switch {
	case ns.Inode != 0 && ns.Inode != d.Inside.Inode:
		d.fault(Finding{Check: "namespace", Object: ns.Name, What: fmt.Sprintf("its network namespace is net:[%d], not net:[%d]", d.Inside.Inode, ns.Inode), Why: "what minictr set up is in the other one", Show: fmt.Sprintf("readlink /proc/%d/ns/net", d.Pid)})
	case d.Inside.NameTaken:
		d.warn(Finding{Check: "namespace", Object: ns.Name, What: d.Inside.NamePath + " is another namespace", Why: "ip -n " + ns.Name + " leads elsewhere", Show: "ls -li " + filepath.Dir(d.Inside.NamePath)})
	case !d.Inside.Named && d.Pid > 0 && d.NetnsOf == "" && ns.Name != "":
		d.warn(Finding{
			Check: "namespace", Object: ns.Name, What: d.Inside.NamePath + " is missing", Why: "ip netns and ip -n do not find the container; its network is as ever",
			Show: "ip netns list", Remedies: sh(fmt.Sprintf("ln -s /proc/%d/ns/net %s", d.Pid, step.Quote(d.Inside.NamePath))), Ours: true,
		})
	default:
		d.ok("namespace", ns.Name, "net:[%d]", d.Inside.Inode)
	}
	d.loopback()
	d.settings()
	d.guestRules()
	d.ownFirewall()
}

func (d *diagnosis) loopback() {
	lo := d.Inside.LinkNamed("lo")
	switch {
	case lo == nil || d.Network.Guest != nil && d.Network.Guest.LoDown && len(d.Network.Endpoints) == 0:
		d.skip("lo", "not minictr's to switch on")
	case !lo.Up:
		d.fault(Finding{
			Check: "lo", Object: "lo", What: "it is down", Why: "a container speaks to itself by it: 127.0.0.1, and every address of its own",
			Show: d.in("ip", "link show lo"), Remedies: steps(&network.SetLinkUp{Link: "lo", Netns: d.Network.Netns}), Ours: true,
		})
	default:
		d.ok("lo", "lo", "")
	}
}

// endpoint is about the container's place on one network.
func (d *diagnosis) endpoint(e *network.Endpoint) {
	c := &cableOf{
		diagnosis: d, e: e, bridge: d.Host.LinkNamed(e.Network.Bridge), inside: d.Inside.LinkNamed(e.Interface.Name),
		host: d.Host.LinkNamed(e.Interface.Host),
	}
	if e.Network.Driver == network.MacvlanDriver {
		c.host = nil
	}
	c.interfaces()
	c.addresses()
	c.hardware()
	c.routes()
	if e.Network.Driver == network.MacvlanDriver {
		c.parent()
		return
	}
	c.neighbours()
	c.switchIsThere()
	c.plugged()
	c.port()
	c.members()
	c.hostSettings()
	c.hostRoutes()
	c.sizes()
	c.queues()
}

// cableOf is a diagnosis of one endpoint: the two ends of its cable and the bridge; nil
// for what is not there.
type cableOf struct {
	*diagnosis
	e                    *network.Endpoint
	inside, host, bridge *survey.Link
}

// failed is the error of the first step that fails of those that are meant.
func (d *diagnosis) failed(meant func(step.Step) bool) (step.Step, error) {
	for _, c := range d.Checked {
		if c.Err != nil && meant(c.Step) {
			return c.Step, c.Err
		}
	}
	return nil, nil
}

// planned finds a step of the plan.
func planned[S step.Step](d *diagnosis, meant func(S) bool) (found S) {
	for _, c := range d.Checked {
		if s, ok := c.Step.(S); ok && meant(s) {
			return s
		}
	}
	return found
}

// reason is the last cause in an error of a step, without the step's object.
func reason(err error) string {
	var e *step.Error
	for errors.As(err, &e) {
		err = e.Err
	}
	return err.Error()
}

// upper makes words the beginning of a reason.
func upper(words string) string { return "it is there to " + words }
