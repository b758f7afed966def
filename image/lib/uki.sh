# shellcheck shell=bash
# The unified kernel image: kernel, initrd and command line in one signed UEFI
# program, with signatures of the values that it will leave in PCR 11. Beside it
# the kernel alone, signed by the same key in place of Debian's.

stage_uki() { with_lock uki uki_if_needed; }

# The stub measures this into PCR 11 too.
os_release() {
    printf 'ID=meadow\nNAME=Meadow\nPRETTY_NAME="Meadow %s"\nVERSION_ID=%s\n' "$(workspace_version)" "$(workspace_version)"
}

# sign_kernel FROM TO: under Secure Boot a kernel starts another one only where it trusts the key, and Debian's kernel has not
# even Debian's built in: it trusts what is in db. Of two signatures it reads the first and stumbles over the second.
sign_kernel() {
    cp "$1" "$2"
    run_logged "$LOGS/kernel-sign.log" "kernel: take Debian's signature off" \
        in_tools --bind "$(dirname "$2")" -- sbattach --remove "$2"
    run_logged "$LOGS/kernel-sign.log" "kernel: sign" sign_efi "$2"
    # Its date is the image's.
    touch --reference="$1" "$2"
}

uki_if_needed() {
    local key entry kernel initrd tree version
    kernel=$(kernel_tree)
    initrd=$(readlink -f "$CACHE/initrd/current")
    tree=$(tools_tree)
    version=$(kernel_version)
    build_keys
    key=$({
        printf '%s\n' "${kernel##*/}" "${initrd##*/}" "${tree##*/}" "$(command_line)" "$(os_release)"
        cat "$IMAGE"/lib/{build-uki,openpgp}.sh "$SECURE_BOOT_CERTIFICATE" "$PCR_KEY_PUBLIC"
        declare -f uki_if_needed sign_efi signing_date sign_kernel
    } | sha256sum | cut -c1-64)
    if [[ -d $(cached uki "$key") ]]; then
        use uki "$key"
        say "uki: cached"
        return
    fi
    entry=$(new_entry uki "$key")
    os_release >"$entry/os-release"
    run_logged "$LOGS/uki.log" "uki" in_tools --bind "$entry" --read-only "$kernel" --read-only "$initrd" \
        --read-only "$BUILD_KEYS" --read-only "$IMAGE" -- \
        "$IMAGE/lib/build-uki.sh" "$kernel/boot/vmlinuz-$version" "$version" "$initrd/initrd" "$(command_line)" \
        "$entry/os-release" "$PCR_KEY" "$PCR_KEY_PUBLIC" "$entry/uki.efi"
    run_logged "$LOGS/uki-sign.log" "uki: sign" sign_efi "$entry/uki.efi"
    openpgp_sign "$SECURE_BOOT_KEY" "$entry/uki.efi" >"$entry/uki.efi.sig"
    sign_kernel "$kernel/boot/vmlinuz-$version" "$entry/vmlinuz"
    publish uki "$key" "$entry"
    say "uki: $(($(stat -c %s "$CACHE/uki/current/uki.efi") / 1000000)) MB"
}
