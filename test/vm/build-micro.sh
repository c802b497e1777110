#!/bin/bash
# build-micro.sh: $VM_CACHE/micro-SUITE-FLAVOUR.cpio, an initramfs of busybox, a few tools of the suite (unpacked; no
# maintainer script runs) and the modules that containers need. It is also what boots the image of build-full.sh.
. "$(dirname "$0")/lib.sh"
"$VM_DIR/build-kernel.sh"
tools=(dash bash iproute2 nftables iptables crun runc conntrack strace util-linux apparmor)
out=$VM_CACHE/micro-$VM_SUITE-$VM_FLAVOUR.cpio
wanted=$(fingerprint "$0" "$VM_DIR/guest-init" "$VM_DIR/guest-run" "$KERNEL/version")
! is_fresh "$out" "$wanted" || exit 0
need vm busybox cpio depmod
private_apt
work=$(mktemp -d "$VM_CACHE/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root

# Depended on, but of no use to a root of busybox.
drop='perl-base|dpkg|tar|debconf|adduser|passwd|login|coreutils|debianutils|sysvinit-utils|init-system-helpers'
drop="^($drop|gcc-1[0-9]-base|base-passwd|libpam.*|libaudit.*|libsystemd-shared|systemd.*|criu|python3.*|libdb5.*|sed"
drop="$drop|cdebconf|login.defs|libdebconfclient0)$"

make_tree() {
	mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{dev,proc,sys,run,tmp,etc,root,var,host,out,mnt}
	local dir
	for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done
	ln -s /run "$root/var/run"
	chmod 1777 "$root/tmp"
	printf '%s\n' root:x:0:0:root:/root:/bin/sh nobody:x:65534:65534:nobody:/:/bin/false user:x:1000:1000:user:/tmp:/bin/sh >"$root/etc/passwd"
	printf '%s\n' root:x:0: nogroup:x:65534: user:x:1000: >"$root/etc/group"
	echo user:100000:65536 | tee "$root/etc/subuid" >"$root/etc/subgid"
	echo '127.0.0.1 localhost vm' >"$root/etc/hosts"
	echo 'NAME=minictr-micro-vm' >"$root/etc/os-release"
}

add_tools() {
	local packages deb dir
	mkdir "$work/debs" "$work/tools"
	packages=$(apt-get -qq -y -o Debug::NoLocking=1 --print-uris install "${tools[@]}" | sed -n "s/^'[^']*' \([^_]*\)_.*/\1/p" | grep -vE "$drop")
	# shellcheck disable=SC2086 # one word for each package
	(cd "$work/debs" && apt-get -qq download $packages)
	for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/tools"; done
	cd "$work/tools"
	for dir in bin sbin lib lib64; do # of packages from before the merge of /bin into /usr/bin
		[ ! -d $dir ] || [ -L $dir ] || cp -a $dir/. usr/$dir/
	done
	cp -a etc var "$root/" 2>/dev/null || true # var/run is a link in the root
	find usr/share -mindepth 1 -maxdepth 1 ! -name apparmor-features -exec rm -rf {} + # the parser needs that one
	rm -rf usr/include usr/lib/x86_64-linux-gnu/{*.a,gconv,perl*,krb5,systemd} usr/lib/systemd/system
	cp -a usr/. "$root/usr/"
	for dir in iptables ip6tables; do
		for deb in "" -save -restore; do ln -sf xtables-nft-multi "$root/usr/sbin/$dir$deb"; done
	done
}

# Busybox fills what the tools left open. Its shell would prefer its own ip, mount and unshare to programs of that name,
# so sh is dash.
add_busybox() {
	local applet
	cp "$(command -v busybox)" "$root/usr/bin/busybox"
	for applet in $(busybox --list); do
		[ -e "$root/usr/sbin/$applet" ] || [ -e "$root/usr/bin/$applet" ] || ln -s busybox "$root/usr/bin/$applet"
	done
	ln -sf dash "$root/usr/bin/sh"
	ln -sf ../bin/busybox "$root/usr/sbin/modprobe"
}

# Networking, file systems, virtio, device mapper, and whatever those depend on.
add_modules() {
	local version modules
	version=$(cat "$KERNEL/version")
	modules=$root/usr/lib/modules/$version
	mkdir -p "$modules"
	cd "$KERNEL/lib/modules/$version"
	grep -E -f - modules.dep <<-'EOF' | tr -d ':' | tr ' ' '\n' | grep . | sort -u | cpio -pdm --quiet "$modules"
		^kernel/net/(bridge|netfilter|ipv4|ipv6|sched|core|802|8021q|llc|packet|unix|xfrm)/
		^kernel/drivers/net/(veth|dummy|macvlan|macvtap|ipvlan/|tun|tap|ifb|vxlan/|bonding/|wireguard/|virtio_net|net_failover|geneve|vrf|netkit)
		^kernel/drivers/(virtio|block/(loop|virtio_blk|zram|null_blk|brd))
		^kernel/drivers/char/(virtio_console|hw_random/virtio)
		^kernel/drivers/md/dm-(mod|verity|crypt|snapshot|thin)
		^kernel/(crypto|arch/x86/crypto)/(crc32c|sha256|sha512|xxhash|lzo|zstd)
		^kernel/fs/(autofs|overlayfs|fuse|squashfs|erofs|ext4|isofs|nls/nls_(ascii|utf8))
	EOF
	cp modules.builtin modules.builtin.modinfo modules.order "$modules/"
	depmod -b "$root" "$version"
}

make_tree
add_tools
add_busybox
add_modules
install -m 755 "$VM_DIR/guest-init" "$root/init"
install -m 755 "$VM_DIR/guest-run" "$root/.guest-run"
cd "$root"
find . -print0 | LC_ALL=C sort -z | cpio -0 -o -H newc --quiet --owner=0:0 >"$work/cpio"
mv "$work/cpio" "$out"
echo "$wanted" >"$out.fingerprint"
say "initramfs: $(du -h "$out" | cut -f1)"
