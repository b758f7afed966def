# shellcheck shell=bash
# The image: all artifacts in one folder with a signed manifest of them.

# All that a machine downloads for a boot, at most.
DOWNLOAD_BUDGET=120000000

stage_manifest() { with_lock image manifest_if_needed; }

# The artifacts' names in the image and where each comes from.
artifact_sources() {
    local tree
    tree=$(tools_tree)
    printf '%s %s\n' \
        vmlinuz "$CACHE/uki/current/vmlinuz" \
        initrd "$(readlink -f "$CACHE/initrd/current")/initrd" \
        root.img "$(readlink -f "$CACHE/root/current")/root.img" \
        uki.efi "$CACHE/uki/current/uki.efi" \
        uki.efi.sig "$CACHE/uki/current/uki.efi.sig" \
        grub/boot.img "$CACHE/grub/current/boot.img" \
        grub/core.img "$CACHE/grub/current/core.img" \
        grub/bootx64.efi "$CACHE/grub/current/bootx64.efi" \
        secureboot.cer "$CACHE/grub/current/secureboot.cer" \
        ipxe/undionly.kpxe "$tree/usr/lib/ipxe/undionly.kpxe" \
        ipxe/snponly.efi "$tree/usr/lib/ipxe/snponly.efi" \
        ipxe/ipxe.efi "$tree/usr/lib/ipxe/ipxe.efi" \
        ipxe/ipxe-arm64.efi "$tree/usr/lib/ipxe/ipxe-arm64.efi"
}

# packages_json: everything in the image that came as a package.
packages_json() {
    {
        jq -r '.[] | "\(.name) \(.version)"' "$CACHE/root/current/packages.json"
        cat "$CACHE/kernel/current/.meadow-kernel-package" "$CACHE/zfs/current/.meadow-zfs-package" "$CACHE/firmware/current/.meadow-firmware-packages"
        grep -E '^(ipxe|dropbear-bin|grub-pc-bin|grub-efi-amd64-bin|systemd-boot-efi) ' "$CACHE/tools/current/.meadow-versions"
    } | LC_ALL=C sort -u | jq -R 'split(" ") | {name: .[0], version: .[1]}' | jq -s .
}

workspace_version() {
    sed -n '/^\[workspace\.package\]/,/^\[/ s/^version *= *"\(.*\)"/\1/p' "$CHECKOUT/Cargo.toml"
}

manifest_if_needed() {
    local key entry name source artifacts='{}' digest size version
    build_keys
    while read -r name source; do
        digest=$(sha256sum "$source" | cut -c1-64)
        size=$(stat -Lc %s "$source")
            artifacts=$(jq -c --arg name "$name" --arg sha256 "$digest" --argjson size "$size" \
            '. + {($name): {size: $size, sha256: $sha256}}' <<<"$artifacts")
    done < <(artifact_sources)
    version=$(workspace_version)-$(sha256sum <<<"$artifacts" | cut -c1-12)
    key=$(printf '%s\n' "$version" "$artifacts" "$(packages_json)" "$(sha256sum <"$BUILD_KEY_PUBLIC")" |
        cat - "$IMAGE/lib/build-stick.sh" <(declare -f manifest_if_needed) | sha256sum | cut -c1-64)
    if [[ ! -d $(cached image "$key") ]]; then
        entry=$(new_entry image "$key")
        mkdir "$entry/ipxe" "$entry/grub"
        while read -r name source; do
            # The caches are on one file system: a second name costs nothing.
            ln -L "$source" "$entry/$name" 2>/dev/null || cp -L "$source" "$entry/$name"
        done < <(artifact_sources)
        jq -S --arg image "$version" --arg kernel "$(kernel_version)" --argjson artifacts "$artifacts" \
            --argjson packages "$(packages_json)" \
            --argjson date "$(stat -Lc %Y "$entry/vmlinuz")" \
            '{version: 1, image: $image, kernel: $kernel, architecture: "x86_64", date: $date, artifacts: $artifacts,
              root: {data_size, root_hash, salt}, packages: $packages}' \
            "$CACHE/root/current/root.json" >"$entry/manifest.json"
        # For whoever checks an image against the one that is here; those who boot have it in their initrd.
        cp "$BUILD_KEY_PUBLIC" "$entry/build.pem"
        openssl dgst -sha256 -sign "$BUILD_KEY" -out "$entry/manifest.json.sig" "$entry/manifest.json"
        # Not in the manifest, which it contains.
        run_logged "$LOGS/stick.log" "stick" in_tools --bind "$entry" --read-only "$CACHE/root" --read-only "$IMAGE" -- \
            "$IMAGE/lib/build-stick.sh" "$entry" "$CACHE/root/current/root.json" "$(source_date_epoch)" "$entry/stick.img"
        publish image "$key" "$entry"
    fi
    use image "$key"
    check_budget
    say "image $version: kernel and initrd $(megabytes vmlinuz initrd) MB, all downloads of a boot $(megabytes "${DOWNLOADS[@]}") MB"
    hand_out "$(cached image "$key")" "$OUT"
}

# What a UEFI machine fetches for a netboot; a BIOS one has a smaller iPXE.
DOWNLOADS=(ipxe/snponly.efi vmlinuz initrd root.img)

bytes_of() { (cd "$CACHE/image/current" && du -cbD "$@" | tail -n1 | cut -f1); }
megabytes() { bytes_of "$@" | awk '{ printf "%.1f", $1 / 1e6 }'; }

check_budget() {
    (($(bytes_of "${DOWNLOADS[@]}") <= DOWNLOAD_BUDGET)) ||
        die "a boot would download $(megabytes "${DOWNLOADS[@]}") MB, the budget is $((DOWNLOAD_BUDGET / 1000000)) MB: take something out (root/modules.drop, root/slim/) or make it a system extension"
}
