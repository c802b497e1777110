package main

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network/namespaces"
)

// nsFlags are the options of ns, as lsns(8) spells them.
type nsFlags struct {
	kinds      []string
	pid        int
	json       bool
	noHeadings bool
}

func nsCommand(a *app) *cobra.Command {
	var flags nsFlags
	c := &cobra.Command{
		Use: "ns [TARGET]", Args: cobra.MaximumNArgs(1),
		Short:             "list all namespaces of the machine, who is in them, and whose they are",
		ValidArgsFunction: a.targetWords(1),
		Long: "Ns lists the namespaces of the machine as lsns does, with whose they are; also those that nobody is\nin, but something keeps: a bind mount, an open descriptor, a namespace below it. With a TARGET it lists\nthose that the target is in.\n\n" +
			targetForms,
		Example: "  minictr ns -t net\n  minictr ns web\n  minictr ns compare web host",
		RunE: func(_ *cobra.Command, args []string) error {
			return a.ns(flags, args)
		},
	}
	f := c.Flags()
	f.StringSliceVarP(&flags.kinds, "type", "t", nil, "only namespaces of this type: mnt, net, ipc, user, pid, uts, cgroup or time")
	f.IntVarP(&flags.pid, "task", "p", 0, "only those that the process of this number is in")
	f.BoolVarP(&flags.json, "json", "J", false, "print JSON, with the keys of lsns and more")
	f.BoolVarP(&flags.noHeadings, "noheadings", "n", false, "print no first line")
	_ = c.RegisterFlagCompletionFunc("type", kindWords) // fails only for a flag that is not there
	c.AddCommand(nsCompareCommand(a))
	return c
}

// ns prints the namespaces that were asked for.
func (a *app) ns(flags nsFlags, args []string) error {
	kinds, err := parseKinds(flags.kinds)
	if err != nil {
		return usageError{err}
	}
	word, err := nsTarget(flags.pid, args)
	if err != nil {
		return err
	}
	var only namespaces.Set
	if word != "" {
		t, err := a.target(word)
		if err != nil {
			return err
		}
		defer t.close() // the process it holds, so that its number stays its own
		only = t.set
	}
	list, err := namespaces.Read(kinds...)
	if err != nil {
		return err
	}
	if only != nil {
		list = slices.DeleteFunc(list, func(n namespaces.Namespace) bool { return only[n.Kind] != n.Inode })
	}
	rows, err := a.nsRows(list)
	if err != nil {
		a.warn(err)
	}
	if flags.json {
		return terminal.JSON(a.out, map[string][]nsRow{"namespaces": rows})
	}
	a.printNs(rows, !flags.noHeadings)
	if unix.Geteuid() != 0 {
		a.warn(errors.New("only processes of your own can be read; root sees all namespaces"))
	}
	return nil
}

func parseKinds(names []string) (kinds []namespaces.Kind, err error) {
	for _, name := range names {
		k, err := namespaces.ParseKind(name)
		if err != nil {
			return nil, err
		}
		kinds = append(kinds, k)
	}
	return kinds, nil
}

// nsTarget is the target of the command line: an argument, or the option -p.
func nsTarget(pid int, args []string) (string, error) {
	switch {
	case pid != 0 && len(args) > 0:
		return "", usageError{fmt.Errorf("-p %d and %s are two targets; give one", pid, args[0])}
	case pid != 0:
		return "pid:" + strconv.Itoa(pid), nil
	case len(args) > 0:
		return args[0], nil
	}
	return "", nil
}

// nsRow is a line of the list. The keys of lsns come first.
type nsRow struct {
	Inode     uint64   `json:"ns"`
	Kind      string   `json:"type"`
	Processes int      `json:"nprocs"`
	Pid       *int     `json:"pid"`
	User      *string  `json:"user"`
	Command   *string  `json:"command"`
	PPid      int      `json:"ppid,omitempty"`
	UID       *uint32  `json:"uid"`
	Host      bool     `json:"host"`
	Owner     nsOwner  `json:"owner"`
	Paths     []string `json:"paths"`
	Held      []nsHeld `json:"held"`
	Parent    uint64   `json:"parent,omitempty"`
	UserOwner uint64   `json:"userns,omitempty"`
	MadeBy    *uint32  `json:"madeby"`
}

type nsOwner struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	ID   string `json:"id,omitempty"`
}

