// Command minictr runs containers and shows how they are made.
//
// It parses, calls package runtime, and prints; it makes no system call of its
// own accord. main.go finds the command, command.go lists them, one file holds
// each, and failure.go turns an error into what a person reads.
package main

import (
	"os"
	stdruntime "runtime"
)

// version is set by the linker, see the Makefile.
var version = "development"

func main() {
	// A container dies with the thread that made it (PR_SET_PDEATHSIG), so all
	// launches happen on the one thread that lasts as long as the process.
	stdruntime.LockOSThread()
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(a.main(os.Args[1:]))
}
