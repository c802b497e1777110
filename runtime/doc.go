// Package runtime is the core: what a container is, and in which order it comes
// to life.
//
// The life of a container, and the file that tells of each part:
//
//	what was asked          config.go, options.go; spec.go makes the OCI configuration of it
//	created                 lifecycle.go: a directory, a lock, a name (hoststeps.go), config.json (state.go)
//	prepared                launch.go lists the stages; prepare.go, prepare_process.go, streams.go, files.go,
//	                        launchnetwork.go read the host and open everything; bind.go, idmount.go and
//	                        volumes.go make the mounts of what was asked for
//	compiled                compile.go: the order of about 200 system calls; compile_rootfs.go,
//	                        compile_identity.go; plan.go holds what they depend on
//	cloned                  package program runs them in the child, while launch.go makes the network
//	running                 process.go waits, or monitor.go does it for a detached container
//	entered                 exec.go, compile_exec.go
//	rewired                 connect.go changes its networks, publish.go its ports, refile.go its /etc/hosts and
//	                        /etc/resolv.conf; reload.go puts back what others have taken away
//	ended                   end.go gives back what it held, endnetwork.go its network; heal.go does it for the
//	                        killed; stop.go, remove by end.go
//
// Package runtime knows nothing of command lines, and prints nothing: a Watch is
// told what happens. It must be called on a thread that lasts as long as the
// process, since a container dies with the thread that made it.
package runtime
