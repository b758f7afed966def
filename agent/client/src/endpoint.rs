//! Addresses of the API.

use std::fmt;
use std::str::FromStr;

use crate::API_PORT;

/// Where an API is: `https://host:port`, also written without the scheme or the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or IP literal, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A text that is no address of an API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an address of Meadow's API; write https://HOST:{API_PORT}")]
pub struct InvalidEndpoint(String);

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let invalid = || InvalidEndpoint(text.chars().take(120).collect());
        let authority = text.strip_prefix("https://").unwrap_or(text);
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        // A bare IPv6 address has several colons and no bracket.
        if let Ok(address) = authority.parse::<std::net::Ipv6Addr>() {
            return Ok(Self { host: address.to_string(), port: API_PORT });
        }
        let authority: http::uri::Authority = authority.parse().map_err(|_| invalid())?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        // Not `port()`, which takes a number that is too large for none.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => API_PORT,
            Some(rest) => rest.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(invalid)?,
            None => return Err(invalid()),
        };
        let user_info = authority.as_str().contains('@');
        if host.is_empty() || user_info || port == 0 {
            return Err(invalid());
        }
        Ok(Self { host, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "https://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "https://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_write_them() {
        let cases = [
            ("https://192.0.2.2:7443", "https://192.0.2.2:7443"),
            ("192.0.2.2", "https://192.0.2.2:7443"),
            ("seed:8443", "https://seed:8443"),
            ("https://[fd00::1]:7443/", "https://[fd00::1]:7443"),
            ("[fd00::1]", "https://[fd00::1]:7443"),
            ("fd00::1", "https://[fd00::1]:7443"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Endpoint>().map(|e| e.to_string()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for bad in ["", "http://a:1", "https://", "a:0", "a:99999", "a/b", "user@a", "a b", "https://a:7443/v1"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }
}
