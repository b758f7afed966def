//! Where the Meadow server is.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

/// `http://ADDRESS:PORT/`, with an address and not a name: the initramfs resolves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    server: SocketAddrV4,
}

/// The text is no base URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form http://IPV4-ADDRESS[:PORT]/")]
pub struct BaseUrlError(String);

impl BaseUrl {
    /// Parses what option 67 holds.
    ///
    /// # Errors
    /// If it is anything but plain HTTP to an IPv4 address, at the root.
    pub fn parse(text: &str) -> Result<Self, BaseUrlError> {
        let wrong = || BaseUrlError(text.chars().take(80).collect());
        let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let server: SocketAddrV4 = authority
            .parse()
            .or_else(|_| authority.parse().map(|address: Ipv4Addr| SocketAddrV4::new(address, 80)))
            .map_err(|_| wrong())?;
        let address = server.ip();
        if server.port() == 0 || address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
            return Err(wrong());
        }
        Ok(Self { server })
    }

    /// Address and port to connect to.
    #[must_use]
    pub fn server(&self) -> SocketAddrV4 {
        self.server
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}/", self.server)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_gives_an_error_or_an_address_that_can_be_written(text in "(http://)?[0-9a-z.:/@-]{0,40}|.{0,60}") {
            if let Ok(url) = BaseUrl::parse(&text) {
                prop_assert_eq!(BaseUrl::parse(&url.to_string()), Ok(url));
            }
        }
    }

    #[test]
    fn table() {
        for (text, expected) in [
            ("http://192.0.2.2:7480/", Some("http://192.0.2.2:7480/")),
            ("http://192.0.2.2:7480", Some("http://192.0.2.2:7480/")),
            ("http://192.0.2.2/", Some("http://192.0.2.2:80/")),
            ("https://192.0.2.2:7480/", None),
            ("http://server:7480/", None),
            ("http://192.0.2.2:0/", None),
            ("http://0.0.0.0:7480/", None),
            ("http://192.0.2.2:7480/path", None),
            ("http://user@192.0.2.2/", None),
            ("", None),
        ] {
            assert_eq!(BaseUrl::parse(text).ok().map(|url| url.to_string()).as_deref(), expected, "{text}");
        }
    }
}
