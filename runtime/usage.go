package runtime

import "github.com/minictr/minictr/rootfs"

// DiskUsage is the bytes of disk that a container takes beside its image: its own
// layer, its log, and what is on record of it.
func (r *Runtime) DiskUsage(id string) (int64, error) { return rootfs.DiskUsage(r.lasting(id)) }
