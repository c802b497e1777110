package lab

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// A doctored is the answer of minictr doctor --json.
type doctored struct {
	Healthy bool
	Cause   *struct{ Check, What string }
	Checks  []struct{ Check, Status, What, Because string }
}

// doctor looks, and does not fail where a container is ill.
func (l *lab) doctor(name string, flags ...string) doctored {
	l.t.Helper()
	out, errs, err := l.try(append([]string{"doctor", name, "--json"}, flags...)...)
	var d doctored
	if e := json.Unmarshal([]byte(out), &d); e != nil {
		l.t.Fatalf("doctor %s: %v: %v: %s", name, err, e, errs)
	}
	if d.Healthy != (err == nil) {
		l.t.Errorf("doctor %s: healthy is %v, and the exit %v", name, d.Healthy, err)
	}
	return d
}

// wrong are the checks that are, for messages.
func (d doctored) wrong() string {
	var b strings.Builder
	for _, c := range d.Checks {
		if c.Status == "fault" || c.Status == "consequence" {
			fmt.Fprintf(&b, "\n%s %s: %s (%s)", c.Status, c.Check, c.What, c.Because)
		}
	}
	return b.String()
}

// ailments are faults as somebody types them, on the host or in the container, and the
// check that has to be named as their one cause.
var ailments = []struct{ name, where, command, cause string }{
	{"lo down", "inside", "ip link set lo down", "lo"},
	{"no address", "inside", "ip addr flush dev eth0", "address"},
	{"wrong gateway", "inside", "ip route replace default via 172.17.99.99", "gateway"},
	{"own firewall", "inside", "nft 'add table ip guard; add chain ip guard out { type filter hook output priority 0; policy drop; }'", "own-firewall"},
	{"cable pulled", "host", "ip link set $V nomaster", "bridge-port"},
	{"bridge gone", "host", "ip link delete minictr0", "bridge"},
	{"no gateway", "host", "ip addr flush dev minictr0", "bridge-address"},
	{"no forwarding", "host", "sysctl -q -w net.ipv4.ip_forward=0", "forwarding"},
	{"table flushed", "host", "nft flush table ip minictr", "our-rules"},
	{"port gone", "host", "nft flush map ip minictr everywhere", "published"},
	{"foreign drop", "host", "nft 'add table inet guard; add chain inet guard f { type filter hook forward priority 0; policy drop; }'", "forward-foreign"},
	{"foreign frames", "host", `nft "add table bridge guard; add chain bridge guard p { type filter hook prerouting priority 0; }; add rule bridge guard p ether saddr $MAC drop"`, "forward-foreign"},
	{"foreign rule", "host", "ip rule add priority 100 from $A prohibit", "host-rule"},
}

// TestDoctor looks at containers in hosts of their own.
func TestDoctor(t *testing.T) {
	programs := require(t)
	t.Run("hosts", func(t *testing.T) { // which ends when all have
		for name, f := range map[string]func(*lab){"causes": (*lab).causes, "targets": (*lab).targets, "calm": (*lab).calm} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f(newLab(t, programs))
			})
		}
	})
}

// causes breaks a container's network by hand, in one way after the other: the doctor
// names the cause, cures it, and finds nothing before and after that. Looking changes
// nothing.
func (l *lab) causes() {
	t := l.t
	l.must("run", "-d", "--name", "doctorweb", "-p", "8080:80", image, "httpd", "-p", "80")
	l.run("doctorother")
	c := l.inspect("doctorweb")
	env := fmt.Sprintf("V=veth%s A=%s MAC=%s\n", c.id[:8], c.on["bridge"].IPAddress, c.on["bridge"].MacAddress)
	before := l.state()
	if d := l.doctor("doctorweb"); !d.Healthy {
		t.Fatalf("not healthy: %s", d.wrong())
	}
	if after := l.state(); after != before {
		t.Errorf("doctor has changed the host:\n%s\nnow:\n%s", before, after)
	}
	for _, a := range ailments {
		where := l.host
		if a.where == "inside" {
			where = c.place
		}
		where.must(t, "", "sh", "-ec", env+a.command)
		d := l.doctor("doctorweb")
		if d.Cause == nil || d.Cause.Check != a.cause {
			t.Errorf("%s: the cause is %+v, not %s%s", a.name, d.Cause, a.cause, d.wrong())
		}
		if out, errs, err := l.try("doctor", "doctorweb", "--fix", "--yes"); err != nil {
			t.Errorf("%s: --fix: %v: %s%s", a.name, err, out, errs)
		}
		if d := l.doctor("doctorweb"); !d.Healthy {
			t.Fatalf("%s: not healthy after --fix: %s", a.name, d.wrong())
		}
		if d := l.doctor("doctorother"); !d.Healthy {
			t.Fatalf("%s: the other is not healthy after --fix: %s", a.name, d.wrong())
		}
	}
	l.host.must(t, "delete table inet guard\ndelete table bridge guard\n", "nft", "-f", "-")
}

// targets tries those: one that answers, one that refuses, one that nobody has.
func (l *lab) targets() {
	t := l.t
	l.run("doctorto")
	for target, cause := range map[string]string{
		internetAddress: "", internetAddress + ":81": "target", "[2001:db8:9::9]:80": "target-route", "172.17.77.77": "target-neighbour",
	} {
		d := l.doctor("doctorto", "--to", target)
		switch {
		case cause == "" && !d.Healthy:
			t.Errorf("%s: %s", target, d.wrong())
		case cause != "" && (d.Cause == nil || d.Cause.Check != cause):
			t.Errorf("%s: the cause is %+v, not %s%s", target, d.Cause, cause, d.wrong())
		}
	}
}

// calm raises no alarm at what is as it should be.
func (l *lab) calm() {
	t := l.t
	l.must("network", "create", "--ipv6", "doctorsix")
	l.must("network", "create", "--internal", "doctorback")
	l.must("network", "create", "-d", "macvlan", "-o", "parent=eth0", "--subnet", "192.0.2.0/24", "--gateway", "192.0.2.254", "--ip-range", "192.0.2.64/26", "doctorstreet")
	for name, flags := range map[string]string{
		"six": "--network doctorsix -p 9090:90", "back": "--network doctorback", "two": "--network doctorsix --network doctorback", "street": "--network doctorstreet",
		"none": "--network none", "host": "--network host", "ports": "-p 5353:53/udp -p 7000-7005:7000-7005",
	} {
		l.must(sleeper("doctor-"+name, strings.Fields(flags)...)...)
	}
	l.must(sleeper("doctor-joins", "--network", "container:doctor-six")...)
	for _, name := range []string{"six", "back", "two", "street", "none", "host", "joins", "ports"} {
		if d := l.doctor("doctor-" + name); !d.Healthy {
			t.Errorf("%s: %s", name, d.wrong())
		}
	}
	if out, errs, err := l.try("doctor"); err != nil || !strings.Contains(out, "8 containers: all well") {
		t.Errorf("doctor: %v: %s%s", err, out, errs)
	}
	for _, bad := range [][]string{{"doctor", "nobody"}, {"doctor", "doctor-six", "--to", "1.2.3"}, {"doctor", "doctor-six", "--yes"}, {"doctor", "--fix"}, {"doctor", "doctor-six", "--fix", "--json"}} {
		if out, errs, err := l.try(bad...); err == nil || out != "" || strings.Count(errs, "minictr: ") != 1 {
			t.Errorf("%q: %v: %s%s", bad, err, out, errs)
		}
	}
}
