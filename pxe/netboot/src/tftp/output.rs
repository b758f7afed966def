//! What a transfer wants done.

/// Consecutive blocks to send at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Number of the first block on the wire; numbers wrap from 65535 to 0.
    pub first_block: u16,
    /// Where the first block begins in the file.
    pub offset: u64,
    /// How many bytes all blocks hold together; the last block may be short or empty.
    pub length: u64,
    /// How many blocks.
    pub blocks: u16,
    /// Size of all blocks but the last of the file.
    pub block_size: u16,
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The client has all.
    Complete,
    /// All was sent to a client that took the rest, and its last acknowledgement did not come: it was lost, or the client
    /// closed its port with the last block in hand, as some firmware does.
    Unconfirmed,
    /// The client stopped before it took a byte: it wanted the size only, as EDK2 does.
    Probed,
    /// The client reported an error; its text.
    ClientError(String),
    /// The client took so little in a minute that its place is given to others; its acknowledged bytes.
    Slow(u64),
    /// The client fell silent after this many acknowledged bytes.
    Silent(u64),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Nothing but to wait until the [deadline](super::Transfer::deadline).
    Wait,
    /// Send this packet.
    Packet(Vec<u8>),
    /// Send these blocks.
    Blocks(Window),
    /// Close the socket.
    End(Ending),
}
