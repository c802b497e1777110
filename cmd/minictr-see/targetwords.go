package main

import (
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/namespaces"
)

// targetWords completes the first arguments, so many of them, as targets: running
// containers, names of ip netns, the host. What follows is up to the shell.
func (a *app) targetWords(count int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= count {
			return nil, cobra.ShellCompDirectiveDefault
		}
		words := append([]string{"host", "self"}, a.runningNames()...)
		names, _ := os.ReadDir(network.NetnsDir(a.runroot)) // without one there are none
		for _, n := range names {
			if !slices.Contains(words, n.Name()) { // a container has its name there, too
				words = append(words, n.Name())
			}
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

func kindWords(*cobra.Command, []string, string) (words []string, d cobra.ShellCompDirective) {
	for _, k := range namespaces.Kinds() {
		words = append(words, string(k))
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}
