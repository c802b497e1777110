#!/bin/bash
# build-full.sh: $VM_CACHE/root-SUITE.ext4, a Debian root image with systemd and podman. It holds no kernel: the kernel
# and its modules come with the initramfs. A run never writes to it.
. "$(dirname "$0")/lib.sh"
out=$VM_CACHE/root-$VM_SUITE.ext4
wanted=$(fingerprint "$0")
! is_fresh "$out" "$wanted" || exit 0
need vm-full mmdebstrap
private_apt
work=$(mktemp -d "$VM_CACHE/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

packages=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,udev,kmod,procps,util-linux,e2fsprogs,busybox-static
packages+=,iproute2,iputils-ping,nftables,iptables,conntrack,ethtool,socat,curl,jq,strace,less,ca-certificates,apparmor
packages+=,crun,runc,podman,netavark,aardvark-dns,conmon,containernetworking-plugins,golang-github-containers-common
packages+=,uidmap,slirp4netns,passt,fuse-overlayfs
[ "$VM_SUITE" = bookworm ] || packages+=,util-linux-extra

# Slow under emulation and of no use in a test. apparmor.service compiles every profile that Debian ships; a test loads
# its own. Without udevd nothing renames a veth or changes its address: a test of that unmasks it.
masked="apparmor.service systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket
systemd-udev-trigger.service systemd-udev-settle.service systemd-udev-load-credentials.service
systemd-hwdb-update.service systemd-journal-catalog-update.service systemd-journal-flush.service
systemd-firstboot.service systemd-random-seed.service systemd-binfmt.service systemd-update-utmp.service
systemd-update-utmp-runlevel.service systemd-update-done.service systemd-timesyncd.service systemd-pcrphase.service
systemd-tpm2-setup.service systemd-tpm2-setup-early.service systemd-machine-id-commit.service
systemd-remount-fs.service systemd-modules-load.service systemd-sysusers.service systemd-pstore.service
systemd-tmpfiles-setup-dev.service systemd-tmpfiles-setup-dev-early.service systemd-tmpfiles-clean.timer
modprobe@configfs.service modprobe@fuse.service modprobe@dm_mod.service modprobe@loop.service modprobe@drm.service
modprobe@efi_pstore.service sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount
sys-kernel-tracing.mount dev-hugepages.mount getty.target getty@tty1.service serial-getty@ttyS0.service
console-getty.service getty-static.service ldconfig.service networking.service nftables.service e2scrub_reap.service
e2scrub_all.timer fstrim.timer man-db.timer apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer
podman.service podman.socket podman-restart.service podman-auto-update.service podman-auto-update.timer
podman-clean-transient.service netavark-dhcp-proxy.service netavark-dhcp-proxy.socket
netavark-firewalld-reload.service"

customize() { # ROOT
	local root=$1 unit etc=$1/etc/systemd
	echo vm >"$root/etc/hostname"
	echo '127.0.0.1 localhost vm' >"$root/etc/hosts"
	echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
	: >"$root/etc/resolv.conf"
	: >"$root/etc/fstab"
	mkdir -p "$root/host" "$root/out" "$root/data" "$root/usr/lib/modules" "$etc/system.conf.d" "$etc/journald.conf.d"
	chroot "$root" useradd -m -u 1000 -s /bin/bash user
	for unit in subuid subgid; do grep -q ^user: "$root/etc/$unit" || echo user:100000:65536 >>"$root/etc/$unit"; done
	cat >"$etc/system/guest-run.service" <<-EOF
		[Unit]
		After=multi-user.target
		[Service]
		Type=oneshot
		ExecStart=/run/guest-run systemd
	EOF
	cat >"$etc/system/guest-run.target" <<-EOF
		[Unit]
		Requires=multi-user.target
		Wants=guest-run.service
		AllowIsolate=yes
	EOF
	ln -sf guest-run.target "$etc/system/default.target"
	for unit in $masked; do ln -sf /dev/null "$etc/system/$unit"; done
	rm -f "$root/usr/lib/systemd/system/multi-user.target.wants/systemd-logind.service" # D-Bus starts it when asked
	touch "$root/etc/.updated" "$root/var/.updated"
	printf '[Manager]\nDefaultTimeoutStartSec=300s\nDefaultDeviceTimeoutSec=300s\n' >"$etc/system.conf.d/vm.conf"
	printf '[Journal]\nStorage=volatile\nForwardToConsole=no\n' >"$etc/journald.conf.d/vm.conf"
	rm -rf "$root"/usr/share/{doc,man,locale,info,i18n} "$root"/var/lib/apt/lists/* "$root"/usr/lib/udev/hwdb.*
}

mmdebstrap --quiet --mode=root --variant=minbase --architectures=amd64 --include="$packages" \
	--aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"' --aptopt='APT::Install-Recommends "false"' \
	--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt=force-unsafe-io \
	"$VM_SUITE" "$work/root" - <"$VM_CACHE/apt-$VM_SUITE/sources.list" >"$work/log" 2>&1 || {
	tail -n 30 "$work/log" >&2
	die "mmdebstrap failed"
}
customize "$work/root"
truncate -s 4G "$work/image"
mke2fs -q -t ext4 -F -m 0 -L root -E lazy_itable_init=1 -O ^has_journal,^resize_inode -d "$work/root" "$work/image"
mv "$work/image" "$out"
echo "$wanted" >"$out.fingerprint"
say "root image: $(du -h "$out" | cut -f1) on disk"
