#!/bin/sh
# setup.sh GROUP: installs what the tests (the benchmark, the VM) call and is not there, from the distribution's packages.
#
# It does nothing where everything is present. Where it cannot install (no root, no apt, no network) it says what is
# missing and still succeeds: a test that needs a missing command is skipped and gives the reason.
set -eu

# GROUP  command or file  Debian package
table='
test     ip          iproute2
test     nft         nftables
test     strace      strace
test     nsenter     util-linux
test     prlimit     util-linux
test     busybox     busybox-static
test     sysctl      procps
test     netstat     net-tools
test     lsns        util-linux
test     unshare     util-linux
test     setpriv     util-linux
test     findmnt     mount
test     bridge      iproute2
test     tc          iproute2
test     ss          iproute2
test     brctl       bridge-utils
test     conntrack   conntrack
test     tcpdump     tcpdump
test     ps          procps
test     perl        perl
test     stdbuf      coreutils
test     dot         graphviz
test     chromium-headless-shell  chromium-headless-shell
test     dash        dash
test     awk         mawk
test     find        findutils
test     cmp         diffutils
test     rev         util-linux
test     skopeo      skopeo
test     umoci       umoci
test     podman      podman
test     buildah     buildah
test     docker-registry  docker-registry
test     iptables-nft     iptables
test     iptables-legacy  iptables
test     iptables         iptables
test     gcc         gcc
test     /usr/include/stdlib.h   libc6-dev
test     /usr/include/seccomp.h  libseccomp-dev
bench    gcc         gcc
bench    busybox     busybox-static
bench    ip          iproute2
bench    runc        runc
bench    crun        crun
bench    podman      podman
bench    skopeo      skopeo
bench    umoci       umoci
bench    containerd  containerd
bench    iperf3      iperf3
bench    nsenter     util-linux
vm       qemu-system-x86_64 qemu-system-x86
vm       busybox     busybox-static
vm       cpio        cpio
vm       depmod      kmod
vm       mke2fs      e2fsprogs
vm       zstd        zstd
vm       lz4         lz4
vm       xz          xz-utils
vm-full  mmdebstrap  mmdebstrap
'

group=${1:?usage: setup.sh test|bench|vm|vm-full}
PATH=$PATH:/usr/sbin:/sbin

missing() {
	echo "$table" | while read -r g command package; do
		[ "$g" != "$group" ] || command -v "$command" >/dev/null || [ -e "$command" ] || echo "$1" | sed "s,COMMAND,$command,; s,PACKAGE,$package,"
	done | sort -u | tr '\n' ' '
}

# The machine's own updates may hold apt's locks. Only that of the package database can be waited for, so the whole is
# tried more than once.
apt() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -qq "$@" >&2; }
install() {
	for pause in 5 10 20 0; do
		if apt update && apt install -y --no-install-recommends "$@"; then return; fi
		sleep $pause
	done
	return 1
}

packages=$(missing PACKAGE)
[ -n "$packages" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "setup: installing $packages" >&2
	# shellcheck disable=SC2086 # one word for each package
	install $packages || echo "setup: apt-get could not install them" >&2
fi
commands=$(missing COMMAND)
[ -z "$commands" ] || echo "setup: not there: $commands(in Debian: $(missing PACKAGE)); what needs them is skipped" >&2
