#!/bin/bash
# Lays the parts of the root over each other and makes root.img of them: an
# erofs with its dm-verity hash tree behind it. Runs in the tools tree.
#
# assemble.sh WORK PACKAGES MODULES FIRMWARE OVERLAY BIN_DIR SEED EPOCH
# SEED is a digest of all inputs; file system UUID and verity salt follow from
# it, so the same inputs give the same image.
set -euo pipefail
work=$1 packages=$2 modules=$3 firmware=$4 overlay=$5 bin=$6 seed=$7 epoch=$8
root=$work/root
# Fragments: the ends of files share clusters, 10 MB less for 3 s. Level 6 is 5 MB
# smaller and takes 10 s longer, at every change of a program.
compression=("-zzstd,level=3" -C65536 -Efragments)

uuid_from() {
    local digest
    digest=$(printf '%s %s' "$1" "$seed" | sha256sum)
    printf '%s-%s-4%s-8%s-%s' "${digest:0:8}" "${digest:8:4}" "${digest:13:3}" "${digest:17:3}" "${digest:20:12}"
}

lay_parts() {
    local file
    cp -a "$packages" "$root"
    cp -a "$modules/usr/." "$root/usr/"
    cp -a "$firmware/usr/." "$root/usr/"
    # The checkout's owners and the umask of who cloned it must not count.
    mkdir "$work/overlay"
    (cd "$overlay" && find . -type d -printf '%P\0' | xargs -0 -I{} mkdir -p "$work/overlay/{}")
    while IFS= read -r -d '' file; do
        if [[ -L $overlay/$file ]]; then
            cp -P "$overlay/$file" "$work/overlay/$file"
        elif [[ -x $overlay/$file ]]; then
            install -m 0755 "$overlay/$file" "$work/overlay/$file"
        else
            install -m 0644 "$overlay/$file" "$work/overlay/$file"
        fi
    done < <(cd "$overlay" && find . '(' -type f -o -type l ')' -printf '%P\0')
    chown -hR 0:0 "$work/overlay"
    find "$work/overlay" -type d -exec chmod 0755 {} +
    cp -a "$work/overlay/." "$root/"
    for file in meadow meadowd meadow-console meadow-disks; do
        install -m 0755 "$bin/$file" "$root/usr/bin/$file"
    done
}

finish_tree() {
    # An empty file: systemd makes up an id for each boot and binds it here.
    rm -f "$root/etc/machine-id"
    install -m 0444 /dev/null "$root/etc/machine-id"
    find "$root/var" "$root/run" "$root/tmp" "$root/boot" "$root/efi" -mindepth 1 -delete
    mkdir -p "$root/proc" "$root/sys" "$root/dev"
    systemd-sysusers --root="$root"
    rm -f "$root"/etc/{passwd,group,shadow,gshadow}-
    ldconfig -r "$root"
    rm -rf "$root/var/cache"
}

make_image() {
    local image=$work/root.img data_size report
    # shellcheck disable=SC2094
    mkfs.erofs --quiet "${compression[@]}" -T"$epoch" --all-time -U"$(uuid_from root)" -Lmeadow "$image" "$root"
    data_size=$(stat -c %s "$image")
    ((data_size % 4096 == 0)) || truncate -s $(((data_size + 4095) / 4096 * 4096)) "$image"
    data_size=$(stat -c %s "$image")
    salt=$(printf 'salt %s' "$seed" | sha256sum | cut -c1-64)
    report=$(veritysetup format "$image" "$image" --no-superblock --hash-offset="$data_size" \
        --data-block-size=4096 --hash-block-size=4096 --data-blocks=$((data_size / 4096)) \
        --hash=sha256 --salt="$salt")
    root_hash=$(sed -n 's/^Root hash:[[:space:]]*//p' <<<"$report")
    [[ $root_hash =~ ^[0-9a-f]{64}$ ]]
    jq -n --arg sha256 "$(sha256sum "$image" | cut -c1-64)" --argjson size "$(stat -c %s "$image")" \
        --argjson data "$data_size" --arg hash "$root_hash" --arg salt "$salt" \
        '{name: "root.img", size: $size, sha256: $sha256, data_size: $data, hash_offset: $data, root_hash: $hash, salt: $salt}' \
        >"$work/root.json"
}

lay_parts
finish_tree
make_image
du -sm "$root" | cut -f1 >"$work/unpacked-mb"
rm -rf "$root" "$work/overlay"
