# shellcheck shell=bash
# GRUB for installed disks and sticks, see grub/meadow.cfg.

# The kernel's command line where no boot server gives it: the boot server's
# own one (pxe/server/src/config.rs), and a machine that nobody sits at starts
# again after a panic, so that the blessed slot gets its turn.
command_line() {
    local base
    base=$(sed -n 's/^pub const DEFAULT_COMMAND_LINE: &str = "\(.*\)";$/\1/p' "$CHECKOUT/pxe/server/src/config.rs")
    [[ -n $base ]] || die "pxe/server/src/config.rs has no DEFAULT_COMMAND_LINE"
    printf '%s panic=10' "$base"
}

# signing_date: in seconds since 1970. The kernel refuses a signature that is
# older than its certificate, which may be younger than the sources.
signing_date() {
    local begins
    begins=$(openssl x509 -in "$SECURE_BOOT_CERTIFICATE" -noout -startdate)
    printf '%s\n' "$(source_date_epoch)" "$(date -u -d "${begins#notBefore=}" +%s)" | sort -n | tail -n1
}

# sign_efi FILE: with the Secure Boot key, in place. The signature has a date,
# which must not be the one of now. Needs build_keys and the folder of FILE.
sign_efi() {
    in_tools --bind "$(dirname "$1")" --read-only "$BUILD_KEYS" -- \
        faketime -f "$(date -u -d "@$(signing_date)" '+%F %T')" \
        sbsign --key "$SECURE_BOOT_KEY" --cert "$SECURE_BOOT_CERTIFICATE" --output "$1" "$1"
}

stage_grub() { with_lock grub grub_if_needed; }

grub_if_needed() {
    local key entry tree
    tree=$(tools_tree)
    build_keys
    key=$({
        printf '%s\n' "${tree##*/}" "$(command_line)" "$(digest_tree "$IMAGE/grub")"
        cat "$IMAGE"/lib/{build-grub,openpgp}.sh "$SECURE_BOOT_CERTIFICATE"
        declare -f grub_if_needed sign_efi signing_date
    } | sha256sum | cut -c1-64)
    if [[ -d $(cached grub "$key") ]]; then
        use grub "$key"
        say "grub: cached"
        return
    fi
    entry=$(new_entry grub "$key")
    openpgp_public_key "$SECURE_BOOT_KEY" | bytes >"$entry/key.pgp"
    run_logged "$LOGS/grub.log" "grub" in_tools --bind "$entry" --read-only "$IMAGE" -- \
        "$IMAGE/lib/build-grub.sh" "$IMAGE/grub" "$(command_line)" "$(source_date_epoch)" "$entry"
    run_logged "$LOGS/grub-sign.log" "grub: sign" sign_efi "$entry/bootx64.efi"
    # For the firmware's setup, where people enrol it.
    openssl x509 -in "$SECURE_BOOT_CERTIFICATE" -outform DER -out "$entry/secureboot.cer"
    rm "$entry/key.pgp"
    say "grub: $(cd "$entry" && stat -c '%n %s' -- * | paste -sd, )"
    publish grub "$key" "$entry"
}
