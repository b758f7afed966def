//! The small part of HTTP/1.1 (RFC 9110, 9112) that boot firmware needs: GET, HEAD, one byte
//! range, small POST bodies.

mod head;
mod range;
mod response;

pub use head::{HeadError, Method, Parsed, RequestHead, MAX_HEAD};
pub use range::{ByteRange, RangeRequest};
pub use response::{content_type, ResponseHead};
