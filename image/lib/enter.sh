#!/bin/bash
# Runs a command inside the tools tree: a mount namespace of its own, the tree
# below a throw-away overlay as `/`, and only the named folders of the host.
# (mkosi needs `/` to be a mount point, so a plain chroot is not enough.)
#
# enter.sh TREE [--bind SRC[:DST]] [--read-only SRC[:DST]] [--chdir DIR] -- CMD...
set -euo pipefail

if [[ ${1:-} != --inside ]]; then
    exec unshare --mount --propagation private -- "$BASH" "$0" --inside "$@"
fi
shift
tree=$1
shift

# The mount point need not be made or removed: every tree has one, and what is
# mounted there is seen in this namespace only.
scratch=$tree/mnt
mount -t tmpfs -o mode=0755,size=90% meadow-tools "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
mount -t overlay -o "lowerdir=$tree,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$scratch/root"
root=$scratch/root

bind() {
    local spec=$1 options=$2 source target
    source=${spec%%:*}
    target=${spec#*:}
    if [[ -d $source ]]; then
        mkdir -p "$root$target"
    else
        mkdir -p "$root${target%/*}"
        [[ -e $root$target ]] || : >"$root$target"
    fi
    mount --rbind "$source" "$root$target"
    if [[ $options == read-only ]]; then
        mount -o remount,bind,ro "$root$target"
    fi
}

for folder in tmp run var/tmp; do
    mkdir -p "$root/$folder"
    mount -t tmpfs -o mode=1777 tmpfs "$root/$folder"
done
chmod 0755 "$root/run"
for folder in proc sys dev; do
    bind "/$folder" ""
done
rm -f "$root/etc/resolv.conf"
bind "$(readlink -f /etc/resolv.conf):/etc/resolv.conf" read-only

directory=/
while [[ ${1:-} != -- ]]; do
    case ${1:-} in
    --bind) bind "$2" "" ;;
    --read-only) bind "$2" read-only ;;
    --chdir) directory=$2 ;;
    *)
        echo "enter.sh: unknown option '${1:-}'" >&2
        exit 2
        ;;
    esac
    shift 2
done
shift

mkdir "$root/.host"
cd "$root"
pivot_root . .host
umount -l /.host
rmdir /.host
cd "$directory"
unset TMPDIR
export LC_ALL=C.UTF-8 HOME=${MEADOW_INSIDE_HOME:-/root}
export PATH=${MEADOW_INSIDE_PATH:+$MEADOW_INSIDE_PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec "$@"
