# shellcheck shell=bash
# Shared by vm-run.sh and build-*.sh. Everything generated lives under $VM_CACHE and can be deleted.
set -euo pipefail

VM_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
VM_CACHE=${VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/minictr-vm}
VM_SUITE=${VM_SUITE:-trixie}    # trixie (Linux 6.12) or bookworm (6.1): the Debian that kernel and userland come from
VM_FLAVOUR=${VM_FLAVOUR:-cloud} # cloud or generic: linux-image-cloud-amd64 or linux-image-amd64
# shellcheck disable=SC2034 # the others use it
KERNEL=$VM_CACHE/kernel/$VM_SUITE-$VM_FLAVOUR
PATH=$PATH:/usr/sbin:/sbin

say() { echo "vm: $*" >&2; }
die() {
	say "$*"
	exit 125
}

# need GROUP COMMAND…: the commands are there, or setup.sh installs them.
need() {
	local group=$1 command
	shift
	"$VM_DIR/../setup.sh" "$group"
	for command in "$@"; do command -v "$command" >/dev/null || die "needs $command"; done
}

# fingerprint FILE…: one word for the content of the files and for what was asked of them. Times do not enter, so that a
# new checkout finds what an older one built.
fingerprint() { { cat "$@" && echo "$VM_SUITE $VM_FLAVOUR"; } | sha256sum | cut -d' ' -f1; }

# is_fresh FILE FINGERPRINT: the file was built from what has that fingerprint.
is_fresh() { [ -e "$1" ] && [ "$(cat "$1.fingerprint" 2>/dev/null)" = "$2" ]; }

# The mirror that this machine's own apt uses.
mirror() {
	local uri
	# shellcheck disable=SC2016 # apt-get expands it
	uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sed -n 's,/debian/*$,,p' | sort -u | head -n 1)
	uri=${VM_MIRROR:-$uri}
	[ -n "$uri" ] || { echo "vm: this machine's apt names no Debian mirror; set VM_MIRROR" >&2; return 1; }
	echo "$uri"
}

# private_apt: from here on apt-get works in a root of its own for $VM_SUITE, with its own lists and no package
# installed. Neither /etc/apt nor the packages of this machine are touched.
private_apt() {
	local root=$VM_CACHE/apt-$VM_SUITE keyring='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]' from conf
	from=$(mirror)
	export APT_CONFIG=$root/apt.conf
	[ -z "$(find "$root/.done" -mmin -1440 2>/dev/null)" ] || return 0
	rm -rf "$root"
	mkdir -p "$root"/{lists/partial,archives/partial,parts,empty.d}
	: >"$root/status"
	# What this machine needs to reach the mirror, but none of its hooks.
	for conf in /etc/apt/apt.conf.d/*; do
		grep -qE 'Post-Invoke|Pre-Install' "$conf" || cp "$conf" "$root/parts/"
	done
	cat >"$root/sources.list" <<-EOF
		deb $keyring $from/debian $VM_SUITE main
		deb $keyring $from/debian $VM_SUITE-updates main
		deb $keyring $from/debian-security $VM_SUITE-security main
	EOF
	cat >"$root/apt.conf" <<-EOF
		Dir::Etc::main "$root/none"; Dir::Etc::parts "$root/parts";
		Dir::Etc::sourcelist "$root/sources.list"; Dir::Etc::sourceparts "$root/empty.d";
		Dir::Etc::preferences "$root/none"; Dir::Etc::preferencesparts "$root/empty.d";
		Dir::State::lists "$root/lists"; Dir::State::status "$root/status";
		Dir::Cache::archives "$root/archives"; Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";
		Acquire::Languages "none"; Acquire::Retries "3";
		APT::Architecture "amd64"; APT::Install-Recommends "false"; APT::Sandbox::User "root";
	EOF
	apt-get -qq update >&2
	touch "$root/.done"
}
