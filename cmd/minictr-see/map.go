package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/minictr/minictr/cmd/minictr-see/diagram"
	"github.com/minictr/minictr/cmd/terminal"
	"github.com/minictr/minictr/network/namespaces"
)

// mapOptions are the flags of map.
type mapOptions struct {
	ascii, json, dot, mermaid, svg bool
	all, watch                     bool
}

func mapCommand(a *app) *cobra.Command {
	o := &mapOptions{}
	c := &cobra.Command{
		Use:   "map [OPTIONS] [CONTAINER]",
		Short: "draw the host's network, or a container's way to the outside",
		Long: `Draws what the kernel has at this moment: the host's interfaces and bridges, the cables
(veth pairs) to containers and other network namespaces, their addresses and routes,
masquerade and published ports. With CONTAINER (a name, an id, the name of another
namespace in the map) it draws that one's way to the outside, hop by hop.

Equal containers are drawn as one where there are many. A bridge has a heavy frame.
A dotted red cable is one whose ends are not both up.`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.runningNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if o.watch {
				return a.watchMap(o, args)
			}
			return a.printMap(a.out, o, args)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.ascii, "ascii", false, "draw with ASCII characters only")
	f.BoolVar(&o.json, "json", false, "print the model of the picture as JSON")
	f.BoolVar(&o.dot, "dot", false, "print it for Graphviz: minictr map --dot | dot -Tpng >map.png")
	f.BoolVar(&o.mermaid, "mermaid", false, "print it as a Mermaid flowchart, for Markdown")
	f.BoolVar(&o.svg, "svg", false, "print it as an SVG image, for a browser or a slide")
	f.BoolVarP(&o.all, "all", "a", false, "draw equal containers one by one")
	f.BoolVarP(&o.watch, "watch", "w", false, "draw it anew whenever the kernel says that something changed")
	c.MarkFlagsMutuallyExclusive("ascii", "json", "dot", "mermaid", "svg")
	for _, format := range []string{"json", "dot", "mermaid", "svg"} {
		c.MarkFlagsMutuallyExclusive("watch", format)
	}
	return c
}

// printMap reads the kernel and draws.
func (a *app) printMap(out io.Writer, o *mapOptions, args []string) error {
	facts, err := a.facts()
	if err != nil {
		return err
	}
	p := diagram.Draw(facts)
	if len(args) == 1 {
		return a.printWay(out, p, o, args[0])
	}
	if o.json {
		return terminal.JSON(out, p)
	}
	if !o.all {
		p = p.Collapse()
	}
	_, err = io.WriteString(out, a.render(p, o))
	return err
}

func (a *app) render(p *diagram.Picture, o *mapOptions) string {
	switch {
	case o.dot:
		return p.DOT()
	case o.mermaid:
		return p.Mermaid()
	case o.svg:
		return p.SVG()
	}
	return p.Text(a.textOptions(o))
}

// textOptions asks the terminal. COLUMNS has the last word, as in ps(1).
func (a *app) textOptions(o *mapOptions) diagram.TextOptions {
	isTerminal := term.IsTerminal(int(a.out.Fd()))
	t := diagram.TextOptions{Columns: 80, ASCII: o.ascii, Colour: isTerminal && os.Getenv("NO_COLOR") == ""}
	if isTerminal {
		if columns, _, err := term.GetSize(int(a.out.Fd())); err == nil && columns > 0 {
			t.Columns = columns
		}
	}
	if columns, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && columns > 0 {
		t.Columns = columns
	}
	return t
}

// printWay draws one room's way.
func (a *app) printWay(out io.Writer, p *diagram.Picture, o *mapOptions, name string) error {
	if o.dot || o.mermaid || o.svg {
		return usageError{errors.New("a container's way is text or --json; without CONTAINER the whole map has the other formats")}
	}
	room, err := a.roomNamed(p, name)
	if err != nil {
		return err
	}
	w := p.Way(room)
	if o.json {
		return terminal.JSON(out, w)
	}
	_, err = io.WriteString(out, w.Text(p, a.textOptions(o)))
	return err
}

// A noRoomError is a name that nothing in the map has.
type noRoomError struct{ name string }

func (e noRoomError) Error() string {
	return fmt.Sprintf("map %s: no container or network namespace of that name", e.name)
}

func (noRoomError) Hint() string { return "minictr map shows all; minictr ps lists the containers" }

// roomNamed finds the room that a word means: a target, as other commands understand
// it, or else one by the name that the map has for it.
func (a *app) roomNamed(p *diagram.Picture, name string) (*diagram.Room, error) {
	t, err := a.target(name)
	if err == nil {
		defer t.close()
		inode := t.set[namespaces.Network]
		if i := slices.IndexFunc(p.Rooms, func(r diagram.Room) bool { return r.Inode == inode && inode != 0 }); i >= 0 {
			return &p.Rooms[i], nil
		}
		return nil, fmt.Errorf("map %s: its network namespace is not in the map", name)
	}
	if !is[*targetError](err) {
		return nil, err
	}
	for i := range p.Rooms {
		if r := &p.Rooms[i]; r.Name == name || r.ID == name {
			return r, nil
		}
	}
	return nil, noRoomError{name}
}
