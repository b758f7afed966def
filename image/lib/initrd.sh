# shellcheck shell=bash
# The initrd: initramfs/build, run inside the tools tree.

stage_initrd() { with_lock initrd initrd_if_needed; }

initrd_if_needed() {
    local key entry kernel root firmware tree initramfs=$CHECKOUT/initramfs
    [[ -x $INIT ]] || die "$INIT is missing: build it first (make build), or name it with --init"
    # Where a program that needs shared libraries names their loader.
    if head -c 4096 "$INIT" | grep -qa ld-linux; then
        die "$INIT is not linked statically, the initrd has no C library for it: build meadow-init with --target x86_64-unknown-linux-gnu and -C target-feature=+crt-static"
    fi
    kernel=$(kernel_tree)
    root=$(readlink -f "$CACHE/root/current")
    firmware=$(readlink -f "$CACHE/firmware/current")
    tree=$(tools_tree)
    build_key
    key=$({
        printf '%s\n' "${kernel##*/}" "${firmware##*/}" "${tree##*/}"
        find "$initramfs" -maxdepth 1 -type f | LC_ALL=C sort | xargs cat
        cat "$INIT" "$root/root.json" "$BUILD_KEY_PUBLIC"
    } | sha256sum | cut -c1-64)
    if [[ -d $(cached initrd "$key") ]]; then
        use initrd "$key"
        say "initrd: cached"
        return
    fi
    entry=$(new_entry initrd "$key")
    run_logged "$LOGS/initrd.log" "initrd" \
        in_tools --bind "$entry" --read-only "$kernel" --read-only "$firmware" --read-only "$root" \
        --read-only "$initramfs" --read-only "$INIT" --read-only "$BUILD_KEY_PUBLIC" -- \
        "$initramfs/build" --kernel-tree "$kernel" --version "$(kernel_version)" --firmware-tree "$firmware" \
        --init "$INIT" --root-json "$root/root.json" --build-key-pem "$BUILD_KEY_PUBLIC" --out "$entry/initrd"
    sed 's/^/image:   /' "$LOGS/initrd.log"
    publish initrd "$key" "$entry"
}
