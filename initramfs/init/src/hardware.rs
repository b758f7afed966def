//! Brings up the hardware that is there, and what is plugged in later.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with, sockopt};

use crate::boot_log::BootLog;
use crate::modules::Loader;
use crate::network::Network;
use crate::uevent::Uevent;

/// The kernel's own announcements (group 2 is udev's).
const KERNEL_GROUP: u32 = 1;
const RECEIVE_BUFFER: usize = 1 << 20;
/// No announcement is longer than the kernel's buffer of 2 KiB, with some room.
const LARGEST_MESSAGE: usize = 8192;

/// What the root needs, whatever the hardware: loaded while the network comes up.
pub const ROOT_MODULES: [&str; 4] = ["loop", "dm_mod", "dm_verity", "erofs"];

/// Loads drivers for all devices and keeps doing so, and tells the network about every card.
///
/// # Errors
/// If the kernel's announcements cannot be heard.
pub fn start(loader: &Arc<Loader>, network: &Arc<Network>, log: &Arc<BootLog>) -> anyhow::Result<()> {
    // Listen first: what appears during the walk is announced.
    let socket = listen().context("cannot hear about new devices")?;
    let (here, there) = (
        (Arc::clone(loader), Arc::clone(network), Arc::clone(log)),
        (Arc::clone(loader), Arc::clone(network), Arc::clone(log)),
    );
    let walk = move || coldplug(&here.0, &here.1, &here.2);
    let follow = move || {
        let (loader, network, log) = there;
        loop {
            match next(&socket) {
                Ok(event) => hotplug(&event, &loader, &network, &log),
                // Announcements were lost: look at everything.
                Err(Errno::NOBUFS) => coldplug(&loader, &network, &log),
                Err(_) => {}
            }
        }
    };
    // Beside each other: a card is taken up at once, while drivers of other devices still load.
    thread::Builder::new().name("hotplug".to_owned()).spawn(follow).context("cannot start a thread")?;
    thread::Builder::new().name("coldplug".to_owned()).spawn(walk).context("cannot start a thread")?;
    Ok(())
}

fn coldplug(loader: &Loader, network: &Arc<Network>, log: &Arc<BootLog>) {
    loader.load_for_devices(|problem| log.say(&problem));
    network.take_up(log);
}

fn hotplug(event: &Uevent, loader: &Loader, network: &Arc<Network>, log: &Arc<BootLog>) {
    if !event.is_arrival() {
        return;
    }
    if let Some(alias) = event.get("MODALIAS")
        && let Err(error) = loader.load(alias)
    {
        log.say(&format!("{error:#}"));
    }
    if event.get("SUBSYSTEM") == Some("net") {
        network.take_up(log);
    }
}

fn listen() -> anyhow::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(KOBJECT_UEVENT))?;
    sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)?;
    bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
    Ok(socket)
}

fn next(socket: &OwnedFd) -> Result<Uevent, Errno> {
    let mut buffer = [0_u8; LARGEST_MESSAGE];
    loop {
        let (_, count) = recv(socket, &mut buffer, RecvFlags::empty())?;
        if let Some(event) = buffer.get(..count).and_then(Uevent::parse) {
            return Ok(event);
        }
    }
}
