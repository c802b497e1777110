#!/bin/sh
# demo.sh [ARCHIVE]: runs a real Alpine container with bin/minictr and shows how it is made ("make demo").
#
# The image is pulled from Docker Hub when it is not there yet. Without a network, give an ARCHIVE: an OCI layout or a
# docker-archive that holds alpine, or the tar of its root file system, such as alpine-minirootfs-*.tar.gz of
# alpinelinux.org.
set -eu
minictr=${0%/*}/../bin/minictr
archive=${1:-}

is_image() { # an OCI layout or docker-archive, as a directory or a tar; otherwise it is the tar of a root file system
	[ -d "$1" ] || tar -tf "$1" | grep -qxE '(\./)?(oci-layout|manifest\.json)'
}

if [ -n "$archive" ]; then
	if is_image "$archive"; then
		"$minictr" load --input "$archive"
	else
		"$minictr" import "$archive" alpine
	fi
fi
# shellcheck disable=SC2016 # the container's shell expands it
exec "$minictr" run --rm --explain alpine sh -c 'ps; ip address; ip route; ping -c 1 "$(ip route | sed -n "s/default via \([^ ]*\).*/\1/p")"'
