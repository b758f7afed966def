# shellcheck shell=bash
# The tools tree: a small Debian that holds everything an image is built with,
# so that every host builds the same image.

tools_tree() { readlink -f "$CACHE/tools/current"; }

# in_tools OPTION... -- CMD...: a command inside the tools tree, see enter.sh.
in_tools() { "$BASH" "$IMAGE/lib/enter.sh" "$(tools_tree)" "$@"; }

build_tools_tree() {
    local entry=$1 log=$2
    shift 2
    # The hook's $1 is mmdebstrap's.
    # shellcheck disable=SC2016
    # No man pages, docs or translations; no fsync, the tree is renamed into
    # place only when it is complete.
    run_logged "$log" "tools tree ($(wc -l <"$entry/versions") packages)" \
        mmdebstrap --mode=root --variant=apt --format=directory --keyring="$KEYRING" \
        --components=main --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
        --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/info/*' --skip=cleanup/apt \
        --customize-hook='rm -rf "$1"/var/cache/apt/archives/*.deb' \
        --include="$(IFS=,; echo "$*")" "$SUITE" "$entry/tree" "$CACHE/archive/tools.sources"
}

stage_tools() { with_lock tools tools_if_needed; }

tools_if_needed() {
    local packages versions key entry
    mapfile -t packages < <(packages_in "$IMAGE/tools.packages")
    archive_sources main >"$CACHE/archive/tools.sources"
    versions=$(archive_resolve apt "${packages[@]}")
    [[ -n $versions ]] || die "the archive does not resolve the packages of image/tools.packages"
    key=$(printf '%s\n' "$versions" | cat - <(declare -f build_tools_tree) "$CACHE/archive/tools.sources" | sha256sum | cut -c1-64)
    if [[ -d $(cached tools "$key") ]]; then
        use tools "$key"
        say "tools: cached"
        return
    fi
    entry=$(new_entry tools "$key")
    printf '%s\n' "$versions" >"$entry/versions"
    build_tools_tree "$entry" "$LOGS/tools.log" "${packages[@]}"
    # The tree itself is the cache entry.
    mv "$entry/versions" "$entry/tree/.meadow-versions"
    publish tools "$key" "$entry/tree"
    rmdir "$entry"
    say "tools: $(du -sm "$(cached tools "$key")" | cut -f1) MB"
}
