# shellcheck shell=bash
# Firmware files of the wired network cards, for initrd and root.

stage_firmware() { with_lock firmware firmware_if_needed; }

firmware_if_needed() {
    local packages versions key entry deb modules wanted
    mapfile -t packages < <(packages_in "$IMAGE/firmware.packages")
    versions=$(archive_resolve "${packages[@]}" | grep -E '^firmware-') ||
        die "the archive does not resolve the packages of image/firmware.packages"
    modules=$(readlink -f "$CACHE/modules/current")
    key=$(printf '%s\n' "$versions" "${modules##*/}" | cat - "$IMAGE/lib/pick-firmware.sh" <(declare -f firmware_if_needed) | sha256sum | cut -c1-64)
    if [[ -d $(cached firmware "$key") ]]; then
        use firmware "$key"
        say "firmware: cached"
        return
    fi
    entry=$(new_entry firmware "$key")
    mkdir "$entry/debs" "$entry/unpacked" "$entry/tree"
    mapfile -t wanted <<<"${versions// /=}"
    (cd "$entry/debs" && run_logged "$LOGS/firmware.log" "firmware" archive_apt apt-get download "${wanted[@]}")
    for deb in "$entry"/debs/*.deb; do
        dpkg-deb -x "$deb" "$entry/unpacked"
    done
    run_logged "$LOGS/firmware-pick.log" "firmware: pick" \
        in_tools --bind "$entry" --read-only "$modules" --read-only "$IMAGE" -- \
        "$IMAGE/lib/pick-firmware.sh" "$modules" "$(kernel_version)" "$entry/unpacked" "$entry/tree"
    printf '%s\n' "$versions" >"$entry/tree/.meadow-firmware-packages"
    say "firmware: $(find "$entry/tree/usr/lib/firmware" -type f | wc -l) files, $(du -sk "$entry/tree/usr/lib/firmware" | cut -f1) kB"
    publish firmware "$key" "$entry/tree"
    rm -rf -- "$entry"
}
