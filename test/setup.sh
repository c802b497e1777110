#!/bin/sh
# setup.sh GROUP: installs what the tests (or the benchmark) call and is not there, from the distribution's packages.
#
# It does nothing where everything is present. Where it cannot install (no root, no apt, no network) it says what is
# missing and still succeeds: a test that needs a missing command is skipped and gives the reason.
set -eu

# GROUP  command     Debian package
table='
test     ip          iproute2
test     nft         nftables
test     strace      strace
test     nsenter     util-linux
test     prlimit     util-linux
test     busybox     busybox-static
bench    gcc         gcc
bench    busybox     busybox-static
bench    ip          iproute2
bench    runc        runc
bench    crun        crun
bench    podman      podman
'

group=${1:?usage: setup.sh test|bench}
PATH=$PATH:/usr/sbin:/sbin

missing() {
	echo "$table" | while read -r g command package; do
		[ "$g" != "$group" ] || command -v "$command" >/dev/null || echo "$1" | sed "s/COMMAND/$command/; s/PACKAGE/$package/"
	done | sort -u | tr '\n' ' '
}

# The lock of the package database may be held by the machine's own updates; that of the package lists has no time-out,
# so fetching those is tried more than once.
install() {
	export DEBIAN_FRONTEND=noninteractive
	try=1
	until apt-get -o DPkg::Lock::Timeout=600 -qq update; do
		[ $try -lt 5 ] || return 1
		sleep $((try * 5))
		try=$((try + 1))
	done
	apt-get -o DPkg::Lock::Timeout=600 install -qq -y --no-install-recommends "$@" >&2
}

packages=$(missing PACKAGE)
[ -n "$packages" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "setup: installing $packages" >&2
	# shellcheck disable=SC2086 # one word for each package
	install $packages || echo "setup: apt-get failed" >&2
fi
commands=$(missing COMMAND)
[ -z "$commands" ] || echo "setup: not there: $commands(in Debian: $(missing PACKAGE)); what needs them is skipped" >&2
