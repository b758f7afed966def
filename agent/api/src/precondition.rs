//! Conditional requests: `ETag` and `If-Match` (RFC 9110 section 13), `Idempotency-Key`.

use http::{HeaderMap, HeaderValue, header};
use meadow_model::{Problem, ProblemCode};

/// The strong entity tag of a revision.
pub(crate) fn etag(revision: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// The revision that the caller has read, for a change of the resource that has revision `current`; `None` for `*`.
///
/// A revision that is not the current one is passed on: the state machine compares it when it applies the change, so
/// nothing can come in between, and a request that is repeated under its `Idempotency-Key` gets its first answer even
/// though it changed the resource.
///
/// # Errors
/// [`ProblemCode::PreconditionRequired`] without the header, [`ProblemCode::RevisionMismatch`] where it holds no tag
/// that could match.
pub(crate) fn required(headers: &HeaderMap, current: u64) -> Result<Option<u64>, Problem> {
    if !headers.contains_key(header::IF_MATCH) {
        return Err(Problem::new(ProblemCode::PreconditionRequired, format!("the resource's ETag is \"{current}\"")));
    }
    optional(headers, current)
}

/// Like [`required`], for requests that may come without the header.
pub(crate) fn optional(headers: &HeaderMap, current: u64) -> Result<Option<u64>, Problem> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    let values = headers.get_all(header::IF_MATCH).iter().filter_map(|value| value.to_str().ok());
    let tags: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    if tags.contains(&"*") {
        return Ok(None);
    }
    let revisions: Vec<u64> = tags.iter().filter_map(|tag| revision(tag)).collect();
    let named = revisions.iter().find(|revision| **revision == current).or(revisions.first());
    named
        .copied()
        .map(Some)
        .ok_or_else(|| Problem::new(ProblemCode::RevisionMismatch, format!("the resource's ETag is \"{current}\" now")))
}

/// The revision in a strong tag. A weak one never matches (RFC 9110 section 8.8.3.2).
fn revision(tag: &str) -> Option<u64> {
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

/// The caller's `Idempotency-Key`. The state machine keeps the keys of different callers apart.
///
/// # Errors
/// [`ProblemCode::BadRequest`] where it is not 1 to 128 visible ASCII characters.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    if (1..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Some(key.to_owned()))
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
            ("\"8\"", Ok(Some(8))),
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
    fn idempotency_keys_are_short_and_visible() {
        let headers =
            |v: &str| HeaderMap::from_iter([("idempotency-key".parse().expect("name"), v.parse().expect("value"))]);
        assert_eq!(idempotency_key(&headers("k1")), Ok(Some("k1".to_owned())));
        assert_eq!(idempotency_key(&HeaderMap::new()), Ok(None));
        for bad in ["", "a b", &"x".repeat(129)] {
            assert!(idempotency_key(&headers(bad)).is_err(), "{bad}");
        }
    }
}
