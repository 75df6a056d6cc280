//! Secret references: `op://VAULT/ITEM/[SECTION/]FIELD`, the text by which people name one value.
//!
//! ```text
//! reference = "op://" name "/" name "/" [ name "/" ] name [ "?" query ]
//! name      = 1*( ALPHA / DIGIT / "-" / "_" / "." / " " / "%" 2HEXDIG )
//! query     = parameter *( "&" parameter )
//! parameter = ( "attribute" / "attr" ) "=" attribute / "ssh-format" "=" "openssh"
//! attribute = "value" / "type" / "title" / "id" / "purpose" / "otp"     ; of a field
//!           / "content" / "type" / "size" / "id" / "name"               ; of a file
//! ```
//!
//! Three names are vault, item and field; with four, the third is the section. Each is a name or an id. The name of a file in the
//! field's place stands for the file's content. Everything compares without regard to case ([`fold`](crate::filter::fold)).
//!
//! 1Password's references have no percent-encoding: a name with any other character can only be named by its id there. Here such
//! a name may be written as the percent-encoded bytes of its UTF-8.

mod resolve;
mod ssh;
#[cfg(test)]
mod tests;

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::ids::ItemId;
use crate::wire::wire_enum;

pub use resolve::{Found, RESOLVED_FILE_BYTES, Unresolved, UnresolvedKind, field_section, resolve};

/// What a reference begins with, in any case.
pub const SCHEME: &str = "op://";

/// The most bytes of a reference.
pub const REFERENCE_BYTES: usize = 4_096;

/// The characters of a name that are written as percent-encoded bytes.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b' ');

wire_enum! {
    /// What of a field or of a file a reference stands for.
    pub enum Attribute, unknown = None;
    /// A field's value. Without an attribute a reference means this, or a file's content.
    Value = "value",
    /// A field's type, or `FILE`.
    Type = "type",
    /// A field's label.
    Title = "title",
    /// The id of a field or file.
    Id = "id",
    /// A field's purpose; empty if it has none.
    Purpose = "purpose",
    /// The current one-time password.
    Otp = "otp",
    /// A file's content.
    Content = "content",
    /// A file's size in bytes.
    Size = "size",
    /// A file's name.
    Name = "name",
}

/// A secret reference. Its `Display` is a reference that means the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The name or id of the vault.
    pub vault: String,
    /// The title or id of the item.
    pub item: String,
    /// The label or id of the section, if the reference names one.
    pub section: Option<String>,
    /// The label or id of the field, or the name or id of a file.
    pub field: String,
    /// What of the field or file is meant. `None`: a field's value or a file's content.
    pub attribute: Option<Attribute>,
    /// Whether a private key is converted to OpenSSH's format.
    pub openssh: bool,
}

/// Why a text is not a secret reference. The words in front of the colons are those of the `op` command, which scripts look for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// It does not begin with `op://`.
    #[error("it does not begin with \"op://\"")]
    Scheme,
    /// It has fewer than three names.
    #[error("too few '/': secret references should have at least vault, item and field specified")]
    TooFew,
    /// It has more than four names.
    #[error("too many '/': secret references should match op://<vault>/<item>[/<section>]/<field>")]
    TooMany,
    /// One of the names is empty.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// A character that has to be percent-encoded.
    #[error("invalid character in secret reference: '{0}'")]
    Character(char),
    /// A `%` that is not followed by two hexadecimal digits, or bytes that are not UTF-8.
    #[error("invalid percent-encoding in secret reference")]
    Encoding,
    /// A parameter that is not known, or is given twice.
    #[error("unknown or repeated query parameter: attribute, attr and ssh-format may be given once")]
    Parameter,
    /// An attribute that is not known.
    #[error("unknown attribute: it is one of value, type, title, id, purpose, otp, content, size, name")]
    Attribute,
    /// A format that is not known.
    #[error("unknown ssh-format: it is openssh")]
    Format,
    /// It is longer than [`REFERENCE_BYTES`].
    #[error("the secret reference is longer than {REFERENCE_BYTES} bytes")]
    TooLong,
}

