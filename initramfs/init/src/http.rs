//! The little HTTP/1.1 that booting needs: one request a connection, no chunks, no redirects.

mod base_url;
mod connection;
mod head;

pub use base_url::{BaseUrl, BaseUrlError};
pub use connection::{Connection, FetchError, Route, get, post};
pub use head::{Ask, HEAD_LIMIT, Head, HeadError, request};
