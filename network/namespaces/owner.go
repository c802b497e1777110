package namespaces

import (
	"path"
	"strings"
)

// An Owner is what a namespace was made for.
type Owner struct {
	// Kind is minictr, docker, podman, containerd, kubernetes, libvirt, lxc, nspawn,
	// unit (of systemd), netns (ip-netns(8)), kernel, host, or empty: nobody knows.
	Kind string
	// Name is the container's id or, where the system knows no id, its name; the
	// unit's, or that in /run/netns. Of a container of minictr only its runtime knows
	// the name.
	Name string
}

// String is the kind and the name: "docker 3f1e…", "netns blue", "host".
func (o Owner) String() string { return strings.TrimSpace(o.Kind + " " + o.Name) }

// Owner says whose the namespace is, by its first process's cgroup and parent, and by
// where it is mounted. A container runtime is surer than a name in /run/netns, and
// that than a unit, for whoever typed "ip netns exec" is in one.
func (n Namespace) Owner() Owner {
	if n.Host {
		return Owner{Kind: "host"}
	}
	leader := n.Leader()
	owner, rank := ownerOfCgroup(leader.Cgroup)
	if rank == rankRuntime {
		return owner
	}
	if of, ok := ownerOfShim(n.parentCommand); ok {
		return of
	}
	if of, ok := ownerOfPaths(n.Paths); ok {
		return of
	}
	if leader.PPid == kthreadd {
		return Owner{Kind: "kernel"}
	}
	return owner
}

// kthreadd is the parent of all kernel threads.
const kthreadd = 2

// How much a cgroup's path says.
const (
	rankNothing = iota
	rankUnit
	rankRuntime
)

func cgroupRank(group string) int {
	_, rank := ownerOfCgroup(group)
	return rank
}

// ownerOfCgroup reads the path of a cgroup. The outermost part that a container
// runtime has named decides: in a container there may be units.
func ownerOfCgroup(group string) (Owner, int) {
	parts := strings.Split(strings.Trim(group, "/"), "/")
	for i, part := range parts {
		before := ""
		if i > 0 {
			before = parts[i-1]
		}
		for _, rule := range cgroupRules {
			if name, ok := rule.name(before, part); ok {
				return Owner{Kind: rule.kind, Name: name}, rankRuntime
			}
		}
	}
	for i := len(parts) - 1; i >= 0; i-- {
		if ext := path.Ext(parts[i]); ext == ".service" || ext == ".scope" || ext == ".socket" || ext == ".mount" {
			return Owner{Kind: "unit", Name: unescapeUnit(parts[i])}, rankUnit
		}
	}
	return Owner{}, rankNothing
}

// cgroupRules are how the container runtimes name the cgroups of their containers:
// a part of the path, and the part before it. The first that matches wins.
var cgroupRules = []struct {
	kind string
	name func(before, part string) (string, bool)
}{
	{"minictr", below("minictr")},
	{"docker", between("docker-", ".scope")},
	{"docker", below("docker")},
	{"podman", between("libpod-", ".scope")},
	{"podman", between("libpod-", "")},
	{"kubernetes", between("cri-containerd-", ".scope")},
	{"kubernetes", between("crio-", ".scope")},
	{"kubernetes", belowPod},
	{"lxc", between("lxc.payload.", "")},
	{"lxc", below("lxc.payload")},
	{"lxc", below("lxc")},
	{"libvirt", machine("machine-qemu-")},
	{"libvirt", machine("machine-lxc-")},
	{"nspawn", between("systemd-nspawn@", ".service")},
	{"nspawn", between("machine-", ".scope")},
}

// below is what lies directly below a cgroup of that name, as cgroupfs drivers have it.
func below(parent string) func(before, part string) (string, bool) {
	return func(before, part string) (string, bool) { return part, before == parent && part != "" }
}

// between is a name with something before and behind it, as systemd drivers have it.
// conmon's own scope, libpod-conmon-ID.scope, is no container.
func between(prefix, suffix string) func(before, part string) (string, bool) {
	return func(_, part string) (string, bool) {
		name, begins := strings.CutPrefix(part, prefix)
		name, ends := strings.CutSuffix(name, suffix)
		return unescapeUnit(name), begins && ends && name != "" && !strings.HasPrefix(name, "conmon-")
	}
}

// belowPod is a container's id below a pod of Kubernetes, cgroupfs driver.
func belowPod(before, part string) (string, bool) {
	return part, strings.HasPrefix(before, "pod") && isID(part)
}

// machine is a virtual machine of libvirt, whose scope has a number before the name:
// machine-qemu\x2d1\x2dNAME.scope.
func machine(prefix string) func(before, part string) (string, bool) {
	return func(_, part string) (string, bool) {
		name, ok := strings.CutPrefix(unescapeUnit(part), prefix)
		name, ends := strings.CutSuffix(name, ".scope")
		_, name, numbered := strings.Cut(name, "-")
		return name, ok && ends && numbered
	}
}

// unescapeUnit turns systemd's escape of the hyphen back; see systemd.unit(5).
func unescapeUnit(name string) string { return strings.ReplaceAll(name, `\x2d`, "-") }

// isID tells whether the text is a container's id: 64 hexadecimal digits.
func isID(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// ownerOfShim reads the command line of the process that looks after a container:
// conmon of podman and CRI-O, containerd-shim of Docker, Kubernetes and containerd.
func ownerOfShim(command string) (Owner, bool) {
	args := strings.Fields(command)
	if len(args) == 0 {
		return Owner{}, false
	}
	switch program := path.Base(args[0]); {
	case program == "conmon":
		kind := "podman"
		if strings.Contains(command, "/crio") {
			kind = "kubernetes"
		}
		return Owner{kind, option(args, "-c", "--cid")}, true
	case strings.HasPrefix(program, "containerd-shim"):
		kind := "containerd"
		switch option(args, "-namespace") {
		case "moby":
			kind = "docker"
		case "k8s.io":
			kind = "kubernetes"
		}
		return Owner{kind, option(args, "-id")}, true
	}
	return Owner{}, false
}

// option is the argument behind one of the options.
func option(args []string, names ...string) string {
	for i, a := range args[:len(args)-1] {
		for _, name := range names {
			if a == name {
				return args[i+1]
			}
		}
	}
	return ""
}

// ownerOfPaths reads the name of a bind mount.
func ownerOfPaths(paths []string) (Owner, bool) {
	for _, p := range paths {
		directory, name := path.Split(p)
		switch {
		case strings.HasSuffix(directory, "/docker/netns/"):
			return Owner{"docker", name}, true
		case strings.HasSuffix(directory, "/run/netns/"):
			return Owner{"netns", name}, true
		}
	}
	return Owner{}, false
}
