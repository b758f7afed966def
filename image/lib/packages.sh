# shellcheck shell=bash
# The package part of the root, made by mkosi: root/mkosi.conf and its fragments.

# root_packages: the packages that the fragments name.
root_packages() {
    sed -n '/^Packages=/,/^[^ ]/ { s/^Packages=//; s/^ \+//; /^[a-z0-9]/p }' "$IMAGE"/root/mkosi.conf.d/*.conf
}

stage_packages() { with_lock packages packages_if_needed; }

packages_if_needed() {
    local packages versions key entry tree
    mapfile -t packages < <(root_packages)
    versions=$(archive_resolve '?essential' base-files "${packages[@]}")
    [[ -n $versions ]] || die "the archive does not resolve the packages of image/root/mkosi.conf.d"
    tree=$(tools_tree)
    key=$(printf '%s\n' "$versions" "${tree##*/}" "$(digest_tree "$IMAGE/root")" | cat - <(declare -f packages_if_needed) | sha256sum | cut -c1-64)
    if [[ -d $(cached packages "$key") ]]; then
        use packages "$key"
        say "packages: cached"
        return
    fi
    entry=$(new_entry packages "$key")
    # The archive is named by the sources that this host resolved; mkosi's own
    # defaults would name others.
    mkdir -p "$entry/sandbox/etc/apt/sources.list.d" "$entry/work" "$entry/cache"
    archive_sources 'main contrib' >"$entry/sandbox/etc/apt/sources.list.d/mkosi.sources"
    run_logged "$LOGS/packages.log" "packages of the root ($(wc -l <<<"$versions"))" \
        in_tools --bind "$entry" --read-only "$IMAGE" --chdir "$IMAGE/root" -- \
        mkosi --sandbox-tree="$entry/sandbox" --output-directory="$entry" \
        --workspace-directory="$entry/work" --package-cache-directory="$entry/cache" build
    check_versions "$versions" "$entry/root.manifest"
    rm -rf -- "$entry/sandbox" "$entry/work" "$entry/cache"
    publish packages "$key" "$entry"
    say "packages: $(du -sm "$CACHE/packages/current/root" | cut -f1) MB after reduction"
}

# check_versions RESOLVED MANIFEST: mkosi reads the archive itself; if that
# changed in between, the entry must not be kept under the key of the old state.
check_versions() {
    local different
    different=$(jq -r '.packages[] | "\(.name) \(.version)"' "$2" | LC_ALL=C sort |
        LC_ALL=C comm -13 <(printf '%s\n' "$1") - | tr '\n' ',')
    if [[ -n $different ]]; then
        rm -f "$CACHE/archive/stamp"
        die "the archive changed since its index was read ($different): run the same command again"
    fi
}
