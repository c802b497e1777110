package runtime

import (
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// plan is everything that the child's program depends on, resolved: the spec
// and the descriptors that the parent holds. compile is pure: the same plan
// gives the same program.
type plan struct {
	spec *specs.Spec

	root       int              // the root file system, a detached mount
	attach     string           // an existing directory of the host, to attach it at
	prepared   map[int]int      // index of spec.Mounts -> a detached mount made by the parent
	names      map[int]string   // index of spec.Mounts -> a file of filesystem, below
	files      map[int]bool     // index of spec.Mounts -> the target is a file, not a directory
	private    map[int][]string // index of spec.Mounts -> paths of mounts on it that are to be private
	filesystem int              // a detached tmpfs with the container's hosts, hostname and resolv.conf
	devices    []deviceNode     // what /dev gets beside the defaults
	masks      map[string]bool  // masked path that exists -> it is a directory
	readonly   []string         // read-only paths that exist

	stdio       [3]int // descriptors for 0, 1 and 2
	console     int    // the slave of the terminal, or 0
	consoleName string // its name below /dev/pts

	joins      []join // namespaces to enter instead of new ones
	user       identity
	filter     []unix.SockFilter
	filterFlag uint64
	// lastCapability is the highest that the kernel knows.
	lastCapability int

	mapped       int         // read end of a pipe: the id mappings are written; 0: no user namespace
	start        int         // read end: network ready, go on
	parentEnds   []int       // descriptors of the parent's that must not stay open in the child
	hierarchies  []hierarchy // what to mount at /sys/fs/cgroup
	tasks        []taskFile  // files to which the child writes "0" to enter its cgroup v1
	cgroupNS     bool        // make the cgroup namespace after that
	stub         int         // the launch stub
	candidates   []string    // paths to try for the command, in the order of PATH
	monitor      *monitor    // detached: what becomes the container's parent
	cloneFlags   uint64      // namespaces that clone3 makes
	cgroupFD     int         // cgroup v2 directory to be born in, or 0
	deathSignal  bool        // die with the parent
	closeForeign bool        // mark descriptors that minictr inherited close-on-exec
}

// join is a namespace to enter.
type join struct {
	kind specs.LinuxNamespaceType
	fd   int
	path string
}

// identity is who the container's process becomes.
type identity struct {
	uid, gid uint32
	groups   []uint32
}

// deviceNode is a device that the container gets.
type deviceNode struct {
	path         string // below /dev
	mode         uint32 // type and permissions
	major, minor uint32
	uid, gid     uint32
}

// hierarchy is a cgroup file system to mount: v2, or v1 with its options.
type hierarchy struct {
	name    string   // directory below /sys/fs/cgroup; empty for a single v2
	fstype  string   // cgroup or cgroup2
	options []string // controllers, or none and name=
}

// defaultDevices are the nodes that every container has, OCI runtime-spec,
// config-linux.md, "Default Devices".
var defaultDevices = []deviceNode{
	{path: "null", mode: unix.S_IFCHR | 0o666, major: 1, minor: 3},
	{path: "zero", mode: unix.S_IFCHR | 0o666, major: 1, minor: 5},
	{path: "full", mode: unix.S_IFCHR | 0o666, major: 1, minor: 7},
	{path: "random", mode: unix.S_IFCHR | 0o666, major: 1, minor: 8},
	{path: "urandom", mode: unix.S_IFCHR | 0o666, major: 1, minor: 9},
	{path: "tty", mode: unix.S_IFCHR | 0o666, major: 5, minor: 0},
}

// defaultLinks are the symbolic links of /dev.
var defaultLinks = [][2]string{
	{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
}

// taskFile is the open file "tasks" of a cgroup v1.
type taskFile struct {
	path string
	fd   int
}

// namespaceFlags are the clone(2) flags of the namespaces.
var namespaceFlags = map[specs.LinuxNamespaceType]uint64{
	specs.PIDNamespace:     unix.CLONE_NEWPID,
	specs.NetworkNamespace: unix.CLONE_NEWNET,
	specs.MountNamespace:   unix.CLONE_NEWNS,
	specs.IPCNamespace:     unix.CLONE_NEWIPC,
	specs.UTSNamespace:     unix.CLONE_NEWUTS,
	specs.UserNamespace:    unix.CLONE_NEWUSER,
	specs.CgroupNamespace:  unix.CLONE_NEWCGROUP,
}

// unshareFlags are the options of unshare(1) for clone flags.
func unshareFlags(flags uint64) string {
	var out []string
	for _, n := range []struct {
		flag   uint64
		option string
	}{
		{unix.CLONE_NEWUSER, "--user"},
		{unix.CLONE_NEWPID, "--pid"},
		{unix.CLONE_NEWNS, "--mount"},
		{unix.CLONE_NEWUTS, "--uts"},
		{unix.CLONE_NEWIPC, "--ipc"},
		{unix.CLONE_NEWNET, "--net"},
		{unix.CLONE_NEWCGROUP, "--cgroup"},
	} {
		if flags&n.flag != 0 {
			out = append(out, n.option)
		}
	}
	return strings.Join(out, " ")
}

// rlimits are the limits of getrlimit(2) by the names of the OCI config.
var rlimits = map[string]uint64{
	"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA,
	"RLIMIT_STACK": unix.RLIMIT_STACK, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK,
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO,
	"RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
}
