// Package cgroups puts a container into control groups of its own: it finds
// out what the host has, makes the groups, sets their limits, lets the
// container's processes in, counts what they use, and ends and removes them.
//
// A control group is a directory in a cgroup file system; a process is in
// exactly one group of each hierarchy; a controller (memory, pids, cpu, …)
// limits what the processes of a group may use and is configured by writing
// files in the directory. There are two generations (cgroups(7)):
//
//	v1       one hierarchy for each controller, or for a few "co-mounted" ones:
//	         /sys/fs/cgroup/memory/minictr/ID, /sys/fs/cgroup/pids/minictr/ID, …
//	v2       one hierarchy for all: /sys/fs/cgroup/minictr/ID. A controller is
//	         switched on for the children of a group by the group's file
//	         cgroup.subtree_control, on every level from the root down.
//	hybrid   v1, and beside it a v2 hierarchy that holds few controllers or none:
//	         it still kills, freezes, and measures cpu time and pressure.
//
// The parts, in the order in which a launch meets them:
//
//	options.go, quantity.go  --memory 512m --cpus 1.5 -> OCI resources
//	host.go, mountinfo.go    Detect: which hierarchies and controllers there are
//	group.go                 Host.New: the plan of a group; Host.Open: one that is there
//	limits.go, v1.go, v2.go  OCI resources -> files and values: two tables
//	devices.go, devicebpf.go OCI device rules -> lines of v1, or a BPF program for v2
//	directory.go             the steps: make the directories,
//	controllers.go           switch controllers on for them (v2),
//	cpuset.go                give them cpus (v1),
//	setting.go               and write the settings
//	enter.go                 how a process gets in
//	processes.go             Pids, Kill, Freeze
//	stats.go, events.go      what was used, and whether the kernel killed for memory
//	remove.go                Remove, and finding groups that a crash has left
//
// # How a process gets in
//
// On v2 the process is born in the group: clone3 with CLONE_INTO_CGROUP and the
// descriptor of [Group.OpenDir] (Linux 5.7). It costs nothing.
//
// On v1 a process has to be moved, once for each hierarchy. Writing its number
// to cgroup.procs from outside makes the kernel hold up every fork and exit of
// the machine, for which the first writer after a quiet time waits for an RCU
// grace period: 6 to 10 ms, whether the hierarchies are written one after the
// other or all at once (measured; the lock is one for all of them). But a thread
// that writes "0", meaning itself, to the file tasks needs no such lock (Linux
// 5.5, commit 9a3284fad42f "cgroup: Optimize single thread migration"). A new
// process has one thread. So the child of clone3 writes "0" to each of
// [Group.TaskFiles] as its first act, which costs 0.02 to 0.05 ms for each
// hierarchy and never the 6 to 10 ms. [Group.Attach] is the way from outside,
// for processes that are already there.
//
// A cgroup namespace takes the groups of the process that makes it as its root,
// and clone3 counts as made by the child where CLONE_INTO_CGROUP puts it. So on
// v2 CLONE_NEWCGROUP can go with it; on v1 and hybrid hosts the child has to
// call unshare(CLONE_NEWCGROUP) after it has entered (cgroup_namespaces(7)).
//
// # What stays
//
// The parent directory of the groups, /minictr, and the controllers that are
// switched on for its children stay when the last container has gone: other
// launches, running at the same time, build on them. They hold nothing.
// [Host.RemoveTree] takes a whole subtree away.
package cgroups
