package firewall

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
