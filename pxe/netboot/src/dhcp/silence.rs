//! Why a request gets no answer.

/// The reason, for the counters; the event log says more of it where a person can do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// It is no DHCP request of an Ethernet client.
    Malformed,
    /// It is for another server, or nothing for a boot server.
    NotForUs,
    /// The machine is to be left alone, or nothing is there for its firmware.
    LeftAlone,
    /// The file that it needs is not there, or was not checked yet.
    NoFile,
    /// The pool has no address left.
    PoolEmpty,
    /// More came by relays at once than are answered.
    TooMany,
}
