//! Templates of `inject`, and the values in env files: text with secret references in it.
//!
//! A reference in plain text begins with `op://`, unless a letter, a digit or one of `-+\.` stands in front of it, and ends in front
//! of the first character that is none of letters, digits and `-_./?=&`. `{{ op://… }}` also takes spaces; the braces are removed.
//! `{{ "text" }}` is the text, for what would be a reference otherwise. Other braces stay as they are.
//!
//! In a reference, `$NAME` and `${NAME}` are variables of the environment, and `${NAME:-text}` is the text if the variable is not
//! set or empty. A value is not read as a template again.

use sidevault_model::Reference;
use sidevault_model::reference::{InvalidReference, SCHEME, has_scheme};

/// A part of a template.
#[derive(Clone, PartialEq)]
pub(crate) enum Part {
    /// Text that stays.
    Text(String),
    /// A reference that a value replaces.
    Reference(Reference),
}

/// A reference that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    /// Not the form of a reference; the text and why.
    #[error("invalid secret reference '{text}': {why}")]
    Reference { text: String, why: InvalidReference },
    /// A variable without a value.
    #[error("the variable {0} in a secret reference is not set, and has no default: ${{{0}:-default}}")]
    Variable(String),
    /// `${` without its end, or without a name.
    #[error("a secret reference has `${{` without a variable's name and `}}`")]
    Braces,
}

/// Splits a template into its parts. `variable` gives the value of a variable.
///
/// # Errors
/// The first reference that is not valid.
pub(crate) fn parse(template: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Part>, Flaw> {
    let mut parts = Parts::default();
    let mut at = 0;
    while at < template.len() {
        let rest = &template[at..];
        if let Some((content, length)) = enclosed(rest) {
            match content {
                Enclosed::Reference(text) => parts.reference(&expand(text, variable)?)?,
                Enclosed::Literal(text) => parts.text(text),
            }
            at += length;
        } else if starts_reference(template, at) {
            let length = unenclosed(rest);
            parts.reference(&expand(&rest[..length], variable)?)?;
            at += length;
        } else {
            // Up to the next place at which one of the two may begin.
            let next = rest.char_indices().skip(1).find(|(_, c)| matches!(c, '{' | 'o' | 'O'));
            let length = next.map_or(rest.len(), |(next, _)| next);
            parts.text(&rest[..length]);
            at += length;
        }
    }
    Ok(parts.0)
}

/// The value of a variable of an env file: one reference, which may have spaces, or a template.
pub(crate) fn parse_value(value: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Part>, Flaw> {
    if has_scheme(value)
        && let Ok(reference) = Reference::parse(&expand(value, variable)?)
    {
        return Ok(vec![Part::Reference(reference)]);
    }
    parse(value, variable)
}

/// Reads a reference.
///
/// # Errors
/// [`Flaw::Reference`].
pub(crate) fn reference(text: &str) -> Result<Reference, Flaw> {
    Reference::parse(text).map_err(|why| Flaw::Reference {
        text: sidevault_model::printable(text),
        why,
    })
}

#[derive(Default)]
struct Parts(Vec<Part>);

impl Parts {
    fn text(&mut self, text: &str) {
        if let Some(Part::Text(last)) = self.0.last_mut() {
            last.push_str(text);
        } else if !text.is_empty() {
            self.0.push(Part::Text(text.to_owned()));
        }
    }

    fn reference(&mut self, text: &str) -> Result<(), Flaw> {
        self.0.push(Part::Reference(reference(text)?));
        Ok(())
    }
}

enum Enclosed<'a> {
    Reference(&'a str),
    Literal(&'a str),
}

/// `{{ op://… }}` or `{{ "…" }}` at the start of `rest`, and how long it is.
fn enclosed(rest: &str) -> Option<(Enclosed<'_>, usize)> {
    let inner = rest.strip_prefix("{{")?;
    let begin = inner.trim_start_matches([' ', '\t']);
    let skipped = rest.len() - begin.len();
    if let Some(literal) = begin.strip_prefix('"') {
        let end = literal.find('"')?;
        let after = literal[end + 1..].trim_start_matches([' ', '\t']).strip_prefix("}}")?;
        return Some((Enclosed::Literal(&literal[..end]), rest.len() - after.len()));
    }
    if !has_scheme(begin) {
        return None;
    }
    // `${NAME}` may stand in front of the braces that end the reference.
    let end = begin.find("}}")?;
    let end = end + begin[end..].len() - begin[end..].trim_start_matches('}').len() - 2;
    let text = &begin[..end];
    (!text.contains('\n')).then(|| {
        (
            Enclosed::Reference(text.trim_end_matches([' ', '\t'])),
            skipped + end + 2,
        )
    })
}

/// Whether an unenclosed reference begins at this byte.
fn starts_reference(template: &str, at: usize) -> bool {
    has_scheme(&template[at..])
        && !template[..at]
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '+' | '\\' | '.'))
}

/// The length of the unenclosed reference at the start of `rest`.
fn unenclosed(rest: &str) -> usize {
    let mut at = SCHEME.len();
    let mut in_query = false;
    while let Some(c) = rest[at..].chars().next() {
        let after = &rest[at + c.len_utf8()..];
        let length = match c {
            '?' => {
                in_query = true;
                1
            }
            c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/') => 1,
            '=' | '&' if in_query => 1,
            '%' if after.len() >= 2 && after.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit) => 1,
            '$' => match variable_length(after) {
                Some(length) => 1 + length,
                None => break,
            },
            _ => break,
        };
        at += length;
    }
    at
}

