// Command minictr-dns answers the questions for names of one network's containers,
// and passes on those for others. minictr starts it with the first container; see
// network/names for how, and network/names/server for what it does.
//
// It stays as long as the network has containers, so it is small, and it has neither
// a terminal nor an output.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/minictr/minictr/network/names"
	"github.com/minictr/minictr/network/names/server"
)

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "minictr-dns:", err)
		os.Exit(125)
	}
}

// run is called as minictr-dns start|serve SOCKETS RUNROOT NETWORK BRIDGE.
func run(argv []string) error {
	if len(argv) != 6 {
		return fmt.Errorf("is started by minictr, not by hand")
	}
	sockets, err := strconv.Atoi(argv[2])
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGHUP) // the server inherits that, too
	lock, bound, err := names.Passed(sockets)
	if err != nil {
		return err
	}
	if argv[1] == "start" {
		return again(argv, append([]*os.File{lock}, bound...))
	}
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(20) // little garbage, but for a long time
	return server.Run(server.Config{
		Runroot: argv[3], Network: argv[4], Bridge: argv[5],
		Lock: lock, Sockets: bound, Linger: 2 * time.Second,
	})
}

// again starts the server, whose parent is then gone at once.
func again(argv []string, files []*os.File) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	argv[1] = "serve"
	_, err = os.StartProcess(self, argv, &os.ProcAttr{
		Env:   []string{},
		Files: append([]*os.File{os.Stdin, os.Stdout, os.Stderr}, files...),
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	return err
}
