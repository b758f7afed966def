# shellcheck shell=bash
# The kernel tree: Debian's kernel package unpacked, with its modules' index.
# The initrd and the root both take their kernel parts from it.

stage_kernel() { with_lock kernel kernel_if_needed; }

# kernel_package: "name version" of the real package behind the meta package.
kernel_package() {
    local meta
    meta=$(packages_in "$IMAGE/kernel.packages")
    archive_resolve "$meta" | grep -E '^linux-image-[0-9]'
}

kernel_if_needed() {
    local package key entry deb version
    package=$(kernel_package) || die "the archive does not resolve the packages of image/kernel.packages"
    key=$(printf '%s\n' "$package" | cat - <(declare -f kernel_if_needed) | sha256sum | cut -c1-64)
    if [[ -d $(cached kernel "$key") ]]; then
        use kernel "$key"
        say "kernel: $package, cached"
        return
    fi
    entry=$(new_entry kernel "$key")
    mkdir "$entry/tree"
    (cd "$entry" && run_logged "$LOGS/kernel.log" "kernel $package" \
        archive_apt apt-get download "${package/ /=}")
    deb=$(find "$entry" -maxdepth 1 -name '*.deb')
    run_logged "$LOGS/kernel-unpack.log" "kernel: unpack" dpkg-deb -x "$deb" "$entry/tree"
    # Debian's kernel brings no file /lib; the image has the usual links.
    if [[ ! -L $entry/tree/lib && -d $entry/tree/lib ]]; then
        mkdir -p "$entry/tree/usr"
        mv "$entry/tree/lib" "$entry/tree/usr/lib"
    fi
    [[ -e $entry/tree/lib ]] || ln -s usr/lib "$entry/tree/lib"
    version=$(cd "$entry/tree/usr/lib/modules" && echo *)
    # The tools tree may be being built beside this; its lock is waited for.
    stage_tools
    in_tools --bind "$entry" -- depmod -b "$entry/tree" "$version"
    printf '%s\n' "$version" >"$entry/tree/.meadow-kernel-version"
    printf '%s\n' "$package" >"$entry/tree/.meadow-kernel-package"
    publish kernel "$key" "$entry/tree"
    rm -rf -- "$entry"
}

kernel_tree() { readlink -f "$CACHE/kernel/current"; }
kernel_version() { cat "$CACHE/kernel/current/.meadow-kernel-version"; }

# The root's share of the modules, see root/modules.drop.
stage_modules() { with_lock modules modules_if_needed; }

modules_if_needed() {
    local key entry kernel version
    kernel=$(kernel_tree)
    version=$(kernel_version)
    key=$(printf '%s\n' "${kernel##*/}" | cat - "$IMAGE/lib/prune-modules.sh" "$IMAGE/root/modules.drop" | sha256sum | cut -c1-64)
    if [[ -d $(cached modules "$key") ]]; then
        use modules "$key"
        say "modules: cached"
        return
    fi
    entry=$(new_entry modules "$key")
    run_logged "$LOGS/modules.log" "modules of $version" \
        in_tools --bind "$entry" --read-only "$kernel" --read-only "$IMAGE" -- \
        "$IMAGE/lib/prune-modules.sh" "$kernel" "$version" "$IMAGE/root/modules.drop" "$entry"
    say "modules: $(tail -n1 "$LOGS/modules.log") modules, $(du -sm "$entry" | cut -f1) MB"
    publish modules "$key" "$entry"
}
