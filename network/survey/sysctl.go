package survey

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/minictr/minictr/network"
)

// Do calls f on a thread in the namespace, as long as it is the one that was read.
func (n *Netns) Do(f func() error) error {
	return network.Netns{Path: n.Path, Inode: n.Inode}.Do(f)
}

// Sysctls reads parameters below net in the namespace: "ipv4/ip_forward",
// "ipv4/conf/eth0/rp_filter" (slashes, since a link's name may have dots). One that
// the kernel does not have is not in the answer.
func (n *Netns) Sysctls(keys ...string) (map[string]string, error) {
	values := map[string]string{}
	err := n.Do(func() error {
		for _, key := range keys {
			b, err := os.ReadFile(filepath.Join("/proc/sys/net", key))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			values[key] = strings.TrimSpace(string(b))
		}
		return nil
	})
	return values, err
}
