package runtime

import (
	"net/netip"
	"time"

	"github.com/minictr/minictr/cgroups"
	"github.com/minictr/minictr/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Config is what was asked of a container, with every blank filled: what a
// command line, an image and the defaults make together. It is written once,
// as config.json, and never changes while the container runs; from it the OCI
// spec can be made again (Config.Spec).
type Config struct {
	ID      string    `json:"id"`   // 64 hexadecimal digits
	Name    string    `json:"name"` // unique among the containers of one --root
	Created time.Time `json:"created"`
	Image   Image     `json:"image"`

	Args       []string `json:"args"` // the command, resolved from entrypoint and arguments
	Env        []string `json:"env,omitempty"`
	Cwd        string   `json:"cwd,omitempty"`
	User       string   `json:"user,omitempty"` // user[:group], names or numbers
	Groups     []string `json:"groups,omitempty"`
	Hostname   string   `json:"hostname,omitempty"`
	Domainname string   `json:"domainname,omitempty"`
	Terminal   bool     `json:"tty,omitempty"`
	OpenStdin  bool     `json:"openStdin,omitempty"`
	Init       bool     `json:"init,omitempty"`
	Remove     bool     `json:"autoRemove,omitempty"` // --rm
	// RemoveVolumes is that its anonymous volumes go with the container: --rm, rm -v.
	RemoveVolumes bool   `json:"removeVolumes,omitempty"`
	Detach        bool   `json:"detach,omitempty"`
	StopSignal    string `json:"stopSignal,omitempty"`
	// StopTimeout is in seconds; negative waits for ever.
	StopTimeout int               `json:"stopTimeout"`
	Labels      map[string]string `json:"labels,omitempty"`

	ReadOnly bool     `json:"readOnly,omitempty"`
	Mounts   []Mount  `json:"mounts,omitempty"`
	Devices  []Device `json:"devices,omitempty"`

	Privileged      bool                   `json:"privileged,omitempty"`
	Capabilities    []string               `json:"capabilities,omitempty"`
	NoNewPrivileges bool                   `json:"noNewPrivileges,omitempty"`
	Seccomp         string                 `json:"seccomp,omitempty"` // "": the default profile, "unconfined", or a profile as JSON
	Ulimits         []specs.POSIXRlimit    `json:"ulimits,omitempty"`
	Sysctls         map[string]string      `json:"sysctls,omitempty"`
	OOMScoreAdj     int                    `json:"oomScoreAdj,omitempty"`
	Umask           *uint32                `json:"umask,omitempty"`
	UIDMappings     []specs.LinuxIDMapping `json:"uidMappings,omitempty"`
	GIDMappings     []specs.LinuxIDMapping `json:"gidMappings,omitempty"`

	// Limits is what was asked; Resources is made from it, for the kernel. Only
	// the former is written down: encoding the latter takes half a millisecond.
	Limits    cgroups.Options       `json:"limits,omitzero"`
	Resources *specs.LinuxResources `json:"-"`
	ShmSize   int64                 `json:"shmSize,omitempty"` // bytes; 0 means 64 MiB
	Network   Network               `json:"network"`
	DNS       DNS                   `json:"dns"`
}

// Image says where the root file system comes from: the layers of an image, or
// a directory.
type Image struct {
	Reference string   `json:"reference,omitempty"`
	ID        string   `json:"id,omitempty"`
	Layers    []string `json:"layers,omitempty"` // topmost first, absolute paths
	Rootfs    string   `json:"rootfs,omitempty"` // --rootfs
}

// Mount is a volume, a bind mount or a tmpfs that the user asked for.
type Mount struct {
	Type        string   `json:"type"`             // bind, volume or tmpfs
	Source      string   `json:"source,omitempty"` // a path, or the name of the volume
	Destination string   `json:"destination"`
	Options     []string `json:"options,omitempty"`
	// CreateSource makes a missing source directory, as -v does and --mount
	// does not.
	CreateSource bool `json:"createSource,omitempty"`
	// Volume is how a volume is used, and what it is when it has to be made.
	Volume VolumeUse `json:"volume,omitzero"`
}

// VolumeUse is what a mount says of its volume beyond the name.
type VolumeUse struct {
	// Anonymous is that the volume was made for this container, without a name.
	Anonymous bool              `json:"anonymous,omitempty"`
	NoCopy    bool              `json:"noCopy,omitempty"`  // it is not filled from the image
	Subpath   string            `json:"subpath,omitempty"` // of the volume, that is mounted
	Driver    string            `json:"driver,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Options   map[string]string `json:"options,omitempty"` // of volume create -o
}

// Device is a device of the host that the container gets.
type Device struct {
	Host        string `json:"host"`
	Container   string `json:"container"`
	Permissions string `json:"permissions"` // of r, w and m
}

// DNS is what --dns, --dns-search, --dns-option and --add-host asked for.
type DNS struct {
	Servers  []string `json:"servers,omitempty"`
	Search   []string `json:"search,omitempty"`
	Options  []string `json:"options,omitempty"`
	AddHosts []string `json:"addHosts,omitempty"` // NAME:ADDRESS
}

// addresses are the servers. The command line has seen that they are addresses.
func (d DNS) addresses() (list []netip.Addr) {
	for _, text := range d.Servers {
		if a, err := netip.ParseAddr(text); err == nil {
			list = append(list, a)
		}
	}
	return list
}

// Network says which network a container gets.
type Network struct {
	Mode  string         `json:"mode"`            // bridge, none, host, container or ns
	Join  string         `json:"join,omitempty"`  // container: its id; ns: a path or a name
	Uses  []network.Use  `json:"uses,omitempty"`  // bridge: the networks, in the order of the interfaces
	Ports []network.Port `json:"ports,omitempty"` // --publish
}

// hostUID and hostGID are the host's numbers of a user and a group of the
// container. Without a user namespace they are the same.
func (c *Config) hostUID(uid uint32) uint32 { return hostID(c.UIDMappings, uid) }
func (c *Config) hostGID(gid uint32) uint32 { return hostID(c.GIDMappings, gid) }

func hostID(mappings []specs.LinuxIDMapping, id uint32) uint32 {
	for _, m := range mappings {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + id - m.ContainerID
		}
	}
	return id
}
