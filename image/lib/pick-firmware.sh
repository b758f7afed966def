#!/bin/bash
# Copies the firmware that the wired network drivers of a module tree name, with
# the licences of the packages it is from. Runs in the tools tree.
#
# pick-firmware.sh MODULES VERSION UNPACKED OUT
set -euo pipefail
modules=$1/usr/lib/modules/$2 unpacked=$3 out=$4
source=$unpacked/usr/lib/firmware

mkdir -p "$out/usr/lib/firmware" "$out/usr/share/licenses"
find "$modules/kernel/drivers/net/ethernet" "$modules/kernel/drivers/net/usb" -name '*.ko' -print0 |
    xargs -0 -n 100 modinfo -F firmware | LC_ALL=C sort -u |
    while read -r file; do
        [[ -e $source/$file ]] || continue
        (cd "$source" && cp -a --parents "$file" "$out/usr/lib/firmware")
        # A driver's name for it may be a link to the file.
        if [[ -L $source/$file ]]; then
            target=$(realpath --relative-to="$source" "$source/$file")
            (cd "$source" && cp -a --parents "$target" "$out/usr/lib/firmware")
        fi
    done
for copyright in "$unpacked"/usr/share/doc/firmware-*/copyright; do
    package=$(basename "$(dirname "$copyright")")
    cp "$copyright" "$out/usr/share/licenses/$package"
done
