package network

import (
	"os"
	"path/filepath"

	"github.com/minictr/minictr/runtime/step"
)

// netnsFilesDir holds, below the name of a network namespace, files of /etc that
// are for who is in it; ip netns exec mounts them over the host's (ip-netns(8)).
const netnsFilesDir = "/etc/netns"

// NetnsFile reads such a file, "resolv.conf" or "hosts", for the namespace that
// ns:TARGET means. Without one it is nil.
func NetnsFile(target, name string) ([]byte, error) {
	ns, _ := GuestNetns(target)
	if ns.Path != "" || ns.Name == "" { // it has no name
		return nil, nil
	}
	path := filepath.Join(netnsFilesDir, ns.Name, name)
	content, err := os.ReadFile(path)
	return content, step.Fail("read", path, ignoreMissing(err))
}
