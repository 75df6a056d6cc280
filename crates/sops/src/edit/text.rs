//! The changes in the text of a file. Each is found by the ciphertext of a value.

use std::ops::Range;

use super::FORM;
use crate::Format;
use crate::cipher::Problem;

/// The text of an encrypted file.
pub(super) struct Text {
    text: String,
    format: Format,
}

impl Text {
    pub(super) fn new(format: Format, text: &str) -> Self {
        Self {
            text: text.to_owned(),
            format,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.text.into_bytes()
    }

    /// Replaces a ciphertext by another, or by an empty text.
    pub(super) fn replace(&mut self, old: &str, new: &str) -> Result<(), Problem> {
        let place = self.find(old)?;
        let quoted = self.text[..place.start].ends_with(['"', '\'']);
        let new = if quoted { new } else { self.unquoted(new) };
        self.text.replace_range(place, new);
        Ok(())
    }

    /// Adds an entry behind the one that has the value `sealed`.
    pub(super) fn insert_behind(&mut self, sealed: &str, key: &str, new: &str) -> Result<(), Problem> {
        let place = self.find(sealed)?;
        let line = self.line(&place);
        let line_break = if self.text[line.clone()].ends_with('\r') {
            "\r\n"
        } else {
            "\n"
        };
        if self.format == Format::Json {
            let value = self.in_quotes(&place)?;
            let before = &self.text[line.start..value.start];
            let entry = before.trim_start();
            let gap = if entry.starts_with('"') {
                format!("{line_break}{}", &before[..before.len() - entry.len()])
            } else {
                " ".to_owned()
            };
            let added = format!(",{gap}{}: \"{new}\"", json_text(key));
            self.text.insert_str(value.end, &added);
            return Ok(());
        }
        let before = &self.text[line.start..place.start];
        let entry = before.trim_start_matches(match self.format {
            // The first entry of a mapping in a list stands behind the dash.
            Format::Yaml => &[' ', '-'][..],
            _ => &[' ', '\t'],
        });
        let indent = before[..before.len() - entry.len()].replace('-', " ");
        let name = match self.format {
            Format::Yaml => yaml_key(key),
            _ => flat_name(key)?.to_owned(),
        };
        let delimiter = match self.format {
            Format::Yaml => ": ",
            Format::Ini => " = ",
            _ => "=",
        };
        let added = format!("{indent}{name}{delimiter}{}", self.unquoted(new));
        if self.text[line.end..].starts_with('\n') {
            self.text.insert_str(line.end + 1, &format!("{added}{line_break}"));
        } else {
            self.text.insert_str(line.end, &format!("{line_break}{added}"));
        }
        Ok(())
    }

    /// Removes the entry or list item that has the value `sealed`.
    pub(super) fn remove(&mut self, sealed: &str) -> Result<(), Problem> {
        let place = self.find(sealed)?;
        if self.format == Format::Json {
            let value = self.in_quotes(&place)?;
            let range = self.json_entry(value);
            self.text.replace_range(range, "");
            return Ok(());
        }
        let line = self.line(&place);
        let before = self.text[line.start..place.start].trim();
        if self.format == Format::Yaml && before.starts_with("- ") {
            return Err("it is the first entry of a mapping in a list; remove it with `sops edit`");
        }
        let end = (line.end + 1).min(self.text.len());
        self.text.replace_range(line.start..end, "");
        Ok(())
    }

    /// Replaces the MAC and the time of the last change, which each document of the file has.
    pub(super) fn sign(&mut self, old_mac: &str, mac: &str, old_time: &str, time: &str) -> Result<(), Problem> {
        const NAME: &str = "lastmodified";
        if !self.text.contains(old_mac) || old_time.is_empty() {
            return Err(FORM);
        }
        let text = self.text.replace(old_mac, mac);
        let mut out = String::with_capacity(text.len());
        let mut rest = &text[..];
        while let Some(at) = rest.find(NAME) {
            let (before, after) = rest.split_at(at + NAME.len());
            out.push_str(before);
            let value = after.trim_start_matches(['"', '\'', ' ', '\t', ':', '=']);
            rest = match value.strip_prefix(old_time) {
                Some(behind) => {
                    out.push_str(&after[..after.len() - value.len()]);
                    out.push_str(time);
                    behind
                }
                None => after,
            };
        }
        out.push_str(rest);
        self.text = out;
        Ok(())
    }

    /// Where a ciphertext is. Someone may have copied it, or written it with escapes.
    fn find(&self, sealed: &str) -> Result<Range<usize>, Problem> {
        let mut places = self.text.match_indices(sealed);
        match (places.next(), places.next()) {
            (Some((start, _)), None) => Ok(start..start + sealed.len()),
            _ => Err(FORM),
        }
    }

    /// The line of a place, without its line feed.
    fn line(&self, place: &Range<usize>) -> Range<usize> {
        let start = self.text[..place.start].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[place.end..]
            .find('\n')
            .map_or(self.text.len(), |at| place.end + at);
        start..end
    }

    /// A JSON text with its quotes.
    fn in_quotes(&self, place: &Range<usize>) -> Result<Range<usize>, Problem> {
        if self.text[..place.start].ends_with('"') && self.text[place.end..].starts_with('"') {
            Ok(place.start - 1..place.end + 1)
        } else {
            Err(FORM)
        }
    }

    /// The range of a JSON value with its key, if it has one, and with one comma.
    fn json_entry(&self, value: Range<usize>) -> Range<usize> {
        let before = self.text[..value.start].trim_end();
        let start = match before.strip_suffix(':').map(str::trim_end) {
            Some(key) => start_of_json_text(key),
            None => value.start,
        };
        let after = self.text[value.end..].trim_start();
        if let Some(next) = after.strip_prefix(',') {
            return start..self.text.len() - next.trim_start().len();
        }
        match self.text[..start].trim_end().strip_suffix(',') {
            Some(earlier) => earlier.len()..value.end,
            None => start..value.end,
        }
    }

    /// A value where there are no quotes.
    fn unquoted<'a>(&self, new: &'a str) -> &'a str {
        if new.is_empty() && self.format == Format::Yaml {
            "\"\""
        } else {
            new
        }
    }
}

/// Where the JSON text at the end of `before` starts.
fn start_of_json_text(before: &str) -> usize {
    let mut quotes = before.match_indices('"').map(|(at, _)| at).rev().skip(1);
    quotes
        .find(|at| {
            let escapes = before[..*at].len() - before[..*at].trim_end_matches('\\').len();
            escapes.is_multiple_of(2)
        })
        .unwrap_or(before.len())
}

pub(crate) fn json_text(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

/// A key of YAML, in quotes unless it can be nothing but text.
pub(crate) fn yaml_key(key: &str) -> String {
    const OTHER: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        && !OTHER.contains(&key.to_ascii_lowercase().as_str());
    if plain { key.to_owned() } else { json_text(key) }
}

/// A name that dotenv and INI take as it is.
fn flat_name(key: &str) -> Result<&str, Problem> {
    let fits = key.starts_with(|c: char| c.is_alphanumeric() || c == '_')
        && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if fits {
        Ok(key)
    } else {
        Err("a new name may have letters, digits, _, - and . only")
    }
}
