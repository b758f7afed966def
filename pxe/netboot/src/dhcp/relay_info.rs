//! What a relay writes about a client (option 82, RFC 3046): it comes back with each answer, as it was and last.

/// Number of the option.
const CODE: u8 = 82;

/// What is to be echoed. One in several parts is joined by the parser and does not fit the one that echoes it.
pub(super) fn read(data: &[u8]) -> Option<Vec<u8>> {
    (1..=255).contains(&data.len()).then(|| data.to_vec())
}

/// Writes it behind all other options.
pub(super) fn echo(info: Option<&[u8]>, body: &mut Vec<u8>) {
    let Some((info, length)) = info.and_then(|info| Some((info, u8::try_from(info.len()).ok()?))) else { return };
    body.extend_from_slice(&[CODE, length]);
    body.extend_from_slice(info);
}
