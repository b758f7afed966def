//! Conditional requests: `ETag` and `If-Match` (RFC 9110 section 13), `Idempotency-Key`.

use http::{HeaderMap, HeaderValue, header};
use meadow_model::{Problem, ProblemCode};

/// The strong entity tag of a revision.
pub(crate) fn etag(revision: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// The revision that the caller has read, for a change of the resource that has revision `current`.
///
/// `*` stands for whatever is there. The state machine checks the revision again when it applies the change, so
/// nothing can come in between.
///
/// # Errors
/// [`ProblemCode::PreconditionRequired`] without the header, [`ProblemCode::RevisionMismatch`] where no tag matches.
pub(crate) fn required(headers: &HeaderMap, current: u64) -> Result<Option<u64>, Problem> {
    if !headers.contains_key(header::IF_MATCH) {
        return Err(Problem::new(ProblemCode::PreconditionRequired, format!("the resource's ETag is \"{current}\"")));
    }
    optional(headers, current)
}

/// Like [`required`], for requests that may come without the header.
pub(crate) fn optional(headers: &HeaderMap, current: u64) -> Result<Option<u64>, Problem> {
    let mut tags = headers.get_all(header::IF_MATCH).iter().peekable();
    if tags.peek().is_none() {
        return Ok(None);
    }
    let own = format!("\"{current}\"");
    for tag in tags.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim) {
        if tag == "*" {
            return Ok(None);
        }
        if tag == own {
            return Ok(Some(current));
        }
    }
    Err(Problem::new(ProblemCode::RevisionMismatch, format!("the resource's ETag is {own} now")))
}

/// The caller's `Idempotency-Key`, made the caller's own: two users' keys never meet.
///
/// # Errors
/// [`ProblemCode::BadRequest`] where it is not 1 to 128 visible ASCII characters.
pub(crate) fn idempotency_key(headers: &HeaderMap, actor: &str) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    if (1..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Some(format!("{actor} {key}")))
    } else {
        Err(Problem::new(ProblemCode::BadRequest, "Idempotency-Key must be 1 to 128 visible ASCII characters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(value))])
    }

    #[test]
    fn if_match_by_the_book() {
        let cases = [
            ("\"7\"", Ok(Some(7))),
            ("\"3\", \"7\"", Ok(Some(7))),
            ("*", Ok(None)),
            ("\"8\"", Err(ProblemCode::RevisionMismatch)),
            // A weak tag never matches (RFC 9110 section 8.8.3.2).
            ("W/\"7\"", Err(ProblemCode::RevisionMismatch)),
            ("7", Err(ProblemCode::RevisionMismatch)),
            ("", Err(ProblemCode::RevisionMismatch)),
        ];
        for (header, expected) in cases {
            assert_eq!(required(&with(header), 7).map_err(|p| p.code), expected, "{header}");
        }
        let none = HeaderMap::new();
        assert_eq!(required(&none, 7).map_err(|p| p.code), Err(ProblemCode::PreconditionRequired));
        assert_eq!(optional(&none, 7), Ok(None));
    }

    #[test]
    fn idempotency_keys_belong_to_their_caller() {
        let headers =
            |v: &str| HeaderMap::from_iter([("idempotency-key".parse().expect("name"), v.parse().expect("value"))]);
        assert_eq!(idempotency_key(&headers("k1"), "user a"), Ok(Some("user a k1".to_owned())));
        assert_ne!(idempotency_key(&headers("k1"), "user a"), idempotency_key(&headers("k1"), "user b"));
        for bad in ["", "a b", &"x".repeat(129)] {
            assert!(idempotency_key(&headers(bad), "user a").is_err(), "{bad}");
        }
    }
}
