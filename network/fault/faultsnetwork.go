package fault

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/network/names"
)

// portFaults are those of the host's end of the cable, a port of the bridge.
func portFaults() []Fault {
	return []Fault{
		{"peer-down", "somebody switched the host's end of the cable off", "peer-up", Network, needPeer, func(v *view) ([]Change, error) {
			return v.setLosing(network.Netns{}, v.peer, "up", "down")
		}},
		{"peer-unplugged", "somebody pulled the cable out of the bridge", "bridge-port", Network, needSwitch, func(v *view) ([]Change, error) {
			return v.replug("0", "")
		}},
		{"peer-elsewhere", "somebody plugged the cable into another bridge", "bridge-port", Network, needSwitch, func(v *view) ([]Change, error) {
			index, err := freeIndex()
			if err != nil {
				return nil, err
			}
			stray := put(&bridge{Link: end{Index: index, Name: "br-stray", MAC: "02:66:61:75:6c:01"}, Up: true})
			plug, err := v.replug(fmt.Sprint(index), "br-stray")
			return append(stray, plug...), err
		}},
		{"peer-moved", "somebody moved the host's end into the container, too: a cable from it to itself", "peer", Network, needCable | needBridge, func(v *view) ([]Change, error) {
			settings, err := portOf(v.peer.Index)
			return []Change{{Take: true, Thing: &linkPlace{
				Link: end{Index: v.peer.Index, Name: v.peer.Name}, To: v.ns, Master: v.bridge.Index, Bridge: v.bridge.Name, Port: settings,
			}}}, err
		}},
		{"port-disabled", "somebody disabled the port of the bridge, as one does with unused sockets", "port-state", Network, needSwitch, func(v *view) ([]Change, error) {
			return one(port(v.peer, "state", 0))
		}},
		{"port-locked", "somebody locked the port: only who has logged in (802.1X) may speak", "port-state", Network, needSwitch, func(v *view) ([]Change, error) {
			return one(port(v.peer, "locked", 1))
		}},
		{"port-quiet", "somebody keeps broadcasts away from the port: nobody can ask who has the container's address", "port-state", Network, needSwitch, func(v *view) ([]Change, error) {
			unicast, err := port(v.peer, "flood", 0)
			broadcast, err2 := port(v.peer, "bcast_flood", 0)
			return []Change{unicast, broadcast}, errors.Join(err, err2)
		}},
		{"port-isolated", "somebody isolated the ports of two neighbours from each other", "port-isolated", Network, needSwitch | needOther, func(v *view) ([]Change, error) {
			mine, err := port(v.peer, "isolated", 1)
			others, err2 := port(v.other.peer, "isolated", 1)
			return []Change{mine, others}, errors.Join(err, err2)
		}},
		{"vlan-wrong", "somebody taught the bridge VLANs, and put the container into number 20", "vlan-filter", Network, needSwitch, func(v *view) ([]Change, error) {
			filtering, err := v.set(network.Netns{}, v.bridge, "vlan_filtering", "1")
			first := &vlan{Index: v.peer.Index, Link: v.peer.Name, ID: 1, PVID: true}
			if there, err := first.has(); err != nil || !there {
				return nil, errors.Join(err, errNoVLAN)
			}
			return []Change{
				filtering,
				{Take: true, Thing: first},
				{Thing: &vlan{Index: v.peer.Index, Link: v.peer.Name, ID: 20, PVID: true}},
			}, err
		}},
		{"hairpin-off", "somebody switched hairpin mode off: what the container sends to its own published port does not come back", "hairpin", Network, needSwitch | needPorts, func(v *view) ([]Change, error) {
			return one(port(v.peer, "hairpin", 0))
		}},
		{"throttle", "somebody limited the container to 8 bit/s, and meant 8 Mbit/s", "traffic-control", Network, needPeer, func(v *view) ([]Change, error) {
			return v.queue(network.Netns{}, v.peer.Index, v.peer.Name, "tbf")
		}},
		{"loss", "somebody simulates a bad line, and forgot a decimal point: 100% of the packets get lost", "traffic-control", Network, needPeer, func(v *view) ([]Change, error) {
			return v.queue(network.Netns{}, v.peer.Index, v.peer.Name, "netem")
		}},
		{"ingress-drop", "somebody's filter throws away what comes out of the cable, before the bridge sees it", "traffic-control", Network, needPeer, func(v *view) ([]Change, error) {
			return put(&ingressFilter{Index: v.peer.Index, Link: v.peer.Name}), nil
		}},
		{"xdp-drop", "somebody tried out a filter against floods (XDP) on the wrong link", "xdp", Network, needPeer, func(v *view) ([]Change, error) {
			return put(&xdpProgram{Index: v.peer.Index, Link: v.peer.Name}), nil
		}},
		{"mtu-peer", "somebody set the MTU of the host's end to 1280: what is longer the container sends in vain", "mtu", Network, needPeer, func(v *view) ([]Change, error) {
			return one(v.set(network.Netns{}, v.peer, "mtu", "1280"))
		}},
	}
}

