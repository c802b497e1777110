package fault

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/minictr/minictr/network"
)

// deleteBridge remembers all of the bridge: its ports in the order of their numbers,
// so that they get the same ones again, its sysctls, addresses and routes.
func deleteBridge(v *view) ([]Change, error) {
	b := &bridge{Link: end{Index: v.bridge.Index, Name: v.bridge.Name, MAC: v.bridge.HardwareAddr.String()}, Up: v.bridge.RawFlags&unix.IFF_UP != 0}
	list, err := links()
	if err != nil {
		return nil, err
	}
	numbers := map[int]uint16{}
	for _, l := range list {
		a := l.Attrs()
		if a.MasterIndex != v.bridge.Index {
			continue
		}
		settings, err := portOf(a.Index)
		if err != nil {
			return nil, err
		}
		message, err := linkMessage(a.Index)
		if err != nil {
			return nil, err
		}
		if number := nested(message, unix.SizeofIfInfomsg, unix.IFLA_LINKINFO, unix.IFLA_INFO_SLAVE_DATA, unix.IFLA_BRPORT_NO); len(number) == 2 {
			numbers[a.Index] = nl.NativeEndian().Uint16(number)
		}
		b.Ports = append(b.Ports, bridgePort{a.Index, a.Name, settings})
	}
	slices.SortFunc(b.Ports, func(p, q bridgePort) int { return cmp.Compare(numbers[p.Index], numbers[q.Index]) })
	if b.Sysctls, err = linkSysctls(v.bridge.Name); err != nil {
		return nil, err
	}
	lost, err := layer3Of(network.Netns{}, v.bridge.Index)
	return []Change{{Take: true, Thing: b, Lost: lost}}, err
}

// linkSysctls are the sysctls of the host's link that are not those of a new one.
func linkSysctls(name string) (map[string]string, error) {
	found := map[string]string{}
	for _, family := range []string{"net/ipv4/conf/", "net/ipv6/conf/", "net/ipv4/neigh/", "net/ipv6/neigh/"} {
		dir := sysctlPath(family + name)
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return ignoreMissing(err)
			}
			key := strings.TrimPrefix(path, sysctlPath(""))
			now, err := os.ReadFile(path)
			if err != nil {
				return nil //nolint:nilerr // one that can be written only, as stable_secret may be
			}
			fresh, err := os.ReadFile(sysctlPath(family + "default/" + entry.Name()))
			if err == nil && string(now) != string(fresh) {
				found[key] = strings.TrimSpace(string(now))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}
