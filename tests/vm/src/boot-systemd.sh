# shellcheck shell=bash
# LAYER TREE GROUP: boots the Debian in TREE, with LAYER over it, under a systemd of its own. Run it in the network
# namespace of the computer that it plays, with a mount namespace of its own. GROUP is its control group.
set -euo pipefail
layer=$1 tree=$2 group=$3
export root=$layer/root
mkdir -p "$layer"/{upper,work,root,groups}
mount -t overlay -o "lowerdir=$tree,upperdir=$layer/upper,workdir=$layer/work" overlay "$root"
mount -t cgroup2 cgroup2 "$layer/groups"
echo $$ >"$layer/groups/$group/cgroup.procs"
umount "$layer/groups"

inside() {
    set -euo pipefail
    local device
    # What belongs to the real host's kernel can be read only: no udev looks for hardware, nobody sets kernel settings.
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount -o remount,bind,ro "$root/proc/sys"
    mount -t tmpfs tmpfs "$root/run"
    mount -t tmpfs tmpfs "$root/tmp"
    mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
    mkdir "$root"/dev/{pts,shm,net}
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    for device in null zero full random urandom tty net/tun; do
        : >"$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    cd "$root"
    mkdir -p .host
    pivot_root . .host
    umount -l /.host
    rmdir /.host
    exec env -i container=meadow-test PATH=/usr/sbin:/usr/bin /usr/lib/systemd/systemd --unit=basic.target
}
export -f inside
exec unshare --cgroup --pid --fork --kill-child --ipc --uts --mount-proc="$root/proc" bash -c inside
