package faults

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minictr/minictr/network/fault"
	"github.com/minictr/minictr/test/kernel"
)

// TestMain applies, when it is asked to, a part of a record, as a minictr does that is
// killed then.
func TestMain(m *testing.M) {
	if name := os.Getenv(applyRecord); name != "" {
		if err := applyPart(name, os.Getenv(applyCount)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const applyRecord, applyCount = "FAULTS_RECORD", "FAULTS_COUNT"

func applyPart(name, count string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var r fault.Record
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	var n int
	if _, err := fmt.Sscan(count, &n); err != nil {
		return err
	}
	for _, c := range r.Changes[:n] {
		if err := c.Apply(); err != nil {
			return err
		}
	}
	return nil
}

// workers is how many labs there are at a time.
const workers = 4

// inLabs runs f for each of the faults, in several labs at a time.
func inLabs(t *testing.T, faults []fault.Fault, f func(l *lab, f fault.Fault, before string)) {
	t.Helper()
	programs := require(t)
	work := make(chan fault.Fault)
	var all sync.WaitGroup
	for range workers {
		l := newLab(t, programs)
		all.Go(func() {
			before := l.dump()
			for one := range work {
				f(l, one, before)
			}
		})
	}
	for _, one := range faults {
		work <- one
	}
	close(work)
	all.Wait()
}

// unfit are the faults that cannot be injected everywhere, and what they need.
func unfit(name string) string {
	switch name {
	case "conntrack-full", "neighbour-full":
		return "the machine's first network namespace"
	case "loss":
		return "the kernel's queue netem"
	case "vlan-wrong":
		return "VLAN filtering for bridges"
	case "bridged-drop":
		return "the kernel module br_netfilter"
	}
	return ""
}

// refused tells whether the error is one of a fault that cannot be injected here.
func refused(name string, err error) bool {
	because := map[string]string{"loss": "no queue netem", "vlan-wrong": "no VLAN filtering", "bridged-drop": "br_netfilter"}[name]
	if because == "" {
		because = "first network namespace"
	}
	return unfit(name) != "" && strings.Contains(err.Error(), because)
}

// victim is the container that a fault is for.
func victim(name string) string {
	if name == "ipv6-off" {
		return "six"
	}
	return "web"
}

// byHand are the faults whose commands cannot be typed here: a program has to be
// compiled first, or the kernel lacks what tc would use.
func byHand(name string) bool {
	switch name {
	case "xdp-drop", "cgroup-egress", "ingress-drop":
		return false
	case "name-server-killed": // it has another number since it was started again
		return false
	}
	return true
}

// invisible are the faults that no listing shows.
func invisible(name string) bool { return name == "cgroup-egress" || name == "link-deleted" }

func TestReversal(t *testing.T) {
	var applied sync.Map
	some := sample(t)
	inLabs(t, some, func(l *lab, f fault.Fault, before string) {
		who := victim(f.Name)
		out, _, err := output(l.minictr("fault", "inject", "--yes", f.Name, who))
		if err != nil {
			if !refused(f.Name, err) {
				t.Error(err)
			}
			if diff := difference(before, l.dump()); diff != "" {
				t.Errorf("%s was refused, and changed\n%s", f.Name, diff)
			}
			return
		}
		applied.Store(f.Name, true)
		broken := l.dump()
		if broken == before && !invisible(f.Name) {
			t.Errorf("%s changes nothing", f.Name)
		}
		record, err := os.ReadFile(l.record(who))
		if err != nil {
			t.Error(err)
		}
		l.clear(f.Name, who, before)
		if byHand(f.Name) {
			l.commands(f.Name, who, out, broken, before, record)
		}
		l.killed(f.Name, who, before, record)
	})
	count := 0
	applied.Range(func(any, any) bool { count++; return true })
	t.Logf("%d faults", count)
	if count < len(some)-unfitFaults {
		t.Errorf("only %d of %d faults could be injected", count, len(some))
	}
}

// unfitFaults is how many unfit knows.
const unfitFaults = 5

// allVariable says that TestReversal shall take every fault; it takes a minute.
const allVariable = "MINICTR_FAULTS"

// sample is every third fault, others each time.
func sample(t *testing.T) []fault.Fault {
	all := fault.List()
	if os.Getenv(allVariable) == "all" {
		return all
	}
	random := rand.New(rand.NewPCG(kernel.Seed(t), 0))
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:len(all)/3]
}

func (l *lab) record(who string) string { return l.seen(runroot + "/faults/" + l.ids[who] + ".json") }

func (l *lab) clear(name, who, before string) {
	if out, _, err := output(l.minictr("fault", "clear", who)); err != nil || out != who+": "+name+" was taken back" {
		l.t.Errorf("clear %s: %q %v", name, out, err)
	}
	if diff := l.same(before); diff != "" {
		l.t.Errorf("%s and back is not the same:\n%s", name, diff)
	}
}

// commands types what was printed, and expects the same.
func (l *lab) commands(name, who, out, broken, before string, record []byte) {
	var script []string
	for line := range strings.Lines(out) {
		if text, ok := strings.CutPrefix(line, "$ "); ok {
			script = append(script, text)
		}
	}
	shell := "set -e\nminictr() { " + l.programs + "/minictr --root " + l.root + " \"$@\"; }\n" + strings.Join(script, "")
	if _, _, err := output(l.command("sh", "-c", shell)); err != nil {
		l.t.Errorf("%s by hand: %v", name, err)
	}
	if diff := l.sameBut(carrier, broken); diff != "" {
		l.t.Errorf("%s by hand is not the same as injected:\n%s\n%s", name, shell, diff)
	}
	if err := os.WriteFile(l.record(who), record, 0o600); err != nil {
		l.t.Error(err)
	}
	l.clear(name, who, before)
}

// killed clears what was broken off after each of the changes but the last.
func (l *lab) killed(name, who, before string, record []byte) {
	var r fault.Record
	if err := json.Unmarshal(record, &r); err != nil {
		l.t.Error(err)
	}
	for n := range r.Changes {
		if err := os.WriteFile(l.record(who), record, 0o600); err != nil {
			l.t.Error(err)
		}
		c := l.command(os.Args[0])
		c.Env = append(os.Environ(), applyRecord+"="+runroot+"/faults/"+l.ids[who]+".json", fmt.Sprintf("%s=%d", applyCount, n))
		if n > 0 {
			if _, _, err := output(c); err != nil {
				l.t.Errorf("%s, the first %d: %v", name, n, err)
			}
		}
		if n > 0 || rand.IntN(8) == 0 { // before the first change nothing has to be taken back
			l.clear(name, who, before)
			continue
		}
		if err := os.Remove(l.record(who)); err != nil {
			l.t.Error(err)
		}
	}
}

// A minictr that is killed at any time leaves what the next one takes back.
func TestKilledInject(t *testing.T) {
	l := newLab(t, require(t))
	before := l.dump()
	list := fault.List()
	injected := 0
	for range 25 {
		f := list[rand.IntN(len(list))]
		if unfit(f.Name) != "" {
			continue
		}
		c := l.minictr("fault", "inject", "--yes", f.Name, victim(f.Name))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
		_ = c.Process.Kill() // it may have ended
		_ = c.Wait()
		out, _, err := output(l.minictr("fault", "clear"))
		if err != nil {
			t.Errorf("clear %s after a kill: %v", f.Name, err)
		}
		if out != "" {
			injected++
		}
		if diff := l.same(before); diff != "" {
			t.Errorf("%s, killed and taken back, is not the same:\n%s", f.Name, diff)
		}
	}
	t.Logf("%d records were written before the kill", injected)
}
