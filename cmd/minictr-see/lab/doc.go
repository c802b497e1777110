// Package lab keeps the exercises of "minictr lab", and the disposable hosts in
// which they are done.
//
// A lab is a host in the namespaces of one process, its holder, which is pid 1 in it
// and does nothing but reap:
//
//	RUNROOT/labs/NAME/           the machine's file system; flock(2) on it is held by who
//	    │                        starts or stops the lab
//	    ├── holder               fcntl(2) lock of the holder: the kernel says who it is, and
//	    │                        forgets it when the holder ends
//	    ├── ready                made when the exercise has been set up
//	    ├── hints, solved, again what the learner has got so far; again: reset, from within
//	    └── root/                minictr's own --root in the lab
//
//	the lab: namespaces of its own for mounts, network, pids, host name (it is "lab"), IPC
//	    /                        the machine's, read-only
//	    /proc, /sys, /run, /tmp  new ones; of /proc/sys only net can be written to
//	    /run/minictr-lab/state   is RUNROOT/labs/NAME
//	    /run/minictr-lab/bin     minictr, first in PATH; ../base: what minictr/base has, last
//
// Nothing in it reaches the machine: its links, routes, rules, sysctls, /run/netns and
// processes die with the holder, however that ends. What is left then is the directory,
// and the control groups of containers that ran in the lab; [Labs.Heal] removes both.
//
// An exercise is a directory of exercises/: text.md, what the learner reads; setup.sh,
// check.sh, solution.sh and wrong*.sh, run by sh(1) in the lab behind begin.sh; hints.txt,
// a hint a paragraph. A check prints "ok: …" and "not yet: …", one line a goal. The wrong
// ones are what learners try first; a test holds that the check takes none of them.
package lab
