#!/bin/sh
# demo.sh [ARCHIVE]: runs a container with bin/minictr and shows how it is made ("make demo").
#
# It runs Alpine, pulled from Docker Hub when it is not there yet; without a registry in reach minictr/base, which minictr
# carries. Or give an ARCHIVE: an OCI layout or a docker-archive that holds alpine, or the tar of its root file system,
# such as alpine-minirootfs-*.tar.gz of alpinelinux.org.
set -eu
minictr=${0%/*}/../bin/minictr
archive=${1:-}
image=alpine

is_image() { # an OCI layout or docker-archive, as a directory or a tar; otherwise it is the tar of a root file system
	[ -d "$1" ] || tar -tf "$1" | grep -qxE '(\./)?(oci-layout|manifest\.json)'
}

if [ -n "$archive" ]; then
	if is_image "$archive"; then
		"$minictr" load --input "$archive"
	else
		"$minictr" import "$archive" alpine
	fi
elif ! "$minictr" image inspect alpine >/dev/null 2>&1 && ! timeout 30 "$minictr" pull --quiet alpine >/dev/null 2>&1; then
	image=minictr/base
fi
# shellcheck disable=SC2016 # the container's shell expands it
exec "$minictr" run --rm --explain "$image" sh -c 'ps; ip address; ip route; ping -c 1 "$(ip route | sed -n "s/default via \([^ ]*\).*/\1/p")"'
