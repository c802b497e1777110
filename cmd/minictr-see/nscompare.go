package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network/namespaces"
)

func nsCompareCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "compare A B", Args: cobra.ExactArgs(2),
		Short:             "say which namespaces two targets share",
		ValidArgsFunction: a.targetWords(2),
		Long:              "Compare prints the namespaces of two targets side by side. A namespace has one inode as long as it\nlives: an equal inode is the same room.\n\n" + targetForms,
		Example:           "  minictr ns compare web host\n  minictr ns compare web db\n  minictr ns compare netns:blue pid:4711",
		RunE: func(_ *cobra.Command, args []string) error {
			rows, names, err := a.compare(args[0], args[1])
			if err != nil {
				return err
			}
			if asJSON {
				return terminal.JSON(a.out, comparisonJSON{names[0], names[1], rows})
			}
			a.printComparison(rows, names)
			return nil
		},
	}
	c.Flags().BoolVarP(&asJSON, "json", "J", false, "print JSON")
	return c
}

// A comparison is one kind of namespace of two targets.
type comparison struct {
	Kind   namespaces.Kind `json:"type"`
	Inodes [2]*uint64      `json:"ns"`   // nil: the target is one namespace of another kind
	Same   bool            `json:"same"` // both are in it
	Host   [2]bool         `json:"host"` // it is the host's
}

type comparisonJSON struct {
	A          string       `json:"a"`
	B          string       `json:"b"`
	Namespaces []comparison `json:"namespaces"`
}

// compare reads the two targets; both are held until both are read.
func (a *app) compare(words ...string) (rows []comparison, names [2]string, err error) {
	var sets [2]namespaces.Set
	for i, word := range words {
		t, err := a.target(word)
		if err != nil {
			return nil, names, err
		}
		defer t.close()
		names[i], sets[i] = t.String(), t.set
	}
	host, err := namespaces.Host()
	if err != nil {
		return nil, names, err
	}
	return compareSets(sets, host), names, nil
}

// compareSets is pure: which of two processes' namespaces are one.
func compareSets(sets [2]namespaces.Set, host namespaces.Set) (rows []comparison) {
	for _, k := range namespaces.Kinds() {
		row := comparison{Kind: k}
		for i, set := range sets {
			if inode, ok := set[k]; ok {
				row.Inodes[i], row.Host[i] = &inode, host[k] == inode
			}
		}
		if row.Inodes[0] == nil && row.Inodes[1] == nil {
			continue
		}
		row.Same = row.Inodes[0] != nil && row.Inodes[1] != nil && *row.Inodes[0] == *row.Inodes[1]
		rows = append(rows, row)
	}
	return rows
}

// verdict says in words what the inodes mean.
func (c comparison) verdict(names [2]string) string {
	switch {
	case c.Inodes[0] == nil || c.Inodes[1] == nil:
		return "nothing to compare"
	case c.Same && c.Host[0]:
		return "shared, and it is the host's"
	case c.Same:
		return "shared"
	case c.Host[0] && names[0] != "host":
		return "separate; " + names[0] + " is in the host's"
	case c.Host[1] && names[1] != "host":
		return "separate; " + names[1] + " is in the host's"
	}
	return "separate"
}

// printComparison prints the table and one line that sums it up.
func (a *app) printComparison(rows []comparison, names [2]string) {
	table := [][]string{{"TYPE", names[0], names[1], ""}}
	var shared []string
	compared := 0
	for _, c := range rows {
		line := []string{string(c.Kind)}
		for _, inode := range c.Inodes {
			text := "-"
			if inode != nil {
				text = strconv.FormatUint(*inode, 10)
			}
			line = append(line, text)
		}
		table = append(table, append(line, c.verdict(names)))
		if c.Same {
			shared = append(shared, string(c.Kind))
		}
		if c.Inodes[0] != nil && c.Inodes[1] != nil {
			compared++
		}
	}
	a.columns(table, "")
	fmt.Fprintln(a.out)
	switch {
	case compared == 0:
		fmt.Fprintf(a.out, "%s and %s have no type of namespace in common.\n", names[0], names[1])
	case len(shared) == 0:
		fmt.Fprintf(a.out, "%s and %s share no namespace.\n", names[0], names[1])
	case len(shared) == compared && compared == len(namespaces.Kinds()):
		fmt.Fprintf(a.out, "%s and %s share all: %s.\n", names[0], names[1], strings.Join(shared, ", "))
	default:
		fmt.Fprintf(a.out, "%s and %s share %s.\n", names[0], names[1], strings.Join(shared, ", "))
	}
}
