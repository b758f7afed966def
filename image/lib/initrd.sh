# shellcheck shell=bash
# The initrd, made by initramfs/ inside the tools tree: a base that needs no
# program of ours, and behind it what changes with every build.

INITRAMFS=$CHECKOUT/initramfs

stage_initrd_base() { with_lock initrd-base initrd_base_if_needed; }

initrd_base_if_needed() {
    local key entry kernel firmware tree
    kernel=$(kernel_tree)
    firmware=$(readlink -f "$CACHE/firmware/current")
    tree=$(tools_tree)
    build_keys
    key=$({
        printf '%s\n' "${kernel##*/}" "${firmware##*/}" "${tree##*/}"
        cat "$INITRAMFS"/{build-base,common.sh,modules.list,firmware.list} "$BUILD_KEY_PUBLIC"
    } | sha256sum | cut -c1-64)
    if [[ -d $(cached initrd-base "$key") ]]; then
        use initrd-base "$key"
        say "initrd-base: cached"
        return
    fi
    entry=$(new_entry initrd-base "$key")
    run_logged "$LOGS/initrd-base.log" "initrd-base" \
        in_tools --bind "$entry" --read-only "$kernel" --read-only "$firmware" --read-only "$INITRAMFS" \
        --read-only "$BUILD_KEY_PUBLIC" -- \
        "$INITRAMFS/build-base" --kernel-tree "$kernel" --version "$(kernel_version)" --firmware-tree "$firmware" \
        --build-key-pem "$BUILD_KEY_PUBLIC" --out "$entry/base"
    sed 's/^/image:   /' "$LOGS/initrd-base.log"
    publish initrd-base "$key" "$entry"
}

# What of the manifest is known before the image is whole: enough to tell whether another image is older.
image_json() {
    jq -n --arg version "$(workspace_version)" --argjson date "$(stat -Lc %Y "$(kernel_tree)/boot/vmlinuz-$(kernel_version)")" \
        '{version: $version, architecture: "x86_64", date: $date}'
}

stage_initrd() { with_lock initrd initrd_if_needed; }

initrd_if_needed() {
    local key entry kernel base root tree
    [[ -x $UNLOCK ]] || die "$UNLOCK is missing: build the workspace first (make build), or name it with --unlock"
    [[ -x $INIT ]] || die "$INIT is missing: build it first (make build), or name it with --init"
    # Where a program that needs shared libraries names their loader.
    if head -c 4096 "$INIT" | grep -qa ld-linux; then
        die "$INIT is not linked statically, the initrd has no C library for it: build meadow-init with --target x86_64-unknown-linux-gnu and -C target-feature=+crt-static"
    fi
    kernel=$(kernel_tree)/boot/vmlinuz-$(kernel_version)
    base=$(readlink -f "$CACHE/initrd-base/current")
    root=$(readlink -f "$CACHE/root/current")
    tree=$(tools_tree)
    key=$({
        printf '%s\n' "${base##*/}" "${tree##*/}"
        cat "$INITRAMFS"/{build-boot,common.sh} "$INIT" "$UNLOCK" "$root/root.json" <(image_json)
    } | sha256sum | cut -c1-64)
    if [[ -d $(cached initrd "$key") ]]; then
        use initrd "$key"
        say "initrd: cached"
        return
    fi
    entry=$(new_entry initrd "$key")
    image_json >"$entry/image.json"
    run_logged "$LOGS/initrd.log" "initrd" \
        in_tools --bind "$entry" --read-only "$kernel" --read-only "$base" --read-only "$root" \
        --read-only "$INITRAMFS" --read-only "$INIT" --read-only "$UNLOCK" -- \
        "$INITRAMFS/build-boot" --base "$base/base" --kernel "$kernel" --init "$INIT" --root-json "$root/root.json" \
        --image-json "$entry/image.json" --unlock "$UNLOCK" --out "$entry/initrd"
    sed 's/^/image:   /' "$LOGS/initrd.log"
    publish initrd "$key" "$entry"
}
