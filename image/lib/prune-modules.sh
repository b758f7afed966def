#!/bin/bash
# Copies a kernel's modules without those that a list names, uncompressed (the
# file system compresses better, and the machine need not unpack xz), and makes
# their index. Runs in the tools tree.
#
# prune-modules.sh KERNEL_TREE VERSION DROP_LIST OUT
set -euo pipefail
source=$1/usr/lib/modules/$2 version=$2 list=$3 out=$4

mkdir -p "$out/usr/lib/modules/$version"
ln -s usr/lib "$out/lib"
cd "$source"

# modules.dep: "PATH: PATH…", all dependencies of each module. A module stays
# if no entry of the list is a prefix of its path; what it needs stays too.
sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$list" |
    awk 'NR == FNR { drop[++drops] = "kernel/" $1; next }
        {
            path = $1
            sub(/:$/, "", path)
            for (i = 1; i <= drops; i++)
                if (path == drop[i] || index(path, drop[i] "/") == 1) next
            print path
            for (i = 2; i <= NF; i++) print $i
        }' - modules.dep | LC_ALL=C sort -u >"$out/kept"

xargs cp --parents -t "$out/usr/lib/modules/$version" <"$out/kept"
cp modules.builtin modules.builtin.modinfo modules.order "$out/usr/lib/modules/$version"
rm "$out/kept"
find "$out" -name '*.ko.xz' -print0 | xargs -0 -P "$(nproc)" -n 50 xz -d
depmod -b "$out" "$version"
rm "$out/lib"
find "$out" -name '*.ko' | wc -l
