//! The small part of HTTP/1.1 (RFC 9110, 9112) that boot firmware needs: GET, HEAD, one byte
//! range, small POST bodies.

mod conversation;
mod head;
mod range;
mod response;

pub use conversation::{Conversation, MAX_BODY, Refusal, Step};
pub use head::{HeadError, MAX_HEAD, Method, Parsed, RequestHead};
pub use range::{ByteRange, RangeRequest};
pub use response::{ResponseHead, content_type};
