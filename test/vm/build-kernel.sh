#!/bin/bash
# build-kernel.sh: a stock Debian kernel, unpacked and not installed, in $KERNEL: vmlinux, config, version, lib/modules.
#
# vmlinux is taken out of the bzImage here, since decompressing it costs an emulated CPU 1 to 4 s at each boot; modules
# are decompressed for the same reason.
. "$(dirname "$0")/lib.sh"
[ ! -e "$KERNEL/.done" ] || exit 0
need vm depmod zstd lz4 xz
private_apt

# The metapackage depends on the kernel of the day.
case $VM_FLAVOUR in
cloud) metapackage=linux-image-cloud-amd64 ;;
generic) metapackage=linux-image-amd64 ;;
*) die "VM_FLAVOUR is $VM_FLAVOUR, not cloud or generic" ;;
esac
package=$(apt-cache depends "$metapackage" | awk '/Depends:/ { print $2; exit }')
rm -rf "$KERNEL"
mkdir -p "$KERNEL/unpacked" "$KERNEL/lib/modules"
cd "$KERNEL"
apt-get -qq download "$package"
dpkg-deb -x ./*.deb unpacked
rm ./*.deb
version=$(basename unpacked/boot/vmlinuz-*)
version=${version#vmlinuz-}
echo "$version" >version
mv "unpacked/boot/vmlinuz-$version" bzImage
mv "unpacked/boot/config-$version" config

# The setup header says where the compressed kernel lies: setup_sects, payload_offset and payload_length
# (Documentation/arch/x86/boot.rst). The last four bytes of the payload are its length when decompressed.
field() { od -An -t"u$2" -j "$(($1))" -N "$2" bzImage | tr -d ' '; }
offset=$((($(field 0x1f1 1) + 1) * 512 + $(field 0x248 4)))
length=$(($(field 0x24c 4) - 4))
case $(od -An -tx1 -j $offset -N4 bzImage | tr -d ' ') in
28b52ffd) unpack=(zstd -dcq) ;;
02214c18) unpack=(lz4 -dcq) ;;
fd377a58) unpack=(xz -dcq) ;;
1f8b*) unpack=(gzip -dcq) ;;
*) die "a bzImage that is compressed in an unknown way" ;;
esac
dd if=bzImage bs=1M iflag=skip_bytes,count_bytes skip=$offset count=$length status=none | "${unpack[@]}" >vmlinux
rm bzImage

for modules in unpacked/lib/modules/"$version" unpacked/usr/lib/modules/"$version"; do
	[ ! -d "$modules" ] || mv "$modules" lib/modules/
done
rm -rf unpacked
find lib/modules -name '*.ko.xz' -print0 | xargs -0 -r -n 64 -P "$(nproc)" xz -d
depmod -b "$KERNEL" "$version" # of kmod: that of busybox writes no modules.dep.bin, which kmod in the guest needs
touch .done
say "kernel $version: $(du -sh "$KERNEL" | cut -f1)"
