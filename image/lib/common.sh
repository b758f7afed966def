# shellcheck shell=bash
# shellcheck disable=SC2034 # variables that other parts use
# Messages, logs, locks and the cache. Sourced by image/build.

# Everything that costs time is kept below this folder, outside the checkout.
CACHE=${MEADOW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/meadow}
LOGS=$CACHE/logs

say() { printf 'image: %s\n' "$*"; }

die() {
    printf 'image: error: %s\n' "$*" >&2
    exit 1
}

# digest_files FILE...: one digest over names and contents, in the given order.
digest_files() { sha256sum -- "$@" | sha256sum | cut -c1-64; }

# digest_tree DIR...: one digest over all files and links below the folders. Of
# the modes only whether a file may be run: that is what git keeps.
digest_tree() {
    local dir
    for dir in "$@"; do
        (
            cd "$dir" || exit
            find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum --
            find . -printf '%P %y %l\n' | LC_ALL=C sort
            find . -type f -perm /100 -printf '%P\n' | LC_ALL=C sort
        )
    done | sha256sum | cut -c1-64
}

# packages_in FILE...: the names in package lists, without comments.
packages_in() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' -- "$@"; }

# run_logged LOG WHAT CMD...: runs CMD with its output in LOG, prints a sign of
# life every 15 s, and on failure the end of the log with the log's name.
run_logged() {
    local log=$1 what=$2 pid start=$SECONDS status=0 last=$SECONDS
    shift 2
    mkdir -p "${log%/*}"
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        if ((SECONDS - last >= 15)); then
            last=$SECONDS
            say "$what: $((SECONDS - start)) s so far: $(tail -c 400 "$log" | tr '\r' '\n' | sed '/^[[:space:]]*$/d' | tail -n1 | cut -c1-100)"
        fi
    done
    wait "$pid" || status=$?
    if ((status != 0)); then
        say "$what failed (status $status); the end of its log:" >&2
        tail -n 25 -- "$log" | sed 's/^/    /' >&2
        printf 'image: error: %s failed, the whole log is %s\n' "$what" "$log" >&2
        return "$status"
    fi
}

# A stage is built in a new folder beside its final place and renamed when it
# is complete, so that a build killed at any moment leaves no half cache.
# cached KIND KEY: the final folder of that cache entry.
cached() { printf '%s/%s/%s' "$CACHE" "$1" "${2:0:24}"; }

# with_lock KIND CMD...: only one process builds one kind of entry at a time.
with_lock() {
    local kind=$1
    shift
    mkdir -p "$CACHE/locks"
    (
        if ! flock -n 9; then
            say "$kind: another build holds the lock, waiting for it"
            flock 9
        fi
        "$@" 9>&-
    ) 9>"$CACHE/locks/$kind"
}

# new_entry KIND KEY: prints a fresh folder to build in, after removing what
# killed builds of this kind left behind (the caller holds the kind's lock).
new_entry() {
    local final
    final=$(cached "$1" "$2")
    rm -rf -- "$CACHE/$1"/.new-*
    mkdir -p "$CACHE/$1"
    mktemp -d "$CACHE/$1/.new-${final##*/}-XXXXXX"
}

# publish KIND KEY FOLDER: renames FOLDER into the cache, and keeps the two
# newest entries of the kind beside it.
publish() {
    local kind=$1 final old
    final=$(cached "$kind" "$2")
    chmod 0755 "$3"
    rm -rf -- "$final"
    mv -T -- "$3" "$final"
    link_current "$kind" "$final"
    find "$CACHE/$kind" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' |
        sort -rn | sed '1,3d' | cut -d' ' -f2- |
        while read -r old; do [[ $old == "$final" ]] || rm -rf -- "$old"; done
}

# use KIND KEY: takes an entry that is there already for this build.
use() { link_current "$1" "$(cached "$1" "$2")"; }

# link_current KIND FOLDER: atomically points KIND/current to FOLDER.
link_current() {
    local temporary
    temporary=$CACHE/$1/.current-$$
    ln -sfn -- "${2##*/}" "$temporary"
    mv -T -- "$temporary" "$CACHE/$1/current"
    touch -c -- "$2"
}

# hand_out FOLDER OUT: OUT becomes a link to a copy of FOLDER that lies beside it,
# out of reach of the cache, which drops old entries. The copy is made of hard
# links where both are on one file system. OUT is a whole image at any moment,
# and the image before this one stays for whoever still serves it.
hand_out() {
    local folder=$1 out=$2 parent prefix final new old
    [[ -n $out ]] || return 0
    [[ -L $out || ! -e $out ]] || die "$out exists and is no link: remove it, or name another --out"
    parent=$(dirname -- "$out")
    prefix=$parent/.${out##*/}
    final=$prefix.${folder##*/}
    mkdir -p -- "$parent"
    # What killed builds have left.
    rm -rf -- "$prefix".new-* "$out".new-*
    if ! same_files "$folder" "$final"; then
        new=$(mktemp -d "$prefix.new-XXXXXX")
        cp -rl -- "$folder" "$new/files" 2>/dev/null || copy_files "$folder" "$new/files"
        # One that is not whole: somebody has taken something out of it.
        [[ ! -e $final ]] || mv -T -- "$final" "$new/damaged"
        mv -T -- "$new/files" "$final"
        rm -rf -- "$new"
    fi
    touch -- "$final"
    ln -sfn -- "${final##*/}" "$out.new-$$"
    mv -T -- "$out.new-$$" "$out"
    find "$parent" -mindepth 1 -maxdepth 1 -type d -name ".${out##*/}.*" -printf '%T@ %p\n' |
        sort -rn | sed '1,2d' | cut -d' ' -f2- |
        while read -r old; do [[ $old == "$final" ]] || rm -rf -- "$old"; done
    say "image is in $out"
}

# copy_files FROM TO: after an attempt that may have left some of them.
copy_files() {
    rm -rf -- "$2"
    cp -r --reflink=auto -- "$1" "$2"
}

# same_files FOLDER FOLDER: whether both hold the same names with the same sizes.
same_files() {
    [[ -d $2 && $(files_with_sizes "$1") == "$(files_with_sizes "$2")" ]]
}

files_with_sizes() { (cd "$1" && find . -type f -printf '%P %s\n' | LC_ALL=C sort); }

# stage NAME CMD...: runs one stage and says how long it took.
stage() {
    local name=$1 start=$EPOCHREALTIME end
    shift
    say "$name: start"
    "$@"
    end=$EPOCHREALTIME
    say "$name: done in $(((${end/./} - ${start/./}) / 100000))" | sed -E 's/([0-9])$/.\1 s/; s/in \./in 0./'
}
