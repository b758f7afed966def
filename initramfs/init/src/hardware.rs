//! Brings up the hardware that is there, and what is plugged in later.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with, sockopt};

use crate::arrivals::Arrivals;
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

/// Loads drivers and tells the network about every card.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// The modules at hand.
    pub loader: Arc<Loader>,
    /// Takes up the cards.
    pub network: Arc<Network>,
    /// Hears of disks and partitions.
    pub arrivals: Arc<Arrivals>,
    /// Hears what fails.
    pub log: Arc<BootLog>,
}

impl Hardware {
    /// Brings up what is there and what comes, on threads of its own.
    ///
    /// # Errors
    /// If the kernel's announcements cannot be heard.
    pub fn start(self) -> anyhow::Result<()> {
        // Listen first: what appears during the walk is announced.
        let socket = listen().context("cannot hear about new devices")?;
        let walker = self.clone();
        // Beside each other: a card is taken up at once, while drivers of other devices still load.
        thread::Builder::new()
            .name("hotplug".to_owned())
            .spawn(move || self.follow(&socket))
            .context("cannot start a thread")?;
        thread::Builder::new()
            .name("coldplug".to_owned())
            .spawn(move || walker.coldplug())
            .context("cannot start a thread")?;
        Ok(())
    }

    fn follow(&self, socket: &OwnedFd) {
        loop {
            match next(socket) {
                Ok(event) => self.hotplug(&event),
                // Announcements were lost: look at everything.
                Err(Errno::NOBUFS) => self.coldplug(),
                Err(_) => {}
            }
        }
    }

    /// Looks at every device that is there.
    pub fn coldplug(&self) {
        self.loader.load_for_devices(|problem| self.log.say(&problem));
        self.network.take_up(&self.log);
        self.arrivals.note();
    }

    fn hotplug(&self, event: &Uevent) {
        if !event.is_arrival() {
            return;
        }
        if let Some(alias) = event.get("MODALIAS")
            && let Err(error) = self.loader.load(alias)
        {
            self.log.say(&format!("{error:#}"));
        }
        if event.get("SUBSYSTEM") == Some("net") {
            self.network.take_up(&self.log);
        }
        if event.get("SUBSYSTEM") == Some("block") {
            self.arrivals.note();
        }
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
