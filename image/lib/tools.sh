# shellcheck shell=bash
# The tools tree: a small Debian that holds everything an image is built with,
# so that every host builds the same image.

tools_tree() { readlink -f "$CACHE/tools/current"; }

# in_tools OPTION... -- CMD...: a command inside the tools tree, see enter.sh.
in_tools() { "$BASH" "$IMAGE/lib/enter.sh" "$(tools_tree)" "$@"; }

# make_tree KIND ENTRY SOURCES PACKAGE...
make_tree() {
    local kind=$1 entry=$2 sources=$3
    shift 3
    # No man pages, docs or translations; no fsync, the tree is renamed into
    # place only when it is complete. The hook's $1 is mmdebstrap's.
    # shellcheck disable=SC2016
    run_logged "$LOGS/$kind.log" "$kind tree ($(wc -l <"$entry/versions") packages)" \
        mmdebstrap --mode=root --variant=apt --format=directory --keyring="$KEYRING" \
        --components=main --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
        --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/info/*' --skip=cleanup/apt \
        --customize-hook='rm -rf "$1"/var/cache/apt/archives/*.deb' \
        --include="$(IFS=,; echo "$*")" "$SUITE" "$entry/tree" "$sources"
}

stage_tools() { with_lock tools tree_if_needed tools "$IMAGE/tools.packages"; }

# tree_if_needed KIND PACKAGE_LIST...
tree_if_needed() {
    local kind=$1 packages versions key entry sources=$CACHE/archive/$1.sources
    shift
    mapfile -t packages < <(packages_in "$@")
    archive_sources main >"$sources"
    versions=$(archive_resolve apt "${packages[@]}")
    [[ -n $versions ]] || die "the archive does not resolve the packages of $*"
    key=$(printf '%s\n' "$versions" | cat - <(declare -f make_tree) "$sources" | sha256sum | cut -c1-64)
    if [[ -d $(cached "$kind" "$key") ]]; then
        use "$kind" "$key"
        say "$kind: cached"
        return
    fi
    entry=$(new_entry "$kind" "$key")
    printf '%s\n' "$versions" >"$entry/versions"
    make_tree "$kind" "$entry" "$sources" "${packages[@]}"
    # The tree itself is the cache entry.
    mv "$entry/versions" "$entry/tree/.meadow-versions"
    publish "$kind" "$key" "$entry/tree"
    rm -rf -- "$entry"
    say "$kind: $(du -sm "$(cached "$kind" "$key")" | cut -f1) MB"
}
