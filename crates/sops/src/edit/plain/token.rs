//! The text of a value, and how other values can be written in its place.

use std::ops::Range;

use super::super::text::json_text;
use crate::{Format, Value, parse, scalar_text};

/// Where a value may be.
#[derive(Clone, Debug, Default)]
pub(super) struct Token {
    pub(super) range: Range<usize>,
    /// The spaces before the key, for YAML's block scalars.
    indent: usize,
    form: Form,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// Nothing at all: `key:`.
    Empty,
    /// `|` or `>`, and the lines that belong to it.
    Block,
    Quoted,
    #[default]
    Plain,
}

/// The most places of a key that are looked at.
const MAX_PLACES: usize = 1024;

/// The places where the text may have the value of this key.
pub(super) fn tokens(format: Format, text: &str, key: &str) -> Vec<Token> {
    let names = match format {
        Format::Yaml => vec![key.to_owned(), json_text(key), format!("'{}'", key.replace('\'', "''"))],
        Format::Json => vec![json_text(key)],
        _ => vec![key.to_owned()],
    };
    let mut found = Vec::new();
    for name in names.iter().filter(|name| !name.is_empty()) {
        for (start, _) in text.match_indices(name.as_str()) {
            if found.len() >= MAX_PLACES {
                break;
            }
            if let Some(value) = value_start(format, text, start, start + name.len()) {
                add_tokens(format, text, start, value, &mut found);
            }
        }
    }
    found
}

/// Where the value of a key begins; `None` if this is not a key.
fn value_start(format: Format, text: &str, start: usize, end: usize) -> Option<usize> {
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let before = text[line_start..start].trim_start_matches('\u{feff}');
    let rest = &text[end..];
    match format {
        Format::Yaml => {
            let after = rest.trim_start_matches([' ', '\t']).strip_prefix(':')?;
            let is_key = after.is_empty() || after.starts_with([' ', '\t', '\n', '\r', '"', '\'']);
            is_key.then_some(text.len() - after.len())
        }
        Format::Json => {
            let after = rest.trim_start().strip_prefix(':')?;
            Some(text.len() - after.trim_start().len())
        }
        Format::Dotenv => {
            let after = rest.strip_prefix('=')?;
            before.is_empty().then_some(text.len() - after.len())
        }
        Format::Ini | Format::Binary => {
            let after = rest.trim_start_matches([' ', '\t']).strip_prefix(['=', ':'])?;
            before.trim().is_empty().then_some(text.len() - after.len())
        }
    }
}

fn add_tokens(format: Format, text: &str, key: usize, start: usize, found: &mut Vec<Token>) {
    let line_start = text[..key].rfind('\n').map_or(0, |at| at + 1);
    // The dashes of a list count as spaces.
    let indent = text[line_start..key].chars().count();
    let mut add = |range: Range<usize>, form: Form| found.push(Token { range, indent, form });
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    if format == Format::Dotenv {
        let line = text[start..line_end].trim_end_matches('\r');
        return add(start..start + line.len(), Form::Plain);
    }
    let line = &text[start..line_end];
    let value = start + line.len() - line.trim_start().len();
    let rest = &text[value..line_end];
    match rest.chars().next() {
        None => add(start..start, Form::Empty),
        Some('"') => add(value..quoted_end(text, value, '"'), Form::Quoted),
        Some('\'') if format != Format::Json => add(value..quoted_end(text, value, '\''), Form::Quoted),
        Some('|' | '>') if format == Format::Yaml => add(value..block_end(text, line_end, indent), Form::Block),
        Some(_) if format == Format::Json => {
            let end = rest.find([',', '}', ']', ' ', '\t', '\r']).unwrap_or(rest.len());
            add(value..value + end, Form::Plain);
        }
        Some(_) => {
            let comment = [" #", "\t#", " ;", "\t;"]
                .iter()
                .filter_map(|mark| rest.find(mark))
                .min();
            let flow = rest.find([',', '}']);
            let mut ends = vec![rest.len()];
            ends.extend(comment);
            ends.extend(flow);
            // The shortest first, because a comment behind a value stays.
            ends.sort_unstable();
            for end in ends {
                let value_text = rest[..end].trim_end();
                add(value..value + value_text.len(), Form::Plain);
            }
        }
    }
}

