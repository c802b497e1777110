// Bench compares minictr with crun, runc and podman, and with floor, a C
// program that makes the same system calls for one container and nothing else:
// what the kernel itself costs.
//
// All of it happens in one run, interleaved: in each round every subject does
// the same thing once, so that a slow minute of the machine slows all of them.
// The table gives medians with the least and the most, and how minictr's median
// relates to the others'.
//
// The run has namespaces of its own: network, mounts (with a fresh /run and
// /dev/shm, and private state directories for every subject) and PIDs. When it
// ends, however it ends, the kernel kills what is left in there. Nothing stays
// behind on the machine.
//
//	bench [-n ROUNDS] [-loops N] [-containers N] [-only NAME,…] [-table containers|images|networks]
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// Options are what the command line asks for.
type options struct {
	rounds     int    // of the rows that take one container
	loops      int    // rounds of the loop
	containers int    // in one loop
	workers    int    // that start them
	only       string // subjects of the first table, or all
	table      string // containers, images, networks, or all
	image      string // root file system archive, or made from busybox
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "n", 30, "`rounds` of run, exec and run -d")
	flag.IntVar(&o.loops, "loops", 3, "`rounds` of the loop")
	flag.IntVar(&o.containers, "containers", 100, "containers in one loop")
	flag.IntVar(&o.workers, "workers", 4, "containers that are started at a time")
	flag.StringVar(&o.only, "only", "", "subjects, `a,b`; all when empty")
	flag.StringVar(&o.table, "table", "", "`which` to make: containers, images or networks; all when empty")
	flag.StringVar(&o.image, "image", "", "`archive` of a root file system; made from busybox when empty")
	flag.Parse()
	if err := start(os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// start runs in three processes, one inside the other: see isolate.go.
func start(w io.Writer, o options) error {
	switch os.Getenv(roleVariable) {
	case roleInit:
		return reap()
	case roleBench:
		return bench(w, o)
	}
	if os.Geteuid() != 0 {
		return errors.New("needs root")
	}
	return isolate()
}

func bench(w io.Writer, o options) error {
	a, err := newArena(o)
	if err != nil {
		return err
	}
	wanted := func(table string) bool { return o.table == "" || o.table == table }
	if wanted("containers") {
		benchContainers(w, a)
	}
	if wanted("images") {
		text, err := benchImages(a)
		fmt.Fprint(w, text)
		if err != nil {
			return err
		}
	}
	if wanted("networks") {
		return benchNetworks(w, a)
	}
	return nil
}

// benchContainers makes the first table.
func benchContainers(w io.Writer, a *arena) {
	all := append([]*subject{}, subjects...)
	if a.only != "" {
		all = selected(all, strings.Split(a.only, ","))
	}
	for _, s := range all {
		s.prepare(a)
	}
	fmt.Fprint(w, facts(a, all))
	t := table{subjects: all}
	for _, r := range rows {
		fmt.Fprintf(os.Stderr, "measuring: %s\n", r.name)
		t.add(r.name, r.unit, measure(a, all, r))
	}
	fmt.Fprint(w, t.String())
}

func selected(all []*subject, names []string) []*subject {
	var list []*subject
	for _, s := range all {
		for _, name := range names {
			if s.name == name {
				list = append(list, s)
			}
		}
	}
	return list
}
