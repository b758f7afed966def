# shellcheck shell=bash
# What build-base and build-boot have in common; sourced by both.

umask 022
export LC_ALL=C

fail() {
    echo "initramfs/${0##*/}: $*" >&2
    exit 1
}

# bytes_of PATH...: their size without holes and block rounding.
bytes_of() { du -sb --apparent-size "$@" | awk '{ sum += $1 } END { print sum + 0 }'; }

human() { awk -v bytes="$1" 'BEGIN { printf "%.1f MB", bytes / 1e6 }'; }

# libraries_of PROGRAM: the paths of all shared libraries that it needs, the loader among them.
libraries_of() {
    local found
    found=$(ldd "$1") || fail "$1 is no dynamic program"
    ! grep 'not found' <<<"$found" >&2 || fail "$1 needs libraries that the tools tree does not have"
    grep -o '/[^ ]*' <<<"$found"
}

# install_libraries STAGE <PATHS
install_libraries() {
    local library
    while read -r library; do
        install -D -m 0755 "$(readlink -f "$library")" "$1$library"
    done
}

# pack STAGE OUT: one compressed cpio of all in STAGE, the same for the same input. Its length is a multiple of four: the
# kernel looks for the next archive there (Documentation/driver-api/early-userspace/buffer-format.rst).
pack() {
    local stage=$1 out=$2 size
    find "$stage" -exec touch --no-dereference --date=@0 {} +
    (cd "$stage" && find . -mindepth 1 -print0 | sort -z |
        cpio --null --create --format=newc --reproducible --owner=0:0 --quiet) >"$stage.cpio"
    # The output is the same for any number of threads.
    zstd -q -19 -T0 --no-progress -f "$stage.cpio" -o "$out"
    size=$(stat -c %s "$out")
    truncate -s $(((size + 3) / 4 * 4)) "$out"
}
