//! A hosts file that is itself a mount point, as under systemd's `ReadWritePaths=/etc/hosts` or in a container.
//!
//! Needs root. The mount lies in a namespace of the test's own thread and is gone with it.

use std::fs;

use meadow_host::hosts::{self, HostEntry, Written};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

#[test]
fn a_hosts_file_that_is_a_mount_point_is_written_in_place() {
    let test = || {
        // SAFETY: only this thread's mount namespace and working folder are unshared; no descriptor or memory is.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.expect("this test mounts: run it as root");
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).expect("private mounts");
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("hosts");
        fs::write(&path, "127.0.0.1 localhost\n").expect("written");
        mount_bind(&path, &path).expect("bind mount");

        let entry = HostEntry::new("fd00::1".parse().expect("valid"), ["node-1"]).expect("valid");
        assert_eq!(hosts::apply(&path, std::slice::from_ref(&entry)).expect("applied"), Written::InPlace);
        let text = fs::read_to_string(&path).expect("read");
        assert!(text.starts_with("127.0.0.1 localhost\n") && text.contains("fd00::1 node-1"), "{text}");
        assert_eq!(hosts::apply(&path, &[entry]).expect("applied"), Written::Unchanged);
        assert_eq!(hosts::apply(&path, &[]).expect("applied"), Written::InPlace);
        assert_eq!(fs::read_to_string(&path).expect("read"), "127.0.0.1 localhost\n");
        let left = fs::read_dir(folder.path()).expect("listed").count();
        assert_eq!(left, 1, "no temporary file is left");
        rustix::mount::unmount(&path, rustix::mount::UnmountFlags::empty()).expect("unmounted");
    };
    std::thread::spawn(test).join().expect("the test's thread ends well");
}
