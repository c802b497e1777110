package faults

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/minictr/minictr/network/fault"
)

var update = flag.Bool("update", false, "write docs/faults.md anew")

// page is the golden file: people read it.
const page = "../../docs/faults.md"

// A finding is what the doctor says of a check.
type finding struct {
	Check, Status, Object, What string
	Cure                        []string
	Ours                        bool
}

// A diagnosis is the answer of minictr doctor --json.
type diagnosis struct {
	Healthy bool
	Cause   *finding
	Checks  []finding
}

// named is the check of the cause, or of the warning where there is no fault.
func (d diagnosis) named(wanted string) string {
	if d.Cause != nil {
		return d.Cause.Check
	}
	for _, c := range d.Checks {
		if c.Status == "warn" && c.Check == wanted {
			return wanted
		}
	}
	return "nothing"
}

// doctor asks for a diagnosis.
func (l *lab) doctor(who string) (d diagnosis, err error) {
	out, errs, err := output(l.minictr("doctor", who, "--json"))
	if json.Unmarshal([]byte(out), &d) != nil {
		return d, fmt.Errorf("minictr doctor %s: %w: %q %s", who, err, out, errs)
	}
	return d, nil
}

// A row is what became of one fault.
type row struct {
	named  string // the check of the doctor
	healed string
	note   string
}

// TestMatrix injects each fault into a healthy container: the doctor has to name the
// cause first, and what it says has to heal it. docs/faults.md has the outcome.
func TestMatrix(t *testing.T) {
	rows := map[string]row{}
	var lock sync.Mutex
	inLabs(t, fault.List(), func(l *lab, f fault.Fault, _ string) {
		r := l.examine(f)
		lock.Lock()
		defer lock.Unlock()
		rows[f.Name] = r
	})
	right, all := 0, 0
	for _, f := range fault.List() {
		r := rows[f.Name]
		if unfit(f.Name) != "" {
			if r.named != "" && r.named != f.Check {
				t.Errorf("%s: the doctor names %s, not %s. %s", f.Name, r.named, f.Check, r.note)
			}
			continue
		}
		all++
		if r.named == f.Check {
			right++
			continue
		}
		t.Logf("%s: the doctor names %s, not %s. %s", f.Name, r.named, f.Check, r.note)
	}
	t.Logf("%d of %d root causes", right, all)
	if right*100 < all*95 {
		t.Errorf("the doctor names the root cause of %d faults of %d", right, all)
	}
	golden(t, text(rows, right, all))
}

// examine is the course of one fault: healthy, broken, named, healed, healthy.
func (l *lab) examine(f fault.Fault) (r row) {
	who := victim(f.Name)
	before, err := l.doctor(who)
	if err != nil || !before.Healthy {
		l.t.Errorf("before %s: a false alarm: %+v %v", f.Name, before.Cause, err)
	}
	out, _, err := output(l.minictr("fault", "inject", "--yes", f.Name, who))
	if err != nil {
		if !refused(f.Name, err) {
			l.t.Error(err)
		}
		return row{}
	}
	defer func() {
		if _, _, err := output(l.minictr("fault", "clear", who)); err != nil {
			l.t.Error(err)
		}
		if after, err := l.doctor(who); err != nil || !after.Healthy {
			l.t.Errorf("after %s was cleared: %+v %v", f.Name, after.Cause, err)
		}
		if err := l.works(f.Name); err != nil {
			l.t.Error(err)
		}
	}()
	probe := l.breaksIt(f.Name)
	broken, err := l.doctor(who)
	if err := <-probe; err != nil {
		l.t.Error(err)
	}
	if err != nil {
		l.t.Errorf("%s: %v", f.Name, err)
		return row{named: "an error"}
	}
	r = row{named: broken.named(f.Check)}
	if broken.Cause == nil {
		r.healed = l.healWarning(who, f.Check, broken)
		return r
	}
	r.note = fmt.Sprintf("%s: %s\n%s", broken.Cause.Object, broken.Cause.What, out)
	r.healed = l.heal(who, broken)
	return r
}

// heal does what the doctor says: by itself, and else by hand.
func (l *lab) heal(who string, d diagnosis) string {
	_, _, fixed := output(l.minictr("doctor", who, "--fix", "--yes"))
	if now, err := l.doctor(who); err == nil && now.Healthy {
		return "`doctor --fix`"
	}
	shell := "minictr() { " + l.programs + "/minictr --root " + l.root + " \"$@\"; }\n" + strings.Join(d.Cause.Cure, "\n")
	_, _, typed := output(l.command("sh", "-c", shell))
	now, err := l.doctor(who)
	if err == nil && now.Healthy {
		return "the printed cure"
	}
	l.t.Logf("%s: nothing that the doctor says heals it: %v; %v: %s; then %+v %v", d.Cause.Check, fixed, typed, shell, now.Cause, err)
	return "`minictr fault clear` only"
}

// healWarning does what is printed beside a warning.
func (l *lab) healWarning(who, check string, d diagnosis) string {
	for _, c := range d.Checks {
		if c.Check != check || c.Status != "warn" {
			continue
		}
		shell := "minictr() { " + l.programs + "/minictr --root " + l.root + " \"$@\"; }\n" + strings.Join(c.Cure, "\n")
		_, _, typed := output(l.command("sh", "-c", shell))
		now, err := l.doctor(who)
		if len(c.Cure) > 0 && err == nil && now.Healthy && now.named(check) == "nothing" {
			return "the printed cure (a warning)"
		}
		l.t.Logf("%s: the cure of the warning does not heal it: %v: %s", check, typed, shell)
	}
	return "`minictr fault clear` (a warning)"
}

// text is the page.
func text(rows map[string]row, right, all int) string {
	var b strings.Builder
	fmt.Fprintf(&b, head, len(fault.List()), right, all)
	b.WriteString("| fault | affects | story | what no longer works | check of the doctor | healed by |\n|---|---|---|---|---|---|\n")
	for _, f := range fault.List() {
		r := rows[f.Name]
		named, healed := r.named, r.healed
		switch {
		case unfit(f.Name) != "":
			named, healed = f.Check, "not everywhere to be tried: it needs "+unfit(f.Name)
		case named != f.Check:
			named = "**" + named + "**, not " + f.Check
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", f.Name, f.Scope, f.Story, breaks(f.Name), named, healed)
	}
	return b.String()
}

const head = `# Faults

` + "`minictr fault`" + ` breaks one thing of a container's networking on purpose: to learn what it looks like, to teach, and to
test the doctor with. ` + "`fault inject NAME CONTAINER`" + ` prints what it did as the command that does the same by hand,
` + "`--quiet`" + ` prints nothing, and the name ` + "`random`" + ` picks one. ` + "`fault show`" + ` tells what is broken now. ` + "`fault clear`" + ` puts it
back exactly: in any process, also when the one that injected it was killed, and also when the container has ended. The
record of it, in RUNROOT/faults, was written before the first change. A container has one fault at a time. What affects
the whole machine asks first (` + "`--yes`" + `).

There are %d. A test injects each into a healthy container: the doctor named the root cause first in %d of %d, and raised no
alarm before or after. What is printed bold it took for something else. Some faults need what not every machine has.

`

// golden compares the page.
func golden(t *testing.T, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, []byte(got)) {
		c := exec.Command("diff", "-u", page, "-")
		c.Stdin = strings.NewReader(got)
		out, _ := c.CombinedOutput() // they differ
		t.Errorf("%s is not what is found (-update writes it anew):\n%s", page, out)
	}
}
