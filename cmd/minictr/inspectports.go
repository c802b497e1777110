package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/minictr/minictr/network"
	"github.com/minictr/minictr/rootfs"
	"github.com/minictr/minictr/runtime"
)

// portMap is where ports of a container, as 80/tcp, are reachable.
type portMap map[string][]portBindingView

type portBindingView struct {
	HostIp   string // Docker's spelling
	HostPort string
}

// addPorts adds the ports that were asked for, that the image exposes, and that are
// published now.
func (v *containerView) addPorts(c *runtime.Container, image *rootfs.Image) {
	v.HostConfig.PortBindings, v.NetworkSettings.Ports = portMap{}, portMap{}
	exposed := map[string]struct{}{}
	if image != nil {
		for text := range image.Config.ExposedPorts {
			exposed[exposedPort(text)] = struct{}{}
		}
	}
	if c.Status == runtime.Running {
		for port := range exposed {
			v.NetworkSettings.Ports[port] = nil
		}
	}
	for _, p := range c.Config.Network.Ports {
		v.HostConfig.PortBindings.add(p)
	}
	for port := range v.HostConfig.PortBindings {
		exposed[port] = struct{}{}
	}
	for _, p := range boundPorts(c) {
		v.NetworkSettings.Ports.add(p)
	}
	v.Config.ExposedPorts = exposed
}

// exposedPort is what an image exposes with its protocol, which may be left out.
func exposedPort(text string) string {
	if !strings.Contains(text, "/") {
		text += "/tcp"
	}
	return text
}

// add adds each port of a range.
func (m portMap) add(p network.Port) {
	for i := range p.Count {
		port := fmt.Sprintf("%d/%s", p.ContainerPort+i, p.Protocol)
		m[port] = append(m[port], portBindingView{hostIP(p.HostIP), hostPort(p, i)})
	}
}

// hostIP is empty for every address.
func hostIP(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// hostPort is empty when any is meant that is free, and a range when any of that is.
func hostPort(p network.Port, i uint16) string {
	switch {
	case p.HostPort == 0:
		return ""
	case p.Among > 0:
		return fmt.Sprintf("%d-%d", p.HostPort, p.HostPort+p.Among-1)
	}
	return fmt.Sprint(p.HostPort + i)
}
