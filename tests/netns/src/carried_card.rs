//! A card whose frames this program carries itself between it and the cabled card: in a VLAN, since the kernels of build
//! machines know none, or badly.

use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use meadow_rack::namespace::Namespace;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use socket2::Socket;

use crate::{raw_card, within};

/// More than any frame here has.
const BUFFER: usize = 2048;
/// Both Ethernet addresses; a tag comes behind them.
const ADDRESSES: usize = 12;

/// What happens to frames on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They have the tag of this VLAN (802.1Q), 1 to 4094, on the cable. Where the kernel knows VLANs, it does that.
    Vlan(u16),
    /// They are sent with this priority in the tag of VLAN 0, which is none, and come with such a tag or without.
    Priority(u16),
    /// Each comes a second time, behind the one that follows it.
    Repeated,
}

/// The card.
#[derive(Debug)]
pub struct CarriedCard {
    /// `None` where the kernel does it.
    _carrier: Option<Carrier>,
}

#[derive(Debug)]
struct Carrier {
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl CarriedCard {
    /// Makes the card `name`, up and without an address, behind the card `cabled` of a computer.
    ///
    /// # Errors
    /// When the kernel refuses one of its parts.
    pub fn create(computer: &Namespace, cabled: &str, name: &str, way: Way) -> Result<Self> {
        if let Way::Vlan(id) = way
            && computer
                .ip(&["link", "add", "link", cabled, "name", name, "type", "vlan", "id", &id.to_string()])
                .is_ok()
        {
            computer.ip(&["link", "set", name, "up"])?;
            return Ok(Self { _carrier: None });
        }
        computer.ip(&["tuntap", "add", "dev", name, "mode", "tap"])?;
        if matches!(way, Way::Vlan(_)) {
            // As a VLAN's card has it.
            computer.ip(&["link", "set", name, "address", &mac_of(computer, cabled)?])?;
        }
        answer_for_oneself(computer, cabled)?;
        let id = if let Way::Vlan(id) = way { id } else { 0 };
        let (tap, cable) = within(computer, || Ok((raw_card::tap(name)?, raw_card::cable(cabled, id)?)))
            .with_context(|| format!("cannot make {name} behind {cabled}"))?;
        computer.ip(&["link", "set", name, "up"])?;
        let (stop, stopped) = UnixStream::pair()?;
        // What fails is one end that is gone with its namespace: nothing is carried any more.
        let thread = std::thread::spawn(move || _ = carry(tap, &cable, &stopped, way));
        Ok(Self { _carrier: Some(Carrier { stop: Some(stop), thread: Some(thread) }) })
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic was printed by its thread.
            let _ = thread.join();
        }
    }
}

/// The hardware address of a computer's card.
fn mac_of(computer: &Namespace, card: &str) -> Result<String> {
    let output = computer.command("cat").arg(format!("/sys/class/net/{card}/address")).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// A kernel answers ARP on any card for the addresses of all; the cabled one must not do so for the one behind it.
fn answer_for_oneself(computer: &Namespace, card: &str) -> Result<()> {
    let set = format!("echo 1 > /proc/sys/net/ipv4/conf/{card}/arp_ignore");
    let status = computer.command("sh").args(["-c", &set]).status()?;
    ensure!(status.success(), "cannot set arp_ignore of {card}");
    Ok(())
}

/// Carries frames until the other end of `stopped` is closed.
fn carry(mut tap: File, cable: &Socket, stopped: &UnixStream, way: Way) -> io::Result<()> {
    let (mut outward, mut inward) = (Carriage::new(way), Carriage::new(way));
    let mut buffer = [0; BUFFER];
    let mut received = [MaybeUninit::uninit(); BUFFER];
    loop {
        let of = |end| PollFd::from_borrowed_fd(end, PollFlags::IN);
        let mut ends = [of(tap.as_fd()), of(cable.as_fd()), of(stopped.as_fd())];
        match poll(&mut ends, None) {
            Err(Errno::INTR) => continue,
            ready => ready?,
        };
        let [from_tap, from_cable, stop] = ends.map(|end| !end.revents().is_empty());
        if stop {
            return Ok(());
        }
        // What cannot be sent is lost, as on a cable.
        if from_tap {
            let length = tap.read(&mut buffer)?;
            outward.pass(&buffer[..length], true, |frame| _ = cable.send(frame));
        }
        if from_cable {
            let length = cable.recv(&mut received)?;
            // SAFETY: `recv` has written that many bytes.
            let frame = unsafe { &*(&raw const received[..length] as *const [u8]) };
            inward.pass(frame, false, |frame| _ = tap.write(frame));
        }
    }
}

/// One direction.
struct Carriage {
    way: Way,
    before: Vec<u8>,
}

impl Carriage {
    fn new(way: Way) -> Self {
        Self { way, before: Vec::new() }
    }

    /// Passes a frame on. The kernel takes a tag off before we see it, so that there is one to write only towards the
    /// cable.
    fn pass(&mut self, frame: &[u8], is_outward: bool, mut send: impl FnMut(&[u8])) {
        match self.way {
            Way::Vlan(id) if is_outward => send(&tagged(frame, id)),
            Way::Priority(priority) if is_outward => send(&tagged(frame, priority << 13)),
            Way::Vlan(_) | Way::Priority(_) => send(frame),
            Way::Repeated => {
                send(frame);
                if !self.before.is_empty() {
                    send(&self.before);
                }
                self.before = frame.to_vec();
            }
        }
    }
}

/// A frame with an 802.1Q tag.
fn tagged(frame: &[u8], tag: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(ADDRESSES.min(frame.len()));
    [addresses, &[0x81, 0], &tag.to_be_bytes(), rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(way: Way, is_outward: bool, frames: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut carriage, mut sent) = (Carriage::new(way), Vec::new());
        for frame in frames {
            carriage.pass(frame, is_outward, |frame| sent.push(frame.to_vec()));
        }
        sent
    }

    #[test]
    fn a_tag_is_written_behind_the_addresses() {
        let frame = b"to....from..\x08\x00text";
        assert_eq!(carried(Way::Vlan(7), true, &[frame]), [b"to....from..\x81\x00\x00\x07\x08\x00text"]);
        assert_eq!(carried(Way::Priority(5), true, &[frame]), [b"to....from..\x81\x00\xa0\x00\x08\x00text"]);
        assert_eq!(carried(Way::Vlan(7), false, &[frame]), [frame]);
    }

    #[test]
    fn a_repeated_frame_comes_behind_the_next_one() {
        assert_eq!(carried(Way::Repeated, true, &[b"1", b"2", b"3"]), [b"1", b"2", b"1", b"3", b"2"]);
    }
}
