// Minictr-see shows what a machine's namespaces and networks are, and where packets
// go: the commands of minictr that read and explain, and those to practise with.
//
// It is a program of its own, so that no launch of a container pays for the start-up
// of what it links. minictr executes it in its own place; people call minictr.
//
//	minictr [--root DIR] [--runroot DIR] COMMAND …
//
// command.go lists the commands, one file holds each. What they show is read from
// the kernel when they are called (packages network/…); nothing is remembered.
package main

import (
	"os"
)

func main() {
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(a.main(os.Args[1:]))
}
