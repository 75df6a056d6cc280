//! Conditional requests (RFC 9110, 13) for a representation with a strong entity tag.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, header};
use sidevault_model::Timestamp;

/// The validators of the current version of a representation.
pub(super) struct Validators {
    /// The entity tag, with its quotes. It is strong: different bytes have different tags.
    tag: String,
    /// When the representation last changed, in whole seconds, as HTTP dates are.
    modified: SystemTime,
}

/// The result of a request's preconditions.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Precondition {
    /// The request is answered.
    Holds,
    /// 304: the client has this version.
    NotModified,
    /// 412: the client asks for another version.
    Failed,
}

impl Validators {
    /// `tag` has no quotes, only letters and digits.
    pub(super) fn new(tag: &str, modified: Timestamp) -> Self {
        let seconds = u64::try_from(modified.as_seconds()).unwrap_or_default();
        Self {
            tag: format!("\"{tag}\""),
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        }
    }

    pub(super) fn etag(&self) -> &str {
        &self.tag
    }

    pub(super) fn last_modified(&self) -> String {
        httpdate::fmt_http_date(self.modified)
    }

    /// Evaluates a GET's or HEAD's preconditions in the order of RFC 9110, 13.2.2.
    pub(super) fn precondition(&self, headers: &HeaderMap) -> Precondition {
        if headers.contains_key(header::IF_MATCH) {
            if !tags(headers, header::IF_MATCH).any(|tag| tag == self.tag || tag == "*") {
                return Precondition::Failed;
            }
        } else if date(headers, header::IF_UNMODIFIED_SINCE).is_some_and(|date| self.modified > date) {
            return Precondition::Failed;
        }
        if headers.contains_key(header::IF_NONE_MATCH) {
            if is_known(headers, &self.tag) {
                return Precondition::NotModified;
            }
        } else if date(headers, header::IF_MODIFIED_SINCE).is_some_and(|date| self.modified <= date) {
            return Precondition::NotModified;
        }
        Precondition::Holds
    }

    /// Whether `If-Range` allows a range of this version (RFC 9110, 13.1.5). A date never does: two versions may have changed in
    /// the same second.
    pub(super) fn may_send_range(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(header::IF_RANGE).iter();
        values.all(|value| value.as_bytes() == self.tag.as_bytes())
    }
}

/// Whether `If-None-Match` names a version by its entity tag. The comparison is weak, as RFC 9110, 13.1.2, has it.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    tags(headers, header::IF_NONE_MATCH).any(|known| known == "*" || opaque(known) == opaque(tag))
}

/// An entity tag without the mark of a weak one.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// The entity tags in a header, split at commas. Tags of this server have no commas, so a foreign tag that is split wrongly
/// matches none.
fn tags(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',').map(str::trim))
}

/// The date in a header. None if it is not valid, or if there are two such headers.
fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "Thu, 01 Jan 1970 00:16:39 GMT";
    const THEN: &str = "Thu, 01 Jan 1970 00:16:40 GMT";

    fn validators() -> Validators {
        Validators::new("abc", Timestamp::from_millis(1_000_900))
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn preconditions_are_evaluated_in_the_order_of_the_rfc() {
        use Precondition::{Failed, Holds, NotModified};
        assert_eq!((validators().etag(), &*validators().last_modified()), ("\"abc\"", THEN));
        for (list, expected) in [
            (&[][..], Holds),
            (&[("if-match", "\"abc\"")], Holds),
            (&[("if-match", "*")], Holds),
            (&[("if-match", "\"x\", \"abc\"")], Holds),
            (&[("if-match", "W/\"abc\"")], Failed),
            (&[("if-match", "\"x\"")], Failed),
            (&[("if-unmodified-since", BEFORE)], Failed),
            (&[("if-unmodified-since", THEN)], Holds),
            (&[("if-unmodified-since", "yesterday")], Holds),
            (&[("if-match", "\"abc\""), ("if-unmodified-since", BEFORE)], Holds),
            (&[("if-none-match", "\"abc\"")], NotModified),
            (&[("if-none-match", "W/\"abc\"")], NotModified),
            (&[("if-none-match", "\"x\"")], Holds),
            (&[("if-none-match", "\"x\""), ("if-none-match", "*")], NotModified),
            (&[("if-modified-since", THEN)], NotModified),
            (&[("if-modified-since", BEFORE)], Holds),
            (&[("if-modified-since", THEN), ("if-modified-since", THEN)], Holds),
            (&[("if-none-match", "\"x\""), ("if-modified-since", THEN)], Holds),
            (&[("if-match", "\"x\""), ("if-none-match", "\"abc\"")], Failed),
        ] {
            assert_eq!(validators().precondition(&headers(list)), expected, "{list:?}");
        }
    }

    #[test]
    fn if_range_allows_a_range_only_with_the_current_entity_tag() {
        for (value, may) in [("\"abc\"", true), ("\"x\"", false), ("W/\"abc\"", false), (THEN, false)] {
            assert_eq!(
                validators().may_send_range(&headers(&[("if-range", value)])),
                may,
                "{value}"
            );
        }
        assert!(validators().may_send_range(&HeaderMap::new()));
    }
}
