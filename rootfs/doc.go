// Package rootfs makes what a container sees as its root directory: it keeps
// images, and mounts their layers.
//
// An image is a stack of layers and a little configuration. A layer is a tar
// stream that says what changed against the layers below it; Unpack turns it
// into a directory, once, with deletions written the way the kernel's overlay
// file system reads them (a character device 0/0 for a deleted name, the
// attribute trusted.overlay.opaque for a replaced directory). The Store keeps
// these directories, named by what they were made from, and one small file for
// each image reference, so that starting a container costs one open and one
// read. MountOverlay puts the layers below a writable directory and returns
// the result as a detached mount: a descriptor that no mount table shows, which
// the kernel drops when its last user is gone.
//
//	reference.go   "alpine" -> docker.io/library/alpine:latest
//	config.go      an image's config JSON -> what a run needs of it
//	store.go       references -> images -> layer directories: lookup, list
//	add.go           the writing side: a transaction that adds images; addlayer.go, blob.go, newblob.go their parts
//	tag.go         one more name for an image
//	remove.go      taking references back, and the sweep of what nobody uses; prune.go
//	usage.go       what it all takes on the disk
//	unpack.go      one layer's tar stream -> a directory; entry.go makes one entry,
//	               below.go asks what the layers below have
//	verify.go        a layer of the store against its tar stream; compare.go compares trees
//	unpackcopy.go  unpacking what is no layer into a directory in use, for cp
//	pack.go        the way back: a directory -> a tar stream; packlayer.go, sparse.go
//	changes.go     what a container's own layer changes in those below
//	overlay.go     layers + writable directory -> detached mount; tree.go puts mounts in it
//	inroot.go      opening paths inside a root that somebody hostile may have filled
//	account.go     users and groups from the root's own /etc/passwd and /etc/group
//
// Two rules hold everywhere. A path that comes from an image is resolved by
// openat2(2) with RESOLVE_IN_ROOT from a held descriptor and never joined to a
// path of the host. And nothing counts as present before it is whole: blobs are
// verified, layers are unpacked under a temporary name and renamed, and the
// file that names an image is written last.
package rootfs
