# shellcheck shell=bash
# root.img: packages, kernel modules, firmware, buildroot-overlay and binaries.

# What every file of the image is dated: fixed in root/mkosi.conf.
source_date_epoch() { sed -n 's/^SourceDateEpoch=//p' "$IMAGE/root/mkosi.conf"; }

stage_root() { with_lock root root_if_needed; }

root_if_needed() {
    local key entry packages modules firmware tree overlay=$CHECKOUT/buildroot-overlay binary
    for binary in meadow meadowd meadow-console meadow-disks; do
        [[ -x $BIN_DIR/$binary ]] || die "$BIN_DIR/$binary is missing: build the workspace first (make build), or name its folder with --bin-dir"
    done
    packages=$(readlink -f "$CACHE/packages/current")
    modules=$(readlink -f "$CACHE/root-modules/current")
    firmware=$(readlink -f "$CACHE/firmware/current")
    tree=$(tools_tree)
    key=$({
        printf '%s\n' "${packages##*/}" "${modules##*/}" "${firmware##*/}" "${tree##*/}"
        digest_tree "$overlay"
        for binary in meadow meadowd meadow-console meadow-disks; do sha256sum <"$BIN_DIR/$binary"; done
        cat "$IMAGE/lib/assemble.sh"
    } | sha256sum | cut -c1-64)
    if [[ -d $(cached root "$key") ]]; then
        use root "$key"
        say "root: cached"
        return
    fi
    entry=$(new_entry root "$key")
    run_logged "$LOGS/root.log" "root file system" \
        in_tools --bind "$entry" --read-only "$packages" --read-only "$modules" --read-only "$firmware" \
        --read-only "$overlay" --read-only "$BIN_DIR" --read-only "$IMAGE" -- \
        "$IMAGE/lib/assemble.sh" "$entry" "$packages/root" "$modules" "$firmware" "$overlay" "$BIN_DIR" "$key" "$(source_date_epoch)"
    jq -c '[.packages[] | {name, version}]' "$packages/root.manifest" >"$entry/packages.json"
    say "root: $(cat "$entry/unpacked-mb") MB unpacked, root.img $(($(stat -c %s "$entry/root.img") / 1000000)) MB"
    publish root "$key" "$entry"
}
