#!/bin/bash
# Compiles ZFS's kernel modules. Runs in a tree with a C toolchain, the kernel's
# headers and zfs-dkms unpacked.
#
# build-zfs.sh KERNEL_VERSION EPOCH OUT
set -euo pipefail
version=$1 epoch=$2 out=$3
headers=/usr/src/linux-headers-$version
export SOURCE_DATE_EPOCH=$epoch KBUILD_BUILD_TIMESTAMP="@$epoch" KBUILD_BUILD_USER=meadow KBUILD_BUILD_HOST=meadow

# Without it the modules get no BTF, which nothing here uses and which needs pahole.
rm -f "$headers/vmlinux"
mkdir /build
cp -r /usr/src/zfs-*/. /build
cd /build
./configure --with-config=kernel --disable-dependency-tracking \
    --with-linux="${headers%-*}-common" --with-linux-obj="$headers"
make -j"$(nproc)" -C module modules
# Without symbols for debuggers and without notes that name the build.
for module in spl zfs; do
    strip --strip-debug --remove-section=.note.gnu.build-id -o "$out/$module.ko" "module/$module.ko"
    grep -qaF "vermagic=$version " "$out/$module.ko"
done
cp "$headers/scripts/sign-file" "$out/sign-file"
cp /usr/share/doc/zfs-dkms/copyright "$out/copyright"
