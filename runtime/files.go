package runtime

// prepareFiles writes the container's hostname, hosts and resolv.conf and adds
// them to the mounts.
func (l *launch) prepareFiles() error { return nil }