var errNoVLAN = errors.New("its port is in no VLAN: the kernel has no VLAN filtering for bridges, or somebody has changed it")

// replug is the change of the bridge that the host's end is plugged into.
func (v *view) replug(value, master string) ([]Change, error) {
	c, err := v.set(network.Netns{}, v.peer, "master", value)
	if err != nil {
		return nil, err
	}
	s := c.Thing.(*linkSetting)
	s.Master = master
	s.Port, err = portOf(v.peer.Index)
	return []Change{c}, err
}

// bridgeFaults are those of the bridge and of what is plugged into it, and of names.
func bridgeFaults() []Fault {
	return []Fault{
		{"bridge-down", "somebody switched the bridge off", "bridge-up", Network, needBridge, func(v *view) ([]Change, error) {
			return v.setLosing(network.Netns{}, v.bridge, "up", "down")
		}},
		{"bridge-address", "somebody took the gateway's address off the bridge", "bridge-address", Network, needBridge, func(v *view) ([]Change, error) {
			return v.readdress()
		}},
		{"bridge-readdressed", "somebody gave the bridge another address: the gateway has moved, and told nobody", "bridge-address", Network, needBridge, func(v *view) ([]Change, error) {
			return v.readdress(netip.PrefixFrom(v.unused(), v.endpoint.Network.Gateway.Bits()))
		}},
		{"bridge-deleted", "somebody took a bridge that he did not know for a leftover, and deleted it", "bridge", Network, needBridge, deleteBridge},
		{"fdb-static", "somebody told the bridge that the container's hardware address is the bridge's own", "bridge-static", Network, needInner | needBridge, func(v *view) ([]Change, error) {
			return put(&fdbEntry{Index: v.bridge.Index, Bridge: v.bridge.Name, MAC: v.inner.HardwareAddr.String()}), nil
		}},
		{"foreign-link", "somebody plugged a tunnel's link into the bridge, whose MTU sank to that of the tunnel", "foreign-link", Network, needBridge, func(v *view) ([]Change, error) {
			return v.stray("stray0", "stray1", 1280)
		}},
		{"leaked-link", "a runtime was killed, and left the host's end of a cable in the bridge", "leaked-link", Network, needBridge, func(v *view) ([]Change, error) {
			return v.stray("vethdeadbeef", "eth0deadbeef", 1500)
		}},
		{"forwarding-bridge", "somebody switched forwarding off, for the bridge alone", "forwarding", Network, needBridge, func(v *view) ([]Change, error) {
			return one(sysctlTo(network.Netns{}, "net/ipv4/conf/"+v.bridge.Name+"/forwarding", "0"))
		}},
		{"localnet-off", "a hardening script reset route_localnet: what is published no longer answers at 127.0.0.1", "route-localnet", Network, needBridge | needPorts, func(v *view) ([]Change, error) {
			return one(sysctlTo(network.Netns{}, "net/ipv4/conf/"+v.bridge.Name+"/route_localnet", "0"))
		}},
		{"arp-host", "somebody told the bridge to answer no ARP: nobody finds the gateway", "sysctl-host", Network, needBridge, func(v *view) ([]Change, error) {
			return one(sysctlTo(network.Netns{}, "net/ipv4/conf/"+v.bridge.Name+"/arp_ignore", "8"))
		}},
		{"name-server-stopped", "somebody stopped the network's name server, for a look with a debugger", "name-server", Network, needBridge, func(v *view) ([]Change, error) {
			p, err := v.nameServer()
			return put(&stopped{Process: p, Name: "the name server of network " + v.endpoint.Network.Name}), err
		}},
		{"name-server-killed", "somebody killed a process minictr-dns that he did not know", "name-server", Network, needBridge, func(v *view) ([]Change, error) {
			p, err := v.nameServer()
			return []Change{{Take: true, Thing: &nameServer{
				Process: p, Runroot: v.Runroot, Network: v.endpoint.Network.Name, Bridge: v.bridge.Name, Addresses: []netip.Addr{v.gateway},
			}}}, err
		}},
		{"name-record", "somebody edited what the name server knows: the container's name leads to another address", "names", Network, needInner, func(v *view) ([]Change, error) {
			return v.rename(func(r *names.Record) { r.Address = netip.AddrFrom4([4]byte{203, 0, 113, 80}) })
		}},
		{"upstream-dead", "somebody gave the container a resolver (--dns) that nobody runs", "upstream", Network, needInner, func(v *view) ([]Change, error) {
			return v.rename(func(r *names.Record) { r.Servers = []netip.Addr{nobody()} })
		}},
		{"netns-name", "somebody tidied /run/netns up: ip netns does not know the container any more", "namespace", Network, 0, func(v *view) ([]Change, error) {
			path := filepath.Join(network.NetnsDir(v.Runroot), v.ns.Name)
			target, err := os.Readlink(path)
			return []Change{{Take: true, Thing: &symlink{path, target}}}, err
		}},
	}
}