/// The end of a quoted text that starts at `start`, behind its last quote.
fn quoted_end(text: &str, start: usize, quote: char) -> usize {
    let mut chars = text[start + 1..].char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let is_doubled = |next: Option<&(usize, char)>| quote == '\'' && next.is_some_and(|(_, c)| *c == '\'');
        if (c == '\\' && quote == '"') || (c == quote && is_doubled(chars.peek())) {
            chars.next();
        } else if c == quote {
            return start + 1 + at + 1;
        }
    }
    text.len()
}

/// The end of a block scalar whose first line ends at `line_end`: the end of the last line that is indented more than its key.
fn block_end(text: &str, line_end: usize, indent: usize) -> usize {
    let mut end = line_end;
    let mut at = line_end;
    while at < text.len() {
        let start = at + 1;
        let stop = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = &text[start..stop];
        if !line.trim().is_empty() {
            if line.len() - line.trim_start_matches(' ').len() <= indent {
                break;
            }
            end = stop;
        }
        at = stop;
    }
    end
}

impl Token {
    /// Whether the value may be written here. Of a block scalar, that shows only in the whole file.
    pub(super) fn may_be(&self, format: Format, text: &str, value: &Value) -> bool {
        // A character takes six at most (`\u0000`). The rest of a long line is not parsed for each key in it.
        let longest = 6 * scalar_text(value).len() + 16;
        let here = &text[self.range.clone()];
        self.form == Form::Block || (here.len() <= longest && read(format, here).as_ref() == Some(value))
    }

    /// The text with another value here.
    pub(super) fn replaced(&self, text: &str, spelling: &str) -> String {
        let gap = if self.form == Form::Empty && !spelling.is_empty() {
            " "
        } else {
            ""
        };
        let (before, after) = (&text[..self.range.start], &text[self.range.end..]);
        format!("{before}{gap}{spelling}{after}")
    }

    /// The ways to write a value here, the most usual first.
    pub(super) fn spellings(&self, format: Format, value: &Value) -> Vec<String> {
        let text = scalar_text(value);
        match (format, value) {
            (Format::Json, Value::String(text) | Value::Time(text)) => vec![json_text(text)],
            (Format::Json, _) => vec![text],
            (Format::Dotenv, _) => vec![text.replace('\n', "\\n")],
            (Format::Ini | Format::Binary, _) => {
                let quoted = [
                    format!("\"{text}\""),
                    format!("`{text}`"),
                    format!("\"\"\"{text}\"\"\""),
                ];
                let plain = Some(text).filter(|text| !text.is_empty() && self.form != Form::Quoted);
                plain.into_iter().chain(quoted).collect()
            }
            (Format::Yaml, Value::String(text)) => {
                let quoted = json_text(text);
                let block = self.block(text);
                match self.form {
                    Form::Quoted => vec![quoted],
                    _ if text.contains('\n') => block.into_iter().chain([quoted]).collect(),
                    _ if is_plain(text) => vec![text.clone(), quoted],
                    _ => vec![quoted],
                }
            }
            (Format::Yaml, _) => vec![text],
        }
    }

    /// The text as a block scalar of YAML.
    fn block(&self, text: &str) -> Option<String> {
        let is_printable = text.chars().all(|c| c == '\n' || !c.is_control());
        if self.form != Form::Block || !is_printable || text.starts_with([' ', '\n']) || text.ends_with("\n\n") {
            return None;
        }
        let indent = " ".repeat(self.indent + 2);
        let (mark, body) = match text.strip_suffix('\n') {
            Some(body) => ("|", body),
            None => ("|-", text),
        };
        let lines = body.split('\n').map(|line| match line {
            "" => "\n".to_owned(),
            line => format!("\n{indent}{line}"),
        });
        Some(format!("{mark}{}", lines.collect::<String>()))
    }
}

/// The value of a text that stands for one.
fn read(format: Format, text: &str) -> Option<Value> {
    let file = match format {
        Format::Json => format!("{{\"k\":{text}}}"),
        Format::Yaml => format!("k: {text}\n"),
        Format::Dotenv => format!("k={text}"),
        Format::Ini | Format::Binary => format!("[s]\nk = {text}\n"),
    };
    let documents = parse(format, file.as_bytes()).ok()?;
    let mapping = match format {
        Format::Ini => documents.first()?.get("s")?,
        _ => documents.first()?,
    };
    mapping.get("k").cloned()
}

/// Whether a text means itself in YAML without quotes. The trial finds what this leaves open, such as `true`.
fn is_plain(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '+'))
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text
            .chars()
            .any(|c| c.is_control() || matches!(c, ',' | '[' | ']' | '{' | '}' | '\u{feff}'))
}