/// The length of `NAME`, or of `{NAME}` or `{NAME:-text}`, at the start of a text. None if there is none.
fn variable_length(text: &str) -> Option<usize> {
    if text.starts_with('{') {
        let line = text.lines().next().unwrap_or_default();
        return line.find('}').map(|end| end + 1);
    }
    let length = text.find(|c: char| !is_name(c)).unwrap_or(text.len());
    (length > 0 && !text.starts_with(|c: char| c.is_ascii_digit())).then_some(length)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A reference with its variables replaced.
fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, Flaw> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let Some(length) = variable_length(after) else {
            if after.starts_with('{') {
                return Err(Flaw::Braces);
            }
            expanded.push('$');
            rest = after;
            continue;
        };
        let name = after[..length].trim_start_matches('{').trim_end_matches('}');
        let (name, default) = match name.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (name, None),
        };
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(Flaw::Braces);
        }
        let value = variable(name).filter(|value| default.is_none() || !value.is_empty());
        match value.as_deref().or(default) {
            Some(value) => expanded.push_str(value),
            None => return Err(Flaw::Variable(name.to_owned())),
        }
        rest = &after[length..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "ENV" => Some("prod".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    /// The template with each reference in brackets.
    fn shown(template: &str) -> Result<String, Flaw> {
        let show = |part: Part| match part {
            Part::Text(text) => text,
            Part::Reference(reference) => format!("[{reference}]"),
        };
        Ok(parse(template, &variable)?.into_iter().map(show).collect())
    }

    #[test]
    fn references_are_found_in_text() {
        for (template, expected) in [
            ("", ""),
            ("no reference", "no reference"),
            ("op://v/i/f", "[op://v/i/f]"),
            ("a=op://v/i/f\nb=OP://v/i/s/f\n", "a=[op://v/i/f]\nb=[op://v/i/s/f]\n"),
            ("\"op://v/i/f\", 'op://v/i/g'", "\"[op://v/i/f]\", '[op://v/i/g]'"),
            (
                "url: http://op://v/i/u:op://v/i/p@host",
                "url: http://[op://v/i/u]:[op://v/i/p]@host",
            ),
            (
                "op://v/i/f?attribute=otp&ssh-format=openssh;",
                "[op://v/i/f?attribute=otp&ssh-format=openssh];",
            ),
            ("x=op://v/i/f=", "x=[op://v/i/f]="),
            ("op://v/i/a%20b", "[op://v/i/a b]"),
            (
                "xop://v/i/f -op://v/i/f \\op://v/i .op://v",
                "xop://v/i/f -op://v/i/f \\op://v/i .op://v",
            ),
            (
                "{{ op://My Vault/an item/a field }}!",
                "[op://My Vault/an item/a field]!",
            ),
            ("{{op://v/i/f}}{{op://v/i/g}}", "[op://v/i/f][op://v/i/g]"),
            ("{{ .Values.x }} {{ op }} {{", "{{ .Values.x }} {{ op }} {{"),
            ("{{ \"op://v\" }} {{ \"{{\" }}", "op://v {{"),
            ("öop://v/i/f op://v/i/fö", "öop://v/i/f [op://v/i/f]ö"),
        ] {
            assert_eq!(shown(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn variables_are_replaced_in_references_only() {
        for (template, expected) in [
            ("$ENV op://$ENV/i/f", "$ENV [op://prod/i/f]"),
            ("op://${ENV}/${ENV}-db/$ENV", "[op://prod/prod-db/prod]"),
            ("op://${NONE:-dev}/i/f", "[op://dev/i/f]"),
            ("op://${EMPTY:-dev}/i/f", "[op://dev/i/f]"),
            ("{{ op://v/i/${NONE:-a b} }}", "[op://v/i/a b]"),
            ("{{ op://v/i/${ENV}}}", "[op://v/i/prod]"),
            ("op://v/i/f$ op://v/i/f$1", "[op://v/i/f]$ [op://v/i/f]$1"),
        ] {
            assert_eq!(shown(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn the_first_bad_reference_is_an_error() {
        let why = |template: &str| shown(template).unwrap_err().to_string();
        assert_eq!(
            why("x: op://v/i\n"),
            "invalid secret reference 'op://v/i': too few '/': secret references should have at least vault, item and field \
             specified"
        );
        assert!(why("op://$NONE/i/f").contains("the variable NONE"));
        assert!(why("op://${}/i/f").contains("without a variable's name"));
        assert!(why("{{ op://v/i/(f) }}").contains("invalid character"));
    }

    #[test]
    fn a_value_may_be_one_reference_with_spaces_or_a_template() {
        let value = |text: &str| parse_value(text, &variable).map(|parts| parts.len());
        assert_eq!(value("op://My Vault/an item/f"), Ok(1));
        assert_eq!(value("op://v/i/f:op://v/i/g"), Ok(3));
        assert_eq!(value("plain"), Ok(1));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(text in ".*|(op://|\\{\\{ ?|\\}\\}|\\$|\\{|\\}|a/b/c|ö|\"| |\n){0,20}") {
            let _ = parse(&text, &variable);
            let _ = parse_value(&text, &variable);
        }

        #[test]
        fn text_without_a_reference_stays(text in "[^o{]*") {
            prop_assert_eq!(shown(&text), Ok(text));
        }
    }
}
