#!/bin/bash
# Makes the raw image of a USB stick from a finished image folder, without
# mounting anything; it starts by BIOS and by UEFI. Runs in the tools tree.
#
# build-stick.sh IMAGE_FOLDER ROOT_JSON EPOCH OUT
set -euo pipefail
image=$1 root_json=$2 epoch=$3 out=$4
# mtools dates files by these.
export SOURCE_DATE_EPOCH=$epoch TZ=UTC

# docs/decisions/0006-installed-nodes.md; in MiB, then in sectors of 512 bytes.
readonly SECTORS=2048
bios=1 esp=2 esp_size=256 root=258 root_size=512 seed=770 seed_size=16 size=787
readonly MEADOW=6d656164-6f77-4f53-8001-00000000000

# uuid NAME: follows from the image, so the same inputs give the same stick.
uuid() {
    local digest
    digest=$(printf '%s ' "$1" | cat - "$image/manifest.json" | sha256sum)
    printf '%s-%s-4%s-8%s-%s' "${digest:0:8}" "${digest:8:4}" "${digest:13:3}" "${digest:17:3}" "${digest:20:12}"
}

# put FILE MIB: FILE at that place of the stick.
put() { dd if="$1" of="$out" bs=1M seek="$2" conv=notrunc,sparse status=none; }

# patch FILE OFFSET HEX
patch() {
    local bytes=$3 escaped=
    while [[ -n $bytes ]]; do escaped+=\\x${bytes:0:2} bytes=${bytes:2}; done
    printf '%b' "$escaped" | dd of="$1" bs=1 seek=$(($2)) conv=notrunc status=none
}

# u64 NUMBER: in hexadecimal, the lowest byte first.
u64() { printf '%016x' "$1" | sed -E 's/(..)(..)(..)(..)(..)(..)(..)(..)/\8\7\6\5\4\3\2\1/'; }

partition() { echo "name=$1, start=$(($2 * SECTORS)), size=$(($3 * SECTORS)), type=$4, uuid=$(uuid "$1")"; }

make_table() {
    truncate -s 0 "$out"
    truncate -s "${size}M" "$out"
    {
        printf 'label: gpt\nlabel-id: %s\nunit: sectors\n' "$(uuid disk)"
        partition meadow-bios "$bios" 1 21686148-6449-6e6f-744e-656564454649
        partition meadow-esp "$esp" "$esp_size" c12a7328-f81f-11d2-ba4b-00a0c93ec93b
        partition meadow-root-a "$root" "$root_size" "${MEADOW}1"
        partition meadow-seed "$seed" "$seed_size" "${MEADOW}4"
    } | sfdisk --quiet --no-reread --no-tell-kernel "$out"
}

# What grub-bios-setup would do: image/README.md, The boot loader.
make_bios() {
    local first=$((bios * SECTORS))
    cp "$image/grub/core.img" /tmp/core.img
    patch /tmp/core.img 0x1f4 "$(u64 $((first + 1)))"
    put /tmp/core.img "$bios"
    cp "$image/grub/boot.img" /tmp/boot.img
    patch /tmp/boot.img 0x5c "$(u64 "$first")"
    patch /tmp/boot.img 0x66 9090
    dd if=/tmp/boot.img of="$out" bs=1 count=$((0x1b8)) conv=notrunc status=none
}

make_esp() {
    local files=/tmp/esp volume
    volume=$(uuid fat)
    mkdir -p "$files/EFI/BOOT" "$files/meadow/a" "$files/meadow/grub"
    cp "$image/grub/bootx64.efi" "$files/EFI/BOOT/BOOTX64.EFI"
    cp "$image/secureboot.cer" "$files/"
    cp "$image"/{vmlinuz,initrd,uki.efi,uki.efi.sig,manifest.json,manifest.json.sig} "$root_json" "$files/meadow/a/"
    (cd "$files/meadow/a" && sha256sum vmlinuz initrd >pc.sha256 && sha256sum uki.efi >efi.sha256)
    # For an installation from the stick.
    cp "$image/grub/boot.img" "$image/grub/core.img" "$files/meadow/grub/"
    grub-editenv "$files/meadow/grubenv" create
    grub-editenv "$files/meadow/grubenv" set blessed=a
    find "$files" -exec touch --date="@$epoch" {} +
    # 2 KiB a cluster: more would be too few clusters for FAT32, less is slow.
    mkfs.vfat -F 32 -s 4 -n MEADOW --invariant -i "${volume:0:8}" --offset $((esp * SECTORS)) "$out" $((esp_size * 1024)) >/dev/null
    mcopy -i "$out@@${esp}M" -s -m "$files/EFI" "$files/meadow" "$files/secureboot.cer" ::
}

make_table
make_bios
make_esp
put "$image/root.img" "$root"