// readdress takes the gateway's address from the bridge, and may give it another.
func (v *view) readdress(instead ...netip.Prefix) ([]Change, error) {
	lost, err := layer3Of(network.Netns{}, v.bridge.Index)
	list := []Change{{Take: true, Lost: lost, Thing: &address{Index: v.bridge.Index, Link: v.bridge.Name, Prefix: v.endpoint.Network.Gateway}}}
	for _, p := range instead {
		list = append(list, Change{Thing: &address{Index: v.bridge.Index, Link: v.bridge.Name, Prefix: p}})
	}
	return list, err
}

// stray is a pair of which one end is plugged into the bridge, and the other one lies
// on the host's floor.
func (v *view) stray(name, other string, mtu int) ([]Change, error) {
	index, err := freeIndex()
	return put(&pair{
		Host:   end{Index: index, Name: name, MAC: "02:66:61:75:6c:01", MTU: mtu},
		Peer:   end{Index: index + 1, Name: other, MAC: "02:66:61:75:6c:02", MTU: mtu},
		Master: v.bridge.Index, Bridge: v.bridge.Name,
	}), err
}

// nameServer finds the process by its arguments, among those of the host's network
// namespace: another one may have a /run of its own.
func (v *view) nameServer() (process, error) {
	host, err := network.Inode(hostNetns)
	if err != nil {
		return process{}, err
	}
	directories, err := filepath.Glob("/proc/[1-9]*")
	if err != nil {
		return process{}, err
	}
	tail := strings.Join([]string{v.Runroot, v.endpoint.Network.Name, v.endpoint.Network.Bridge}, "\x00") + "\x00"
	for _, directory := range directories {
		pid, err := strconv.Atoi(filepath.Base(directory))
		if err != nil {
			continue
		}
		text, err := network.CommandLine(pid)
		if err != nil || !strings.HasPrefix(string(text), "minictr-dns\x00serve\x00") || !strings.HasSuffix(string(text), "\x00"+tail) {
			continue // gone, or another one
		}
		if inode, err := network.Inode(directory + "/ns/net"); err != nil || inode != host {
			continue
		}
		p := process{Pid: pid}
		_, p.Start, err = stat(p.Pid)
		return p, err
	}
	return process{}, fmt.Errorf("network %s has no name server", v.endpoint.Network.Name)
}

// rename changes what the name server of the network knows of the container.
func (v *view) rename(change func(*names.Record)) ([]Change, error) {
	was, err := names.Read(filepath.Join(names.Directory(v.Runroot, v.endpoint.Network.Name), v.ID))
	if err != nil {
		return nil, err
	}
	record := was
	record.Aliases = slices.Clone(was.Aliases)
	change(&record)
	return put(&nameRecord{Runroot: v.Runroot, Network: v.endpoint.Network.Name, Record: record, Instead: &was}), nil
}
