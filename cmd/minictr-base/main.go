// Minictr-base is the userland of the image minictr/base: a shell, the usual
// small commands, and those that show a network, in one static program that is
// called by many names.
//
//	minictr-base NAME [ARG…]   or by a link called NAME
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/minictr/minictr/cmd/minictr-base/applet"
)

// applets are all commands of the image.
func applets() []applet.Applet {
	var all []applet.Applet
	return all
}

func main() { os.Exit(run(os.Args)) }

func run(args []string) int {
	name := filepath.Base(args[0])
	if name == "minictr-base" && len(args) > 1 {
		args = args[1:]
		name = args[0]
	}
	for _, a := range applets() {
		if a.Name == name {
			return a.Main(args[1:])
		}
	}
	fmt.Fprintf(os.Stderr, "minictr-base: no applet %q\n", name)
	return 127
}
