package main

import (
	"time"

	"github.com/minictr/minictr/runtime"
)

// The types of this file are what inspect prints of a container. Names and
// meaning are those of docker inspect (Docker Engine API v1.47,
// ContainerInspect) as far as Docker has them; the rest stands at the end of
// each type.

type containerView struct {
	ID              string `json:"Id"`
	Created         string
	Path            string   // the command
	Args            []string // and its arguments
	State           stateView
	Image           string // id
	ResolvConfPath  string
	HostnamePath    string
	HostsPath       string
	LogPath         string
	Name            string // with a leading slash
	RestartCount    int
	Driver          string
	Platform        string
	HostConfig      hostConfigView
	GraphDriver     graphDriverView
	Mounts          []mountView
	Config          configView
	NetworkSettings networkSettingsView

	// Read from the kernel now, and null for a container that does not run.
	Namespaces map[string]namespaceView
	Cgroup     *cgroupView
	Processes  []processView
}

type stateView struct {
	Status     runtime.Status
	Running    bool
	Paused     bool
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        int // in the host
	ExitCode   int
	Error      string
	StartedAt  time.Time
	FinishedAt time.Time
}

type hostConfigView struct {
	Binds             []string
	NetworkMode       string
	PortBindings      portMap // as asked for
	RestartPolicy     struct{ Name string }
	AutoRemove        bool
	LogConfig         struct{ Type string }
	CapAdd            []string // beyond Docker's usual ones
	CapDrop           []string // of the usual ones
	Dns               []string // Docker's spelling, here and below
	DnsOptions        []string
	DnsSearch         []string
	ExtraHosts        []string
	GroupAdd          []string
	IpcMode           string
	CgroupnsMode      string
	OomScoreAdj       int
	PidMode           string
	Privileged        bool
	ReadonlyRootfs    bool
	SecurityOpt       []string
	Tmpfs             map[string]string
	UTSMode           string
	UsernsMode        string
	ShmSize           int64 // bytes
	Sysctls           map[string]string
	Init              bool
	CpuShares         uint64
	NanoCpus          int64
	CpuPeriod         uint64
	CpuQuota          int64
	CpusetCpus        string
	CpusetMems        string
	Memory            int64 // bytes
	MemorySwap        int64
	MemoryReservation int64
	PidsLimit         *int64
	Devices           []deviceView
	Ulimits           []ulimitView

	Capabilities []string // all that the container has
}

type deviceView struct{ PathOnHost, PathInContainer, CgroupPermissions string }

type ulimitView struct {
	Name string
	Hard uint64
	Soft uint64
}

type graphDriverView struct {
	Name string
	Data map[string]string
}

type mountView struct {
	Type        string
	Name        string `json:",omitempty"` // of the volume
	Source      string
	Destination string
	Driver      string `json:",omitempty"`
	Mode        string
	RW          bool
	Propagation string
}

type configView struct {
	Hostname     string
	Domainname   string
	User         string
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	Tty          bool
	OpenStdin    bool
	ExposedPorts map[string]struct{} `json:",omitempty"` // by the image, and those that are published
	Env          []string
	Cmd          []string
	Image        string
	WorkingDir   string
	Entrypoint   []string
	Labels       map[string]string
	StopSignal   string
	StopTimeout  int // seconds
}

type networkSettingsView struct {
	SandboxID   string  // the name of the namespace: net:[4026531840]
	SandboxKey  string  // a path that opens it
	Ports       portMap // null: exposed by the image, not published
	IPAddress   string
	IPPrefixLen int
	Gateway     string
	MacAddress  string

	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	IPv6Gateway         string

	Networks map[string]endpointView

	Veth  *vethView // of its first interface
	Rules []string  // of nftables that concern it, as commands
	Drift []string  // what is not as it was set up
}

type endpointView struct {
	NetworkID   string
	EndpointID  string
	Gateway     string
	IPAddress   string
	IPPrefixLen int
	MacAddress  string

	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	IPv6Gateway         string

	Aliases []string
	Veth    *vethView // how it is connected, read from the kernel now
}

// vethView is the pair of which one end is in the container:
//
//	eth0 (Index) in the container ── HostInterface (HostIndex) ── Bridge
type vethView struct {
	Interface     string
	Index         int // in the container's namespace: eth0@if<HostIndex>
	HostInterface string
	HostIndex     int // in the host's: veth…@if<Index>
	MTU           int // bytes
	Addresses     []string
	Bridge        string
	BridgeIndex   int
	PortState     string // of the bridge's port: forwarding, disabled, …
}

type namespaceView struct {
	Inode uint64
	Path  string
	Host  bool // process 1 of the host is in it too
}

type cgroupView struct {
	Mode   string            // v1, hybrid or v2
	Paths  map[string]string // controller -> directory
	Memory struct {
		Usage uint64  // bytes, with the page cache
		Peak  uint64  // bytes
		Limit *uint64 // null if there is none
	}
	Pids struct {
		Current uint64
		Limit   *uint64
	}
	CPU struct {
		UsageNanoseconds     int64
		ThrottledPeriods     uint64
		ThrottledNanoseconds int64
	}
}

type processView struct {
	Pid     int // in the host
	NSPid   int // in the container
	PPid    int // in the host
	Command string
}
