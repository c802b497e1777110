package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network/netnsdir"
	"github.com/minictr/minictr/runtime/step"
)

func netnsListCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list [--json]", Aliases: []string{"ls", "show", "lst"}, Args: cobra.ArbitraryArgs, // ip takes no notice of more words either
		Short: "list the names, with the number (id) that this namespace has for each",
		RunE:  func(*cobra.Command, []string) error { return a.netnsList(asJSON) },
	}
	jsonFlag(c, &asJSON)
	return c
}

func jsonFlag(c *cobra.Command, asJSON *bool) {
	c.Flags().BoolVarP(asJSON, "json", "j", false, "print JSON, as ip -j does")
}

// printJSON prints a list on one line, as ip -j does; an empty one is [].
func printJSON[T any](out io.Writer, list []T) error {
	if list == nil {
		list = []T{}
	}
	return json.NewEncoder(out).Encode(list)
}

// netnsName is an entry of the list, as ip -j has it.
type netnsName struct {
	Name string `json:"name"`
	ID   *int   `json:"id,omitempty"`
}

func (a *app) netnsList(asJSON bool) error {
	names, err := a.netns().Names()
	if err != nil {
		return err
	}
	numbers, err := netnsdir.OpenNumbers()
	if err != nil {
		return err
	}
	defer numbers.Close()
	var list []netnsName
	for _, name := range names {
		entry := netnsName{Name: name}
		if f, err := a.netns().Open(name); err == nil { // else it is no namespace, but a name
			number, err := numbers.Of(f)
			f.Close()
			if err != nil {
				return step.Fail("number of network namespace", name, err)
			}
			entry.ID = numbered(number)
		}
		list = append(list, entry)
	}
	if asJSON {
		return printJSON(a.out, list)
	}
	for _, entry := range list {
		fmt.Fprint(a.out, terminal.Visible(entry.Name))
		if entry.ID != nil {
			fmt.Fprintf(a.out, " (id: %d)", *entry.ID)
		}
		fmt.Fprintln(a.out)
	}
	return nil
}

func netnsSetCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "set NAME NETNSID", Args: named(2, "a name and a number are needed"), ValidArgsFunction: a.netnsNames,
		Short: "give a network namespace a number in this one; auto: any",
		RunE:  func(_ *cobra.Command, args []string) error { return a.netnsSet(args[0], args[1]) },
	}
	c.Flags().SetInterspersed(false) // -1 is a number, though a wrong one
	return c
}

// parseNumber reads a netnsid.
func parseNumber(text string) (int, error) {
	n, err := strconv.ParseInt(text, 0, 64) // as strtol(3): 0x11 too
	if err != nil || n < 0 || n > math.MaxInt32 {
		return 0, statusError{usageError{fmt.Errorf("%q is no number of a network namespace: they are whole, from 0 to %d", text, math.MaxInt32)}, netnsBadWord}
	}
	return int(n), nil
}

func (a *app) netnsSet(name, text string) error {
	number := netnsdir.Unnumbered
	if text != "auto" {
		var err error
		if number, err = parseNumber(text); err != nil {
			return err
		}
	}
	f, err := a.netns().Open(name)
	if err != nil {
		return netnsStatus(err)
	}
	defer f.Close()
	numbers, err := netnsdir.OpenNumbers()
	if err != nil {
		return err
	}
	defer numbers.Close()
	err = numbers.Set(f, number)
	if err == nil {
		return nil
	}
	err = step.Fail("set the number of network namespace", name, err)
	if has, e := numbers.Of(f); errors.Is(err, netnsdir.ErrNumbered) && e == nil {
		err = hinted{err, fmt.Sprintf("it has the number %d", has)}
	}
	if errors.Is(err, netnsdir.ErrNumberTaken) {
		err = hinted{err, fmt.Sprintf("minictr netns list-id lists them; with 'minictr netns set %s auto' the kernel chooses", name)}
	}
	return statusError{netnsStatus(err), netnsKernelSaidNo}
}

func netnsListIDCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list-id [--json] [target-nsid NUMBER] [nsid NUMBER]", Args: cobra.ArbitraryArgs,
		Short: "list the numbers that this namespace, or the one with a number, has for others",
		RunE:  func(_ *cobra.Command, args []string) error { return a.netnsListID(args, asJSON) },
	}
	jsonFlag(c, &asJSON)
	return c
}

// netnsNumber is an entry of the list of numbers, as ip -j has it.
type netnsNumber struct {
	ID      *int   `json:"nsid,omitempty"`
	Current *int   `json:"current-nsid,omitempty"`
	Name    string `json:"name,omitempty"`
	other   bool   // the numbers are another namespace's, so that Current is of interest
}

func (a *app) netnsListID(args []string, asJSON bool) error {
	target, number, err := listIDArguments(args)
	if err != nil {
		return err
	}
	numbers, err := netnsdir.OpenNumbers()
	if err != nil {
		return err
	}
	defer numbers.Close()
	found, err := findNumbers(numbers, target, number)
	if err != nil {
		return err
	}
	names, err := numbers.Names(a.netns())
	if err != nil {
		return err
	}
	var list []netnsNumber
	for _, n := range found {
		entry := netnsNumber{ID: numbered(n.ID), Name: names[n.Current], other: target != netnsdir.Unnumbered}
		if entry.other {
			entry.Current = numbered(n.Current)
		}
		list = append(list, entry)
	}
	if asJSON {
		return printJSON(a.out, list)
	}
	for _, entry := range list {
		fmt.Fprintln(a.out, entry)
	}
	return nil
}

// String is the line of ip netns list-id, with the space that it has at its end.
func (n netnsNumber) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "nsid %s ", numberWord(n.ID))
	if n.other {
		fmt.Fprintf(&b, "current-nsid %s ", numberWord(n.Current))
	}
	if n.Name != "" {
		fmt.Fprintf(&b, "(iproute2 netns name: %s)", terminal.Visible(n.Name))
	}
	return b.String()
}

// numbered is a number for JSON: nil for none.
func numbered(n int) *int {
	if n == netnsdir.Unnumbered {
		return nil
	}
	return &n
}

func numberWord(n *int) string {
	if n == nil {
		return "unassigned"
	}
	return strconv.Itoa(*n)
}

// listIDArguments reads pairs of a word and a number.
func listIDArguments(args []string) (target, number int, err error) {
	values := map[string]*int{"target-nsid": &target, "nsid": &number}
	target, number = netnsdir.Unnumbered, netnsdir.Unnumbered
	for ; len(args) > 0; args = args[2:] {
		value := values[args[0]]
		if value == nil || len(args) == 1 {
			return 0, 0, statusError{usageError{fmt.Errorf("%q: there are target-nsid NUMBER and nsid NUMBER", args[0])}, netnsBadWord}
		}
		if *value, err = parseNumber(args[1]); err != nil {
			return 0, 0, err
		}
	}
	return target, number, nil
}

// findNumbers lists all numbers, or finds one. A number that nobody has is what the
// kernel refuses, with the exit codes of ip netns.
func findNumbers(numbers *netnsdir.Numbers, target, number int) ([]netnsdir.Number, error) {
	if number == netnsdir.Unnumbered {
		list, err := numbers.List(target)
		return list, step.Fail("list the numbers of network namespace", strconv.Itoa(target), err)
	}
	list, err := numbers.Find(number, target)
	if err != nil {
		return nil, statusError{step.Fail("find network namespace", strconv.Itoa(number), err), netnsKernelSaidNo}
	}
	return list, nil
}
