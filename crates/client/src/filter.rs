//! The `filter` of list requests.

use std::fmt;

use sidevault_model::filter::{Attributes, Filter as Parsed, Subject};

/// A filter for [`Client::vaults`](crate::Client::vaults) or [`Client::items`](crate::Client::items).
///
/// Values may be any text, with quotes and without percent-encoding. `Debug` hides values.
#[derive(Clone, PartialEq, Eq)]
pub struct Filter(String);

impl Filter {
    /// Matches items with this title. Servers ignore case.
    pub fn title(title: &str) -> Self {
        Self::compare("title", "eq", title)
    }

    /// Matches items whose title contains this text.
    pub fn title_contains(part: &str) -> Self {
        Self::compare("title", "co", part)
    }

    /// Matches items that have this tag.
    pub fn tag(tag: &str) -> Self {
        Self::compare("tag", "eq", tag)
    }

    /// Matches vaults with this name. Servers ignore case.
    pub fn name(name: &str) -> Self {
        Self::compare("name", "eq", name)
    }

    /// A filter that is sent as it is, for expressions that the other functions can't make:
    /// `title sw "db-" and not tag eq "old"`.
    pub fn raw(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text of the filter.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Connect's SDKs escape nothing, and servers read a value up to its last quote. So the value is escaped only if a
    /// server would read a part of it as another comparison, as in `a" or tag eq "b`.
    fn compare(attribute: &str, operator: &str, value: &str) -> Self {
        if !value.contains('"') || is_read_whole(value) {
            return Self(format!("{attribute} {operator} \"{value}\""));
        }
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        Self(format!("{attribute} {operator} \"{escaped}\""))
    }
}

/// Whether a filter with the unescaped value matches exactly this value.
fn is_read_whole(value: &str) -> bool {
    let read = Parsed::parse(&format!("title eq \"{value}\""), Subject::Items);
    read.is_ok_and(|filter| filter.matches(&titled(value)))
}

fn titled(title: &str) -> Attributes<'_> {
    Attributes {
        title,
        ..Attributes::default()
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_not_escaped_as_in_connects_sdks() {
        assert_eq!(Filter::title("Wi-Fi").as_str(), r#"title eq "Wi-Fi""#);
        assert_eq!(Filter::title(r#"say "hi""#).as_str(), r#"title eq "say "hi"""#);
        assert_eq!(Filter::title(r"C:\dir\").as_str(), r#"title eq "C:\dir\""#);
        assert_eq!(Filter::title_contains("i-").as_str(), r#"title co "i-""#);
        assert_eq!(Filter::tag("a").as_str(), r#"tag eq "a""#);
        assert_eq!(Filter::name("Home lab").as_str(), r#"name eq "Home lab""#);
    }

    #[test]
    fn a_value_that_contains_a_comparison_is_escaped() {
        assert_eq!(
            Filter::title(r#"a" and tag eq "b"#).as_str(),
            r#"title eq "a\" and tag eq \"b""#
        );
    }

    #[test]
    fn debug_hides_the_value() {
        assert!(!format!("{:?}", Filter::title("hunter2")).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn a_title_filter_matches_its_title(title in "\\PC{0,20}|[ab\"\\\\() ]{0,12}|(a|\"| and tag eq | or |\\\\|not ){0,8}") {
            let filter = Parsed::parse(Filter::title(&title).as_str(), Subject::Items).unwrap();
            prop_assert!(filter.matches(&titled(&title)));
        }
    }
}