type nsHeld struct {
	Pid     int    `json:"pid"`
	FD      int    `json:"fd"`
	Command string `json:"command"`
}

// nsRows makes the lines. The error, about containers of minictr whose names could
// not be read, comes with them.
func (a *app) nsRows(list []namespaces.Namespace) ([]nsRow, error) {
	names, err := a.containerNames()
	users := map[uint32]string{}
	rows := make([]nsRow, 0, len(list))
	for _, n := range list {
		row := nsRow{
			Inode: n.Inode, Kind: string(n.Kind), Processes: len(n.Processes), Host: n.Host,
			Paths: append([]string{}, n.Paths...), Held: heldBy(n.Held),
			Parent: n.Parent, UserOwner: n.UserOwner,
			Owner: ownerNamed(n.Owner(), names),
		}
		if n.UserOwner != 0 || n.Kind == namespaces.User {
			row.MadeBy = &n.UID
		}
		if p := n.Leader(); p.Pid != 0 {
			name := userName(users, p.UID)
			row.Pid, row.PPid, row.UID, row.User, row.Command = &p.Pid, p.PPid, &p.UID, &name, &p.Command
		}
		rows = append(rows, row)
	}
	return rows, err
}

// containerNames are the names of minictr's containers by their ids.
func (a *app) containerNames() (map[string]string, error) {
	list, err := a.runtime().List()
	names := map[string]string{}
	for _, c := range list {
		names[c.Config.ID] = c.Config.Name
	}
	return names, err
}

// ownerNamed gives a container of minictr its name. One of another --root has none
// here: its id is shown.
func ownerNamed(o namespaces.Owner, names map[string]string) nsOwner {
	named := nsOwner{Kind: o.Kind, Name: o.Name}
	if len(o.Name) == 64 {
		named.ID = o.Name
	}
	if name, ok := names[o.Name]; ok && o.Kind == "minictr" {
		named.Name = name
	}
	return named
}

func heldBy(holders []namespaces.Holder) []nsHeld {
	held := []nsHeld{}
	for _, h := range holders {
		p, _ := namespaces.Describe(h.Pid) // one that has ended since has no command
		held = append(held, nsHeld{Pid: h.Pid, FD: h.FD, Command: p.Command})
	}
	return held
}

// userName is the user's name or, without one, the number.
func userName(known map[uint32]string, uid uint32) string {
	name, ok := known[uid]
	if !ok {
		name = strconv.FormatUint(uint64(uid), 10)
		if u, err := user.LookupId(name); err == nil {
			name = u.Username
		}
		known[uid] = name
	}
	return name
}

// printNs prints the table.
func (a *app) printNs(rows []nsRow, headings bool) {
	table := [][]string{}
	if headings {
		table = append(table, []string{"NS", "TYPE", "NPROCS", "PID", "USER", "OWNER", "COMMAND"})
	}
	for _, r := range rows {
		pid, name := "", ""
		if r.Pid != nil {
			pid, name = strconv.Itoa(*r.Pid), *r.User
		}
		table = append(table, []string{
			strconv.FormatUint(r.Inode, 10), r.Kind, strconv.Itoa(r.Processes), pid,
			terminal.Visible(name), r.Owner.String(), r.occupant(),
		})
	}
	a.columns(table, "rlrr")
}

// String is the owner for people: docker 0123456789ab, minictr web.
func (o nsOwner) String() string {
	name := o.Name
	if name == o.ID && len(name) > 12 {
		name = name[:12]
	}
	return terminal.Visible(strings.TrimSpace(o.Kind + " " + name))
}

// occupant is the command of the first process or, where nobody is in the namespace,
// what keeps it.
func (r nsRow) occupant() string {
	switch {
	case r.Command != nil:
		return inLine(*r.Command)
	case len(r.Paths) > 0:
		return "(mounted on " + terminal.Visible(r.Paths[0]) + more(len(r.Paths)-1) + ")"
	case len(r.Held) > 0:
		h := r.Held[0]
		return fmt.Sprintf("(descriptor %d of process %d, %s%s)", h.FD, h.Pid, inLine(h.Command), more(len(r.Held)-1))
	}
	return "(kept by the namespaces made in it)"
}

// inLine shows a command, which may be a script of many lines, on one.
func inLine(command string) string {
	return terminal.Visible(strings.Join(strings.Fields(command), " "))
}

// more says how many others there are.
func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}
