//! Whether the kernel cuts one large send into datagrams (UDP_SEGMENT, Linux 4.18), which saves most of the cost of a
//! window.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};

/// What is known of one link, shared by all its transfers.
#[derive(Debug)]
pub(super) struct Offload(AtomicBool);

/// What a failed send says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nothing on this link may be sent so: no checksum offload, or a packet filter in the way.
    Link,
    /// These blocks may not, such as blocks larger than the link's frames.
    Transfer,
}

impl Offload {
    /// Asks the kernel. One that does not know the option would take it for nothing and send a single huge datagram.
    pub(super) fn probe() -> Self {
        let kind = (AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC);
        let known = socket(kind.0, kind.1, kind.2, None)
            .and_then(|socket| setsockopt(&socket, sockopt::UdpGsoSegment, &0))
            .is_ok();
        Self(AtomicBool::new(known))
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Looks at the error of a send that used it; remembers what holds for the whole link.
    pub(super) fn refused(&self, error: Errno) -> Option<Refusal> {
        match error {
            Errno::EIO | Errno::EOPNOTSUPP | Errno::ENOPROTOOPT => {
                self.0.store(false, Ordering::Relaxed);
                Some(Refusal::Link)
            }
            Errno::EINVAL | Errno::EMSGSIZE => Some(Refusal::Transfer),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_refuses_is_remembered_for_the_link() {
        let offload = Offload(AtomicBool::new(true));
        assert_eq!(offload.refused(Errno::EAGAIN), None);
        assert_eq!(offload.refused(Errno::EMSGSIZE), Some(Refusal::Transfer));
        assert!(offload.is_on());
        assert_eq!(offload.refused(Errno::EIO), Some(Refusal::Link));
        assert!(!offload.is_on());
    }
}
