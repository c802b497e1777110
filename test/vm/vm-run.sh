#!/bin/bash
# vm-run.sh [OPTION…] SCRIPT [FILE…]: runs the script as root in a VM with a stock Debian kernel and pure cgroup v2.
#
# The files (directories whole) lie beside the script. Its output comes back on stdout and its status is this command's;
# 124 means time-out, 125 that the VM died. The VM is emulated (QEMU, TCG): it needs no KVM, and a fork and exec takes
# twelve times as long. What is missing is built first, into $VM_CACHE (~/.cache/minictr-vm).
#
#   --prepare       build what is missing and run nothing
#   --full          a Debian root image with systemd and podman; otherwise an initramfs of busybox with ip, nft, crun …
#   --suite S       trixie (default) or bookworm         --flavour F  cloud (default) or generic: the kernel package
#   -m MB           memory (1024; full 2048)             --smp N      CPUs (2)
#   --timeout S     limit in seconds (300; full 600)     --disk SIZE  an empty ext4 at /data, such as 2G
#   --out DIR       copy /out of the guest there         --env K=V    set for the script; may be repeated
#   --cold          boot anew, not from the snapshot     --console F  keep the kernel's console
#
# How it is fast: the VM is booted once for each kind and size, and frozen (QEMU's migrate) while it waits for a payload.
# Each run resumes that state, which takes a second, and gets the script and files as a tar on a disk.
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2; }

mode=micro memory='' cpus=2 limit='' out='' scratch='' console='' cold='' prepare='' env=()
while [ $# -gt 0 ]; do
	case $1 in
	--prepare) prepare=1 ;;
	--full) mode=full ;;
	--cold) cold=1 ;;
	--suite) export VM_SUITE=$2; shift ;;
	--flavour) export VM_FLAVOUR=$2; shift ;;
	-m) memory=$2; shift ;;
	--smp) cpus=$2; shift ;;
	--timeout) limit=$2; shift ;;
	--out) out=$2; shift ;;
	--disk) scratch=$2; shift ;;
	--console) console=$2; shift ;;
	--env) env+=("$2"); shift ;;
	-*) usage; exit 2 ;;
	*) break ;;
	esac
	shift
