# shellcheck shell=bash
# ZFS's kernel modules, from the source in Debian's zfs-dkms (contrib), for
# exactly the image's kernel: about 5 CPU minutes, once for each pair of
# versions. What is kept is not signed, so it depends on no key.

stage_zfs() { with_lock zfs zfs_if_needed; }

# zfs_packages: "name version" of ZFS's source and of what it is built against.
zfs_packages() {
    archive_resolve zfs-dkms | grep '^zfs-dkms '
    archive_resolve linux-headers-amd64 | grep -E '^linux-(headers-[0-9]|kbuild-)'
}

zfs_if_needed() {
    local packages build_packages versions key entry deb wanted version epoch
    version=$(kernel_version)
    packages=$(zfs_packages) || die "the archive does not resolve zfs-dkms and linux-headers-amd64"
    grep -q "^linux-headers-$version " <<<"$packages" ||
        die "the archive has no headers of the kernel $version: its index changed in between, run the same command again"
    mapfile -t build_packages < <(packages_in "$IMAGE/zfs.packages")
    versions=$(archive_resolve apt "${build_packages[@]}")
    key=$({
        printf '%s\n' "$packages"
        grep -E '^(gcc-[0-9]+|binutils) ' <<<"$versions"
        cat "$IMAGE/lib/build-zfs.sh"
        declare -f zfs_if_needed
    } | sha256sum | cut -c1-64)
    if [[ -d $(cached zfs "$key") ]]; then
        use zfs "$key"
        say "zfs: cached"
        return
    fi
    entry=$(new_entry zfs "$key")
    mkdir "$entry/debs" "$entry/out"
    printf '%s\n' "$versions" >"$entry/versions"
    archive_sources main >"$CACHE/archive/zfs.sources"
    make_tree zfs-toolchain "$entry" "$CACHE/archive/zfs.sources" "${build_packages[@]}"
    mapfile -t wanted <<<"${packages// /=}"
    (cd "$entry/debs" && run_logged "$LOGS/zfs-download.log" "zfs: source and kernel headers" \
        archive_apt apt-get download "${wanted[@]}")
    # Unpacked, not installed: the headers' package would install a kernel.
    # Through tar, so that the tree's link /lib stays.
    for deb in "$entry"/debs/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$entry/tree"
    done
    epoch=$(source_date_epoch)
    # A fixed path for the output too: no name of this build may get into it.
    run_logged "$LOGS/zfs.log" "zfs for $version (about 5 CPU minutes, once)" \
        "$BASH" "$IMAGE/lib/enter.sh" "$entry/tree" --bind "$entry/out:/out" --read-only "$IMAGE/lib:/lib-image" -- \
        nice /lib-image/build-zfs.sh "$version" "$epoch" /out
    grep '^zfs-dkms ' <<<"$packages" >"$entry/out/.meadow-zfs-package"
    say "zfs: $(du -cb "$entry"/out/*.ko | tail -n1 | cut -f1) bytes of modules"
    publish zfs "$key" "$entry/out"
    rm -rf -- "$entry"
}

# The root's modules: Debian's and ZFS's. Debian's kernel under Secure Boot loads
# what a key in `db` signed; the signature has no date, so it is the same twice.
stage_root_modules() { with_lock root-modules root_modules_if_needed; }

root_modules_if_needed() {
    local key entry modules zfs version module target
    modules=$(readlink -f "$CACHE/modules/current")
    zfs=$(readlink -f "$CACHE/zfs/current")
    version=$(kernel_version)
    build_keys
    key=$({
        printf '%s\n' "${modules##*/}" "${zfs##*/}"
        cat "$SECURE_BOOT_CERTIFICATE"
        declare -f root_modules_if_needed
    } | sha256sum | cut -c1-64)
    if [[ -d $(cached root-modules "$key") ]]; then
        use root-modules "$key"
        say "root-modules: cached"
        return
    fi
    entry=$(new_entry root-modules "$key")
    target=$entry/usr/lib/modules/$version
    cp -al "$modules/usr" "$entry/usr"
    ln -s usr/lib "$entry/lib"
    mkdir "$target/extra"
    for module in spl zfs; do cp "$zfs/$module.ko" "$target/extra/$module.ko"; done
    mkdir -p "$entry/usr/share/licenses/zfs-dkms"
    install -m 0644 "$zfs/copyright" "$entry/usr/share/licenses/zfs-dkms/copyright"
    # These are shared with the entry of `modules`: depmod writes new files.
    find "$target" -maxdepth 1 -type f -name 'modules.*' ! -name modules.order ! -name 'modules.builtin' \
        ! -name modules.builtin.modinfo -delete
    # shellcheck disable=SC2016 # for the inner shell
    run_logged "$LOGS/root-modules.log" "root-modules" \
        in_tools --bind "$entry" --read-only "$zfs" --read-only "$BUILD_KEYS" -- \
        bash -ec 'for module in "$5"/extra/*.ko; do "$1/sign-file" sha256 "$2" "$3" "$module"; done; depmod -b "$4" "$6"' \
        - "$zfs" "$SECURE_BOOT_KEY" "$SECURE_BOOT_CERTIFICATE" "$entry" "$target" "$version"
    rm "$entry/lib"
    publish root-modules "$key" "$entry"
}
