//! PID 1 of the Meadow initramfs.
//!
//! What decides is free of effects and tested on its own: [`dhcp`], [`http`] heads, module
//! [`modules::Index`], [`policy`], [`root::RootSpec`] and the dm-verity table, [`boot_state`].
//! [`disks::layouts`], [`mode`], [`grubenv`], [`offer`]. What acts is thin around it: [`network`], [`root`], [`state`], [`dropbear`],
//! [`boot`].

pub mod arrivals;
pub mod authorized_keys;
pub mod backoff;
pub mod boot;
pub mod boot_log;
pub mod boot_state;
pub mod children;
pub mod console;
pub mod dhcp;
pub mod disks;
pub mod dropbear;
pub mod efi;
pub mod grubenv;
pub mod hardware;
pub mod http;
pub mod kexec;
pub mod mode;
pub mod modules;
pub mod network;
pub mod offer;
pub mod policy;
pub mod progress;
pub mod root;
pub mod seed;
pub mod slot;
pub mod state;
pub mod system;
pub mod uevent;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks even after a thread panicked with the lock: PID 1 has to go on, and every value behind
/// a lock here is sound between two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
