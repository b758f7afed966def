//! Bounds: what strangers on the network can make the state grow to.

/// Machines that nobody decided about or named; a further one pushes out the one that was seen longest ago.
pub const MAX_UNDECIDED: usize = 4096;
/// Tokens that still can be used.
pub const MAX_TOKENS: usize = 1000;
/// Machines that one token may let in.
pub const MAX_TOKEN_USES: u32 = 10_000;
/// Events that are kept, the newest.
pub const MAX_EVENTS: usize = 1000;
/// Events among them that machines caused which need not be nodes.
pub const MAX_STRANGERS_EVENTS: usize = MAX_EVENTS / 2;
/// Operations that are kept, the newest.
pub const MAX_OPERATIONS: usize = 1000;
/// Answers to idempotency keys that are kept, the newest.
pub const MAX_ANSWERS: usize = 1000;
/// Hints of one machine.
pub const MAX_HINTS: usize = 16;
/// Size of an inventory as JSON, in bytes.
pub const MAX_HARDWARE_BYTES: usize = 32 * 1024;
/// Characters of a text that comes from outside, such as a version or the reason in a measure.
pub(crate) const MAX_TEXT: usize = 128;
/// Images that the cluster keeps.
pub(crate) const MAX_IMAGES: usize = 32;
/// How long an expired token is kept, so that its user is told why it does not work.
pub(crate) const EXPIRED_TOKEN_KEPT_MS: u64 = 24 * 3600 * 1000;
/// A warning about one subject is recorded at most once in this time, so that a stranger cannot flush the history.
pub(crate) const WARNING_INTERVAL_MS: u64 = 60 * 1000;
/// Characters of the reason why something failed, which comes from a node.
pub(crate) const MAX_REASON: usize = 2000;
/// Steps that an operation remembers.
pub(crate) const MAX_STEPS: usize = 64;
/// Key slots that a node may report; LUKS2 has no more.
pub(crate) const MAX_KEY_SLOTS: usize = 32;
