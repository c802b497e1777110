package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// A group is a command that only has commands below it: the other spelling that
// docker has for most of them.

func networkCommand(a *app) *cobra.Command { return a.group("network", networkCommands()) }

func imageCommand(a *app) *cobra.Command {
	return a.group("image", []command{
		{"ls", "", "list images", imagesCommand},
		{"rm", "", "remove images", rmiCommand},
		{"pull", "", "pull an image from a registry", pullCommand},
		{"push", "", "push an image to a registry", pushCommand},
		{"load", "", "load images from an archive", loadCommand},
		{"save", "", "write images into an archive", saveCommand},
		{"import", "", "make an image from a root file system", importCommand},
		{"tag", "", "give an image another name", tagCommand},
		{"history", "", "print the steps in which an image was made", historyCommand},
		{"inspect", "", "print everything about images", imageInspectCommand},
		{"verify", "", "compare images with their digests", verifyCommand},
		{"prune", "", "remove images that have no name, and what failed pulls left", pruneCommand},
	})
}

func containerCommand(a *app) *cobra.Command {
	list := []command{{"ls", "", "list containers", psCommand}}
	for _, c := range commands() {
		if c.group == groupContainers && c.name != "container" || c.name == "logs" || c.name == "top" || c.name == "diff" || c.name == "inspect" {
			list = append(list, c)
		}
	}
	list = append(list, command{"prune", "", "remove all containers that have ended", containerPruneCommand})
	return a.group("container", list)
}

// group declares a command with the commands below it.
func (a *app) group(name string, below []command) *cobra.Command {
	c := &cobra.Command{
		Use: name, Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q; 'minictr %s --help' lists them", name+" "+args[0], name)}
			}
			return c.Help()
		},
	}
	for _, row := range below {
		built := a.build(row)
		built.Use = row.name + afterWord(built.Use)
		c.AddCommand(built)
	}
	return c
}

// afterWord is what follows the first word, with the space before it.
func afterWord(s string) string {
	for i := range s {
		if s[i] == ' ' {
			return s[i:]
		}
	}
	return ""
}

// imageInspectCommand is inspect --type image.
func imageInspectCommand(a *app) *cobra.Command {
	c := inspectCommand(a)
	kind := c.Flags().Lookup("type")
	kind.Hidden = true
	c.RunE = func(c *cobra.Command, names []string) error {
		format, err := c.Flags().GetString("format")
		if err != nil {
			return err
		}
		return a.inspect(names, inspectFlags{format: format, kind: "image"})
	}
	return c
}
