//! Literal blocks (`|`) in which U+0085, U+2028 or U+2029 end lines.
//!
//! In YAML 1.1 these characters are line breaks, and go-yaml follows YAML 1.1. So sops writes a text with line feeds and one
//! of these characters as a literal block, and indents the text after the character. In YAML 1.2 they are ordinary
//! characters, and such a block is not valid. This module replaces it by the same text in double quotes before the parser
//! gets it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The characters that are line breaks in YAML 1.1 only.
pub(super) const LINE_ENDS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// Replaces literal blocks with such line breaks by text in double quotes. All other lines are unchanged, and no line gets
/// another number.
pub(super) fn quote(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains(LINE_ENDS) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = &*text;
    while !rest.is_empty() {
        let line_end = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(line_end);
        let Some(header) = Header::of(line) else {
            out.push_str(line);
            rest = after;
            continue;
        };
        let (content, length) = header.content(after);
        let block = &after[..length];
        if block.contains(LINE_ENDS) {
            out.push_str(header.before);
            push_quoted(&mut out, &content);
            // As many line feeds as the block had, so that the following lines keep their numbers.
            out.extend(std::iter::repeat_n('\n', 1 + block.matches('\n').count()));
        } else {
            out.push_str(line);
            out.push_str(block);
        }
        rest = &after[length..];
    }
    Cow::Owned(out)
}

/// The header of a literal block: the line on which the block starts.
struct Header<'a> {
    /// The text before the `|`.
    before: &'a str,
    /// The column of the mapping or list that the block is in.
    parent: usize,
    /// How much deeper the block is indented, if the header gives it.
    deeper: Option<usize>,
    chomping: Chomping,
}

/// How many line breaks at the end of a block are kept.
#[derive(Clone, Copy, PartialEq)]
enum Chomping {
    Strip,
    Clip,
    Keep,
}

impl<'a> Header<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let line = line.trim_end();
        let (before, after) = line.match_indices('|').find_map(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + 1..]);
            let after = match after.split_once(" #") {
                Some((indicators, _)) => indicators.trim_end(),
                None => after,
            };
            let fits = after.len() <= 2 && after.bytes().all(|byte| matches!(byte, b'1'..=b'9' | b'+' | b'-'));
            (fits && starts_value(before)).then_some((before, after))
        })?;
        let chomping = if after.contains('-') {
            Chomping::Strip
        } else if after.contains('+') {
            Chomping::Keep
        } else {
            Chomping::Clip
        };
        let deeper = after
            .bytes()
            .find(u8::is_ascii_digit)
            .map(|digit| usize::from(digit - b'0'));
        Some(Self {
            before,
            parent: parent_column(before),
            deeper,
            chomping,
        })
    }

    /// Reads the block from `text`, which follows the header. Returns the block's content and its length in `text`, in bytes.
    fn content(&self, text: &str) -> (String, usize) {
        let mut indent = self.deeper.map(|deeper| self.parent + deeper);
        let mut content = String::new();
        let mut any = false;
        // Line breaks that belong to the content only if more content follows.
        let mut pending = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let end = rest
                .find(['\n', '\u{85}', '\u{2028}', '\u{2029}'])
                .unwrap_or(rest.len());
            let line = rest[..end].strip_suffix('\r').unwrap_or(&rest[..end]);
            let spaces = line.len() - line.trim_start_matches(' ').len();
            let is_blank = spaces == line.len() && indent.is_none_or(|indent| spaces <= indent);
            if !is_blank {
                let indent = *indent.get_or_insert(spaces.max(self.parent + 1));
                if spaces < indent {
                    break;
                }
                content.extend(pending.drain(..));
                content.push_str(&line[indent..]);
                any = true;
            }
            let last = rest[end..].chars().next();
            pending.extend(last.map(|last| if last == '\u{85}' { '\n' } else { last }));
            at += end + last.map_or(0, char::len_utf8);
        }
        let kept = match self.chomping {
            Chomping::Strip => 0,
            Chomping::Clip => usize::from(any),
            Chomping::Keep => pending.len(),
        };
        content.extend(pending.into_iter().take(kept));
        (content, at)
    }
}

/// Whether a value may start after `before`: after `:`, `-`, `?`, a tag or an anchor.
fn starts_value(before: &str) -> bool {
    let word = before.trim_end_matches(' ');
    if word.len() == before.len() {
        return before.is_empty();
    }
    word.ends_with([':', '-', '?']) || word.rsplit(' ').next().is_some_and(|word| word.starts_with(['!', '&']))
}

/// The column of the innermost mapping or list that starts in `before`.
fn parent_column(before: &str) -> usize {
    let mut column = 0;
    let mut rest = before;
    loop {
        let trimmed = rest.trim_start_matches(' ');
        column += rest.len() - trimmed.len();
        match trimmed.strip_prefix("- ") {
            // The item is a mapping or a list itself.
            Some(item) if item.contains(": ") || item.contains("- ") || item.ends_with(':') => {
                column += 2;
                rest = item;
            }
            _ => return column,
        }
    }
}

fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            // Tabs as well: at the start of a line, a tab would count as indentation.
            control if control.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::{scalar_text, yaml};

    fn read(text: &str) -> String {
        scalar_text(&yaml::parse(text.as_bytes()).unwrap()[0])
    }

    #[test]
    fn line_breaks_of_yaml_1_1_in_literal_blocks_are_read_as_in_sops() {
        for (text, json) in [
            (
                "a: |\n  x\u{2028}  y\n  z\nb: 1\n",
                "{\"a\":\"x\u{2028}y\\nz\\n\",\"b\":1}",
            ),
            ("a: |4+\n\u{2029}\n\nb: 1\n", "{\"a\":\"\u{2029}\\n\\n\",\"b\":1}"),
            ("a: |-\n    \"x\\\u{85}    y\t\n\n", "{\"a\":\"\\\"x\\\\\\ny\\t\"}"),
            ("? |-\n  k\n\u{2028}  l\n: v\n", "{\"k\\n\u{2028}l\":\"v\"}"),
            (
                "a:\n  - |2\n      x\u{2028}    y\n  - k: !!str |\n      z\u{2028}      w\n",
                "{\"a\":[\"  x\u{2028}y\\n\",{\"k\":\"z\u{2028}w\\n\"}]}",
            ),
        ] {
            assert_eq!(read(text), json, "{text:?}");
        }
    }

    #[test]
    fn other_text_is_unchanged() {
        for text in [
            "a: |\n  x\n  b: |\n   y\nc: \"\\L\"\n",
            "a: x | y\nb: 'x |'\nc: |\n  # \u{e9}\n",
            "a: |\n  x |\n    y\nb: '\u{2028}'\n",
        ] {
            assert_eq!(quote(Cow::Borrowed(text)), text);
        }
        let error = yaml::parse("a: |\n  x\u{2028}  y\n  z\nb: \"".as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("line 4"), "{error}");
    }
}
