//! The `filter` parameter of lists: a part of SCIM's filters (RFC 7644, section 3.4.2.2), as Connect's clients write them.
//!
//! ```text
//! title eq "Wi-Fi"      name co "prod"      tag eq "a" and not (category eq "LOGIN" or favorite eq true)
//! ```
//!
//! Operators are `eq ne co sw ew pr`, `and or not` and parentheses, in any case. Text compares without regard to case and to
//! Unicode composition ([`fold`]).
//!
//! No client escapes quotes or backslashes in a value. So a value ends at the first quote after which the rest is a filter again,
//! which is usually the last quote: `title eq "say "hi""` asks for `say "hi"`. A client that does escape gets what it wants, too:
//! if a value has `\"` or `\\`, both the value as written and the value without escapes match.

mod fold;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

pub use fold::{fold, named, prefer_exact};

use crate::category::Category;
use crate::item::State;

/// What is filtered. It decides which attributes a filter may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Vaults, with the attributes `name`, `title`, `id`.
    Vaults,
    /// Items, with the attributes `title`, `name`, `id`, `tag`, `tags`, `category`, `favorite`, `state`.
    Items,
}

/// The text is no filter. The api answers with status 400. The message does not quote the filter, which may hold a title.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid filter: {reason}")]
pub struct InvalidFilter {
    reason: String,
}

/// A parsed filter.
#[derive(Clone, PartialEq, Eq)]
pub struct Filter {
    expression: Expression,
}

#[derive(Clone, PartialEq, Eq)]
enum Expression {
    /// An empty filter, which everything matches.
    All,
    Compare(Attribute, Operator, Value),
    Present(Attribute),
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    Title,
    Id,
    Tag,
    Category,
    Favorite,
    State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Contains,
    StartsWith,
    EndsWith,
}

/// The value that an attribute is compared with.
#[derive(Clone, PartialEq, Eq)]
struct Value {
    /// As it was written.
    written: String,
    /// `written`, folded.
    folded: String,
    /// Without escapes and folded, if it has escapes.
    unescaped: Option<String>,
}

/// The attributes of an item or a vault, for [`Filter::matches`].
#[derive(Clone, Copy, Default)]
pub struct Attributes<'a> {
    /// The title of an item, or the name of a vault.
    pub title: &'a str,
    /// The id.
    pub id: &'a str,
    /// The tags of an item.
    pub tags: &'a [String],
    /// The category of an item.
    pub category: Option<Category>,
    /// Whether an item is a favourite.
    pub favorite: bool,
    /// The state of an item. `None` is an active item, which `state eq "ACTIVE"` matches.
    pub state: Option<State>,
}

impl Filter {
    /// Parses a filter, which must be percent-decoded. Everything matches a blank filter.
    ///
    /// # Errors
    /// [`InvalidFilter`] for a value without a closing quote, an attribute that the subject does not have, an unknown operator,
    /// unbalanced parentheses, and a filter beyond [`crate::limits::FILTER_BYTES`] or [`crate::limits::FILTER_DEPTH`].
    ///
    /// ```
    /// use sidevault_model::filter::{Filter, Subject};
    /// let filter = Filter::parse(r#"title eq "say "hi"""#, Subject::Items)?;
    /// assert_eq!(filter.exact_title(), Some(r#"say "hi""#));
    /// assert!(Filter::parse(r#"title eq "R"#, Subject::Items).is_err());
    /// # Ok::<(), sidevault_model::InvalidFilter>(())
    /// ```
    pub fn parse(text: &str, subject: Subject) -> Result<Self, InvalidFilter> {
        Ok(Self {
            expression: parse::parse(text, subject)?,
        })
    }

    /// The title, if the whole filter is `title eq "…"`, so that an index can answer: exactly the titles with the same [`fold`] match.
    /// `None` also if the value has escapes, so that two titles match.
    pub fn exact_title(&self) -> Option<&str> {
        match &self.expression {
            Expression::Compare(Attribute::Title, Operator::Equal, value) if value.unescaped.is_none() => {
                Some(&value.written)
            }
            _ => None,
        }
    }

    /// Whether the filter is blank, so that everything matches.
    pub fn is_everything(&self) -> bool {
        matches!(self.expression, Expression::All)
    }

    /// Whether an item or a vault with these attributes matches.
    pub fn matches(&self, subject: &Attributes<'_>) -> bool {
        self.expression.matches(subject)
    }
}

/// Shows no values, which may be titles.
impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter(…)")
    }
}

impl Expression {
    fn matches(&self, subject: &Attributes<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Compare(attribute, operator, value) => match operator {
                Operator::NotEqual => !any(*attribute, subject, |text| value.compare(Operator::Equal, text)),
                operator => any(*attribute, subject, |text| value.compare(*operator, text)),
            },
            Self::Present(Attribute::Favorite) => subject.favorite,
            Self::Present(Attribute::State) => subject.state.is_some(),
            Self::Present(attribute) => any(*attribute, subject, |text| !text.is_empty()),
            Self::And(parts) => parts.iter().all(|part| part.matches(subject)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(subject)),
            Self::Not(part) => !part.matches(subject),
        }
    }
}

/// Whether one of the attribute's values passes. An item may have several tags; other attributes have one value.
fn any(attribute: Attribute, subject: &Attributes<'_>, passes: impl Fn(&str) -> bool) -> bool {
    match attribute {
        Attribute::Title => passes(subject.title),
        Attribute::Id => passes(subject.id),
        Attribute::Tag => subject.tags.iter().any(|tag| passes(tag)),
        Attribute::Category => subject.category.is_some_and(|category| passes(category.as_str())),
        Attribute::Favorite => passes(if subject.favorite { "true" } else { "false" }),
        Attribute::State => passes(subject.state.map_or("ACTIVE", State::as_str)),
    }
}

impl Value {
    fn new(written: String, unescaped: Option<String>) -> Self {
        Self {
            folded: fold(&written),
            unescaped: unescaped.map(|text| fold(&text)),
            written,
        }
    }

    fn compare(&self, operator: Operator, text: &str) -> bool {
        let text = fold(text);
        let passes = |value: &str| match operator {
            Operator::Equal | Operator::NotEqual => text == value,
            Operator::Contains => text.contains(value),
            Operator::StartsWith => text.starts_with(value),
            Operator::EndsWith => text.ends_with(value),
        };
        passes(&self.folded) || self.unescaped.as_deref().is_some_and(passes)
    }
}
