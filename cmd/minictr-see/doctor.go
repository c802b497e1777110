package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network/doctor"
	"github.com/minictr/minictr/runtime"
	"github.com/minictr/minictr/runtime/step"
)

// A doctoring is one call of doctor.
type doctoring struct {
	*app
	to             string
	fix, yes, json bool
	quiet          bool
	answers        *bufio.Reader // to what --fix asks
}

func doctorCommand(a *app) *cobra.Command {
	d := &doctoring{app: a}
	c := &cobra.Command{
		Use:   "doctor [CONTAINER] [--to ADDRESS[:PORT]] [--fix [--yes]] [--quiet] [--json]",
		Short: "find the one cause why a container's network does not work",
		Long: `Walks the chain of a container's networking, from its process by the cable and the
bridge out of the host, in the order in which a person would, and names one root cause:
what is wrong, why it matters, the command that shows it by hand and the one that cures it.
Without CONTAINER it looks at the host and at every running container. It changes nothing
but with --fix. The exit code is 0 for a healthy network and 1 for a fault.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return d.run(args) },
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.runningNames(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	f := c.Flags()
	f.StringVar(&d.to, "to", "", "look at the way to this address, and try it: ADDRESS for a ping, ADDRESS:PORT for TCP")
	f.BoolVar(&d.fix, "fix", false, "repair what is minictr's own; ask before anything else is touched")
	f.BoolVarP(&d.yes, "yes", "y", false, "with --fix: do not ask")
	f.BoolVarP(&d.quiet, "quiet", "q", false, "print only what is wrong")
	f.BoolVar(&d.json, "json", false, "print JSON")
	return c
}

func (d *doctoring) run(args []string) error {
	if d.yes && !d.fix {
		return usageError{errors.New("--yes answers what --fix asks; it says nothing without it")}
	}
	if d.fix && d.json {
		return usageError{errors.New("--fix tells what it does in words; there is no --json of it")}
	}
	if len(args) == 0 {
		if d.to != "" || d.fix {
			return usageError{errors.New("--to and --fix need a CONTAINER")}
		}
		return d.host()
	}
	id, err := d.find(args[0])
	if err != nil {
		return err
	}
	r, err := d.look(id, args[0])
	if err != nil {
		return err
	}
	if d.fix && !r.Healthy {
		return d.cure(id, r)
	}
	if d.json {
		err = d.printJSON(r)
	} else {
		d.print(r)
	}
	if err == nil && !r.Healthy {
		d.code = 1
	}
	return err
}

// find finds the running container, or the adopted namespace, that the word means.
func (d *doctoring) find(word string) (id string, err error) {
	c, err := d.runtime().Container(word)
	if is[*runtime.NotFoundError](err) {
		adopted, listErr := d.runtime().Adoptions()
		for _, a := range adopted {
			if a.Network.Netns.Name == word {
				return a.ID, nil
			}
		}
		if _, named := d.netnsPath(word); named {
			err = &targetError{text: word + " is a network namespace that minictr knows nothing of: what should be there?", hint: "minictr network adopt " + step.Quote(word) + " gives it a place on a network; then the doctor knows", err: err}
		}
		return "", errors.Join(err, listErr)
	}
	if err != nil {
		return "", err
	}
	if c.Status != runtime.Running {
		return "", &runtime.NotRunningError{Name: word}
	}
	return c.Config.ID, nil
}

// look reads and judges, again where what is wrong may be over in a moment.
func (d *doctoring) look(id, word string) (*doctor.Report, error) {
	list, err := doctor.Settled(func() ([]*doctor.Report, error) {
		r, err := d.lookOnce(id, word)
		return []*doctor.Report{r}, err
	})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 { // it ends whenever it is looked at
		return nil, &runtime.NotRunningError{Name: word}
	}
	return list[0], nil
}

func (d *doctoring) lookOnce(id, word string) (*doctor.Report, error) {
	all, err := d.patients(id)
	if err != nil {
		return nil, err
	}
	request := doctor.Request{Runroot: d.runroot}
	if d.to != "" {
		if request.Target, err = doctor.ParseTarget(d.to); err != nil {
			return nil, err
		}
	}
	for _, p := range all {
		if p.id == id {
			request.Patient = p.Patient
		} else {
			request.Others = append(request.Others, p.Patient)
		}
	}
	if request.Patient.Name == "" { // it has just ended
		return nil, &runtime.NotRunningError{Name: word}
	}
	return doctor.Look(request)
}

// A hostReport is that of the host and of all that run on it.
type hostReport struct {
	Healthy    bool             `json:"healthy"`
	Cause      *doctor.Finding  `json:"cause,omitempty"`
	Checks     []doctor.Finding `json:"checks"`
	Containers []*doctor.Report `json:"containers"`
}

// host looks at the host and at every running container.
func (d *doctoring) host() error {
	list, err := doctor.Settled(d.lookAll)
	if err != nil {
		return err
	}
	own := list[0]
	report := &hostReport{Healthy: own.Healthy, Cause: own.Cause, Checks: own.Checks, Containers: list[1:]}
	for _, r := range report.Containers {
		if r.Healthy {
			continue
		}
		report.Healthy = false
		if report.Cause == nil {
			report.Cause = r.Cause
		}
	}
	if !report.Healthy {
		d.code = 1
	}
	if d.json {
		return d.printJSON(report)
	}
	d.printHost(report)
	return nil
}

// lookAll reads and judges the host, and then whoever is on its networks.
func (d *doctoring) lookAll() ([]*doctor.Report, error) {
	all, err := d.patients("")
	if err != nil {
		return nil, err
	}
	var list []doctor.Patient
	for _, p := range all {
		list = append(list, p.Patient)
	}
	survey, err := doctor.Survey(list)
	if err != nil {
		return nil, err
	}
	own, err := doctor.Look(doctor.Request{Runroot: d.runroot, Survey: survey})
	if err != nil {
		return nil, err
	}
	reports := []*doctor.Report{own}
	for i := range list {
		others := append(append([]doctor.Patient{}, list[:i]...), list[i+1:]...)
		r, err := doctor.Look(doctor.Request{Runroot: d.runroot, Survey: survey, Patient: list[i], Others: others, NoUpstream: true})
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}

func (d *doctoring) printJSON(v any) error { return terminal.JSON(d.out, v) }

// rounds is how often what is wrong is looked at anew: behind one cause there may be
// another.
const rounds = 8

// cure repairs cause after cause, and looks again after each.
func (d *doctoring) cure(id string, r *doctor.Report) error {
	tried := map[string]bool{}
	for range rounds {
		f := r.Cause
		key := string(f.Check) + f.What
		if tried[key] || len(f.Remedies) == 0 {
			break
		}
		tried[key] = true
		d.line("cause: %s", sentence(*f))
		for _, line := range f.Cure {
			d.commands("  $ ", line)
		}
		if !f.Ours && !d.agreed() {
			break
		}
		if err := f.Repair(doctor.Hands{Run: d.shell, Reload: d.reload, Detach: detach}); err != nil {
			d.warn(err)
		}
		var err error
		if r, err = d.look(id, r.Container); err != nil {
			return err
		}
		if r.Healthy {
			d.line("%s is well again", r.Container)
			return nil
		}
	}
	d.line("left: %s", sentence(*r.Cause))
	for _, line := range r.Cause.Cure {
		d.commands("  cure: ", line)
	}
	d.code = 1
	return nil
}

// agreed asks before something that is not minictr's is touched.
func (d *doctoring) agreed() bool {
	if d.yes {
		return true
	}
	fmt.Fprint(d.out, "this is not minictr's own; do it? [y/N] ")
	if d.answers == nil {
		d.answers = bufio.NewReader(d.in)
	}
	answer, err := d.answers.ReadString('\n')
	if err != nil { // nobody is there to answer
		fmt.Fprintln(d.out)
	}
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y")
}

// shell runs a command as who types it would.
func (d *doctoring) shell(command string) error {
	c := exec.Command("sh", "-ec", command)
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (d *doctoring) reload() error { return d.runtime().ReloadNetworks(runtime.Watch{}) }

func detach(f doctor.Filter) error {
	return cgroups.Program{Attach: f.Attach, ID: f.ID}.Detach(f.Cgroup)
}

// commands writes a command, whose lines are kept together.
func (d *doctoring) commands(margin, text string) {
	for _, line := range strings.Split(text, "\n") {
		d.line("%s%s", margin, line)
		margin = strings.Repeat(" ", len(margin))
	}
}

// selfSeccomp is how many seccomp filters this process has, which containers inherit.
func selfSeccomp() int {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "Seccomp_filters: %d", &n); err == nil {
			return n
		}
	}
	return n
}