done
[ -n "$prepare" ] || [ $# -ge 1 ] || { usage; exit 2; }
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
if [ $mode = full ]; then
	: "${memory:=2048}" "${limit:=600}"
else
	: "${memory:=1024}" "${limit:=300}"
fi

initramfs=$VM_CACHE/micro-$VM_SUITE-$VM_FLAVOUR.cpio
image=$VM_CACHE/root-$VM_SUITE.ext4
snapshot=$VM_CACHE/snapshot-$mode-$VM_SUITE-$VM_FLAVOUR-${memory}m-${cpus}c
disk_size=8G # of every disk: a resumed VM cannot be given others than it was frozen with

# Each of these took time off the boot; PVH boot of the plain vmlinux saved half of it. la57 and the devices that are off
# cost time and serve nothing here. hvc0 is the script's output, "results" its status and files.
qemu=(qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot
	-M "q35,hpet=off,smbus=off,sata=off,usb=off,vmport=off,smm=off" -accel "tcg,thread=multi,tb-size=256"
	-cpu "max,la57=off" -smp "$cpus" -m "$memory" -kernel "$KERNEL/vmlinux" -initrd "$initramfs"
	-device virtio-serial-pci -device "virtconsole,chardev=out" -device "virtserialport,chardev=results,name=results"
	-device virtio-rng-pci -serial chardev:console
	-append "console=ttyS0 quiet panic=-1 reboot=t vm.mode=$mode mitigations=off no_timer_check tsc=reliable nokaslr cryptomgr.notests random.trust_cpu=on 8250.nr_uarts=1 systemd.show_status=0 systemd.log_level=notice")

# add_disk NAME FILE OPTION: the guest finds it by its serial number, the root disk by being the first.
add_disk() { qemu+=(-drive "file=$2,if=none,id=$1,format=raw,cache=unsafe,$3" -device "virtio-blk-pci,drive=$1,serial=$1"); }

add_disks() { # ROOT PAYLOAD SCRATCH
	[ $mode = micro ] || add_disk root "$1" snapshot=on
	add_disk payload "$2" read-only=on
	add_disk scratch "$3" snapshot=off
}

build() {
	mkdir -p "$VM_CACHE"
	exec 9>"$VM_CACHE/.lock"
	flock 9 # builds take turns, runs do not
	need vm qemu-system-x86_64 mke2fs
	"$VM_DIR/build-micro.sh"
	[ $mode = micro ] || "$VM_DIR/build-full.sh"
	local wanted parts=("$0" "$initramfs.fingerprint" "$VM_CACHE/qemu-version")
	qemu-system-x86_64 --version >"$VM_CACHE/qemu-version"
	[ $mode = micro ] || parts+=("$image.fingerprint")
	wanted=$(fingerprint "${parts[@]}")
	is_fresh "$snapshot" "$wanted" || (freeze && echo "$wanted" >"$snapshot.fingerprint")
	exec 9>&-
}

# freeze boots the VM once, stops it when it waits for a payload, and keeps its memory, devices and root disk.
freeze() {
	local work
	work=$(mktemp -d "$VM_CACHE/freeze.XXXXXX")
	cd "$work"
	truncate -s $disk_size zeros scratch
	[ $mode = micro ] || cp --sparse=always --reflink=auto "$image" root
	[ $mode = micro ] || add_disk root root snapshot=off
	add_disk payload zeros read-only=on
	add_disk scratch scratch snapshot=off
	mkfifo monitor
	exec 8<>monitor
	timeout 900 "${qemu[@]}" -monitor stdio -chardev file,id=console,path=console -chardev file,id=out,path=out \
		-chardev file,id=results,path=results <monitor >monitor.log 2>&1 8>&- 9>&- &
	until grep -qa VMRUN-READY console 2>/dev/null; do
		sleep 0.2
		kill -0 $! 2>/dev/null || { tail -n 30 console monitor.log >&2; rm -rf "$work"; die "the boot for the snapshot failed"; }
	done
	# Not after a stop: the VM would be saved as paused, and resumed as paused.
	printf '%s\n' 'migrate_set_parameter max-bandwidth 100G' 'migrate "exec:cat >state"' 'info migrate' quit >&8
	wait $! || { tail monitor.log >&2; die "QEMU failed"; }
	exec 8>&-
	grep -q 'Migration status: completed' monitor.log || { tail monitor.log >&2; die "QEMU saved no state"; }
	rm -f monitor zeros scratch
	rm -rf "$snapshot"
	mv "$work" "$snapshot"
	say "snapshot: $(du -sh "$snapshot" | cut -f1), booted in $(sed -n 's/.*VMRUN-READY \([0-9.]*\).*/\1/p' "$snapshot/console") s"
}

# write_payload: see guest-run for the form.
write_payload() {
	local script=$1 file size
	shift
	mkdir "$work/host"
	install -m 755 "$script" "$work/host/script"
	for file in "$@"; do cp -a --reflink=auto "$(realpath "$file")" "$work/host/"; done
	for file in "${env[@]}"; do printf '%s=%q\n' "${file%%=*}" "${file#*=}"; done >"$work/host/.env"
	head -c 64 /dev/urandom >"$work/host/.seed"
	tar -C "$work/host" --owner=0 --group=0 --numeric-owner -cf "$work/tar" .
	rm -rf "$work/host"
	size=$(stat -c %s "$work/tar")
	local has_scratch=${scratch:+1}
	printf 'VMRUN1 %s %s %s\n' "$(date +%s)" "${has_scratch:-0}" "$size" >"$work/payload"
	truncate -s 1M "$work/payload"
	cat "$work/tar" >>"$work/payload"
	rm "$work/tar"
	truncate -s $disk_size "$work/payload" "$work/scratch"
	[ -z "$scratch" ] || mke2fs -q -F -t ext4 -E lazy_itable_init=1,nodiscard -O ^has_journal "$work/scratch" "$scratch"
}

run() {
	local rc=0 status
	if [ -n "$cold" ]; then
		add_disks "$image" "$work/payload" "$work/scratch"
	else
		add_disks "$snapshot/root" "$work/payload" "$work/scratch"
		qemu+=(-incoming "exec:cat $snapshot/state")
	fi
	TMPDIR=$work timeout --foreground -k 5 "$limit" "${qemu[@]}" -chardev "file,id=console,path=$work/console" \
		-chardev stdio,id=out,signal=off -chardev "file,id=results,path=$work/results" </dev/null 2>"$work/qemu.log" || rc=$?
	[ -z "$console" ] || cp "$work/console" "$console"
	if [ $rc = 124 ] || [ $rc = 137 ]; then
		say "time-out after $limit s; the console ends:"
		tail -n 30 "$work/console" >&2
		return 124
	fi
	if ! status=$(tar -xOf "$work/results" ./.status 2>/dev/null); then
		say "the VM ended without a status (QEMU: $rc); the console ends:"
		tail -n 40 "$work/console" "$work/qemu.log" >&2
		return 125
	fi
	[ -z "$out" ] || { mkdir -p "$out" && tar -C "$out" -xf "$work/results"; }
	return "$status"
}

build
[ -z "$prepare" ] || exit 0
work=$(mktemp -d "${TMPDIR:-/tmp}/vm-run.XXXXXX")
trap 'rm -rf "$work"' EXIT
write_payload "$@"
run
