# shellcheck shell=bash
# Programs for the image: they link against a C library, which must not be newer
# than the image's. Where the host's is, cargo runs inside a tools tree with a
# C toolchain, with the host's cargo, checkout and caches bound into it.

# newer_than VERSION VERSION: whether the first is the newer one.
newer_than() { [[ $1 != "$2" && $(printf '%s\n%s\n' "$1" "$2" | sort -V | tail -n1) == "$1" ]]; }

host_libc() { getconf GNU_LIBC_VERSION | cut -d' ' -f2; }
image_libc() { sed -nE 's/^libc6 ([0-9]+\.[0-9]+).*/\1/p' "$CACHE/tools/current/.meadow-versions"; }

stage_toolchain() { with_lock toolchain tree_if_needed toolchain "$IMAGE/tools.packages" "$IMAGE/toolchain.packages"; }

run_cargo() {
    [[ -e $CACHE/tools/current ]] || stage tools stage_tools >&2
    if ! newer_than "$(host_libc)" "$(image_libc)"; then
        exec cargo "$@"
    fi
    say "cargo runs in the tools tree: this host's C library $(host_libc) is newer than the image's $(image_libc)" >&2
    enter_tools -- cargo "$@"
}

# enter_tools [--small] -- CMD…
enter_tools() {
    local kind=toolchain options=() folder tree
    if [[ ${1:-} == --small ]]; then
        kind=tools
        shift
    fi
    [[ ${1:-} == -- ]] || die "usage: image/build enter-tools [--small] -- CMD…"
    shift
    stage "$kind" "stage_$kind" >&2
    tree=$(readlink -f "$CACHE/$kind/current")
    local cargo_home=${CARGO_HOME:-$HOME/.cargo} rustup_home=${RUSTUP_HOME:-$HOME/.rustup}
    local target=${CARGO_TARGET_DIR:-$CHECKOUT/target}
    mkdir -p "$target"
    for folder in "$CHECKOUT" "$CACHE" "$cargo_home" "$rustup_home" "$target"; do
        [[ -d $folder ]] && options+=(--bind "$folder")
    done
    # Certificates that the host trusts, for the registry.
    [[ -d /etc/ssl/certs ]] && options+=(--read-only /etc/ssl/certs)
    [[ -d /usr/local/share/ca-certificates ]] && options+=(--read-only /usr/local/share/ca-certificates)
    [[ $PWD == "$CHECKOUT" || $PWD == "$CHECKOUT"/* ]] && options+=(--chdir "$PWD")
    CARGO_HOME=$cargo_home RUSTUP_HOME=$rustup_home CARGO_TARGET_DIR=$target MEADOW_INSIDE_HOME=$HOME \
        MEADOW_INSIDE_PATH=$cargo_home/bin "$BASH" "$IMAGE/lib/enter.sh" "$tree" "${options[@]}" -- "$@"
}
