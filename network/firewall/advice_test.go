package firewall

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minictr/minictr/test/kernel"
)

// With the rule set of each of the others, what Advise says is what the kernel
// does; and after the cure everything passes.
func TestAdviceAndCures(t *testing.T) {
	files, err := filepath.Glob("testdata/*.nft")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".nft"), func(t *testing.T) {
			l := newLab(t)
			l.rules(file)
			if d := cmp.Diff(l.reality(), l.opinion()); d != "" {
				t.Errorf("kernel (-) and Walk (+):\n%s", d)
			}
			findings, err := Advise(l.question())
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range findings {
				t.Log(f)
			}
			l.apply(file, findings)
			for what, passes := range l.reality() {
				if !passes {
					t.Errorf("after the cure: %s is dropped", what)
				}
			}
			again, err := Advise(l.question())
			if err != nil || len(again) > 0 {
				t.Errorf("after the cure: %v %v", again, err)
			}
		})
	}
}

// apply types the cures. ufw and firewall-cmd cannot run here: what they make
// of exactly these commands was made by them and is in testdata/cured.
func (l *lab) apply(file string, findings []Finding) {
	l.t.Helper()
	var made []string
	for _, f := range findings {
		for _, command := range f.Cure {
			switch strings.Fields(command)[0] {
			case "ufw", "firewall-cmd":
				made = append(made, command)
				continue
			case "iptables", "ip6tables":
				kernel.RequireCommand(l.t, "iptables-nft")
				command = strings.Replace(command, "tables", "tables-nft", 1)
			}
			l.atHome()
			if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
				l.t.Errorf("%s: %v: %s", command, err, out)
			}
		}
	}
	if len(made) == 0 {
		return
	}
	want := map[string][]string{
		"ufw.nft":         {"ufw route allow in on minictr0", "ufw route allow out on minictr0", "ufw allow in on minictr0 to any port 53"},
		"firewalld.nft":   {"firewall-cmd --zone=trusted --add-interface=minictr0", "firewall-cmd --permanent --zone=trusted --add-interface=minictr0"},
		"firewalld-0.nft": {"firewall-cmd --zone=trusted --add-interface=minictr0", "firewall-cmd --permanent --zone=trusted --add-interface=minictr0"},
	}[filepath.Base(file)]
	for _, command := range union(nil, made) {
		if !strings.Contains(strings.Join(want, "\n")+"\n", command+"\n") {
			l.t.Errorf("%q is not among the commands that made the file in testdata/cured", command)
		}
	}
	l.rules(filepath.Join("testdata/cured", filepath.Base(file)))
}

// With br_netfilter, which Docker loads, a FORWARD that drops parts containers
// on one bridge from each other.
func TestBridgedContainers(t *testing.T) {
	l := newLab(t)
	if !bridgeCallsIPTables() {
		return // nothing that goes over a bridge is asked about
	}
	neighbour := kernel.NewNetns(t)
	l.sh(`set -e
ip link add port2 type veth peer name eth0 netns ` + neighbour.Path() + `
ip link set port2 master minictr0 up`)
	neighbour.Do(t, func() {
		if out, err := exec.Command("sh", "-c", "ip addr add 172.17.0.3/16 dev eth0; ip link set eth0 up").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	})
	kernel.Eventually(t, 5*time.Second, func() error {
		if !l.passes("tcp", l.container, neighbour, "172.17.0.3|80") {
			return errors.New("nothing passes without rules")
		}
		return nil
	})
	l.rules("testdata/docker.nft")
	if l.passes("tcp", l.container, neighbour, "172.17.0.3|80") {
		t.Error("Docker's FORWARD lets it pass")
	}
	findings, err := Advise(Question{Bridge: "minictr0", Networks: l.question().Networks[:1]})
	if err != nil || len(findings) != 1 || findings[0].What[0] != "packets between containers on minictr0" {
		t.Fatal(findings, err)
	}
	l.apply("testdata/docker.nft", findings)
	if !l.passes("tcp", l.container, neighbour, "172.17.0.3|80") {
		t.Error("nothing passes after the cure")
	}
}
