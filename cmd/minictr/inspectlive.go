package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network"
)

// inspectLive prints, for each container, what its network is now and where that was
// read, and what of it is not as it was asked for.
func (a *app) inspectLive(names []string, f inspectFlags) error {
	if f.kind != "" && f.kind != "container" {
		return usageError{fmt.Errorf("--live is about containers, not --type %s", f.kind)}
	}
	if f.format == "" {
		return a.printLive(names)
	}
	return a.printInspected(names, f.format, func(name string) (any, error) {
		v, err := a.liveOf(name)
		return v, err
	})
}

// liveView is what --live says of a container.
type liveView struct {
	ID      string `json:"Id"`
	Name    string
	Network []network.Fact
	Drift   int // how many of the facts are not as asked
}

func (a *app) liveOf(name string) (*liveView, error) {
	r := a.runtime()
	c, err := r.Container(name)
	if err != nil {
		return nil, err
	}
	facts, err := r.NetworkFacts(c)
	if err != nil && len(facts) == 0 {
		return nil, err
	}
	v := &liveView{ID: c.Config.ID, Name: "/" + c.Config.Name, Network: facts}
	for _, f := range facts {
		if f.Drift != "" {
			v.Drift++
		}
	}
	return v, err
}

func (a *app) printLive(names []string) error {
	var errs []error
	for i, name := range names {
		v, err := a.liveOf(name)
		errs = append(errs, err)
		if v == nil {
			continue
		}
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		errs = append(errs, v.print(a.out))
	}
	return errors.Join(errs...)
}

// print prints a line a fact; those that are not as asked have a mark, and say why.
func (v *liveView) print(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "The network of %s, read now:\n", terminal.Visible(strings.TrimPrefix(v.Name, "/")))
	field, value := 0, 0
	for _, f := range v.Network {
		field, value = max(field, len([]rune(f.Field))), max(value, min(len([]rune(shownValue(f))), maxValue))
	}
	for _, f := range v.Network {
		mark := " "
		if f.Drift != "" {
			mark = "!"
		}
		fmt.Fprintf(&b, "%s %-*s  %-*s  %s\n", mark, field, terminal.Visible(f.Field), value, terminal.Visible(shownValue(f)), f.Source)
		if f.Drift != "" {
			fmt.Fprintf(&b, "  %*s  ^ %s\n", field, "", terminal.Visible(driftText(f)))
		}
	}
	if v.Drift == 0 {
		b.WriteString("All of it is as it was asked for.\n")
	} else {
		fmt.Fprintf(&b, "%d of it not as it was asked for: the lines with !\n", v.Drift)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// maxValue is how long a value may be and still make the column as wide.
const maxValue = 40

func shownValue(f network.Fact) string {
	if f.Value == "" {
		return "-"
	}
	return f.Value
}

// driftText says what differs, and what it should be.
func driftText(f network.Fact) string {
	drift := strings.ReplaceAll(f.Drift, "\n", "; ")
	if f.Asked == "" {
		return drift
	}
	return drift + "; asked: " + f.Asked
}