impl Reference {
    /// Reads a reference.
    ///
    /// ```
    /// use sidevault_model::reference::Reference;
    /// let reference = Reference::parse("op://apps/db/replica/password").unwrap();
    /// assert_eq!(reference.section.as_deref(), Some("replica"));
    /// ```
    ///
    /// # Errors
    /// [`InvalidReference`].
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        if text.len() > REFERENCE_BYTES {
            return Err(InvalidReference::TooLong);
        }
        if !has_scheme(text) {
            return Err(InvalidReference::Scheme);
        }
        let rest = &text[SCHEME.len()..];
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let names: Vec<&str> = path.split('/').collect();
        let (vault, item, section, field) = match names[..] {
            [vault, item, field] => (vault, item, None, field),
            [vault, item, section, field] => (vault, item, Some(section), field),
            [] | [_] | [_, _] => return Err(InvalidReference::TooFew),
            _ => return Err(InvalidReference::TooMany),
        };
        let mut reference = Self {
            vault: name(vault, "vault")?,
            item: name(item, "item")?,
            section: section.map(|section| name(section, "section")).transpose()?,
            field: name(field, "field")?,
            attribute: None,
            openssh: false,
        };
        if let Some(query) = query {
            reference.read_query(query)?;
        }
        Ok(reference)
    }

    /// The reference to a field by these names or ids.
    pub fn to_field(vault: &str, item: &str, section: Option<&str>, field: &str) -> Self {
        Self {
            vault: vault.to_owned(),
            item: item.to_owned(),
            section: section.map(str::to_owned),
            field: field.to_owned(),
            attribute: None,
            openssh: false,
        }
    }

    fn read_query(&mut self, query: &str) -> Result<(), InvalidReference> {
        for parameter in query.split('&') {
            let (key, value) = parameter.split_once('=').ok_or(InvalidReference::Parameter)?;
            if ["attribute", "attr"]
                .iter()
                .any(|known| key.eq_ignore_ascii_case(known))
            {
                let known = Attribute::from_word(value).ok_or(InvalidReference::Attribute)?;
                if self.attribute.replace(known).is_some() {
                    return Err(InvalidReference::Parameter);
                }
            } else if key.eq_ignore_ascii_case("ssh-format") {
                if !value.eq_ignore_ascii_case("openssh") {
                    return Err(InvalidReference::Format);
                }
                if std::mem::replace(&mut self.openssh, true) {
                    return Err(InvalidReference::Parameter);
                }
            } else {
                return Err(InvalidReference::Parameter);
            }
        }
        Ok(())
    }
}

/// Whether a text begins as a secret reference does.
pub fn has_scheme(text: &str) -> bool {
    text.get(..SCHEME.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
}

/// The id that a name is, in any case: references ignore case, and ids are in lower case. `None`: it has not the form of an id.
pub fn as_id(name: &str) -> Option<ItemId> {
    ItemId::parse(&name.to_ascii_lowercase()).ok()
}

/// A name as servers take it: an id in lower case, any other name as it is.
pub fn lower_id(name: &str) -> String {
    as_id(name).map_or_else(|| name.to_owned(), |id| id.as_str().to_owned())
}

/// Whether a character may stand in a name as it is.
pub fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ')
}

/// Decodes a name.
fn name(text: &str, what: &'static str) -> Result<String, InvalidReference> {
    if text.is_empty() {
        return Err(InvalidReference::Empty(what));
    }
    let mut rest = text;
    while let Some(at) = rest.find(|c| !is_plain(c)) {
        let c = rest[at..].chars().next().unwrap_or('%');
        if c != '%' {
            return Err(InvalidReference::Character(c));
        }
        let digits = rest.as_bytes().get(at + 1..at + 3).ok_or(InvalidReference::Encoding)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(InvalidReference::Encoding);
        }
        rest = &rest[at + 3..];
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| InvalidReference::Encoding)
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = |name| utf8_percent_encode(name, ENCODED);
        write!(f, "{SCHEME}{}/{}", encoded(&self.vault), encoded(&self.item))?;
        if let Some(section) = &self.section {
            write!(f, "/{}", encoded(section))?;
        }
        write!(f, "/{}", encoded(&self.field))?;
        let mut separator = '?';
        if let Some(attribute) = self.attribute {
            write!(f, "{separator}attribute={}", attribute.as_str())?;
            separator = '&';
        }
        if self.openssh {
            write!(f, "{separator}ssh-format=openssh")?;
        }
        Ok(())
    }
}

/// Shows no name, because a title is secret.
impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reference")
            .field("attribute", &self.attribute)
            .field("openssh", &self.openssh)
            .finish_non_exhaustive()
    }
}
