//! Writes YAML as go-yaml v2 does: in block style, with keys in natural order, and with plain strings where that is
//! safe.

use std::cmp::Ordering;

use super::resolve;
use crate::go::unicode::{is_digit, is_letter};

pub(super) enum Yaml {
    /// A number, a boolean or null.
    Plain(String),
    Text(String),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

/// Writes a document, with a line feed at its end.
pub(super) fn emit(value: &Yaml) -> String {
    let mut out = String::new();
    match value {
        Yaml::List(items) if !items.is_empty() => list(&mut out, items, 0, true),
        Yaml::Map(fields) if !fields.is_empty() => map(&mut out, fields, 0, true),
        other => {
            scalar(&mut out, other, 2);
        }
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn new_line(out: &mut String, indent: usize) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    pad(out, indent);
}

/// With `inline` the first element continues the current line.
fn list(out: &mut String, items: &[Yaml], indent: usize, inline: bool) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 || !inline {
            new_line(out, indent);
        }
        out.push_str("- ");
        match item {
            Yaml::List(items) if !items.is_empty() => list(out, items, indent + 2, true),
            Yaml::Map(fields) if !fields.is_empty() => map(out, fields, indent + 2, true),
            other => scalar(out, other, indent + 2),
        }
    }
}

fn map(out: &mut String, fields: &[(String, Yaml)], indent: usize, inline: bool) {
    let mut fields: Vec<&(String, Yaml)> = fields.iter().collect();
    fields.sort_by(|a, b| natural(&a.0, &b.0));
    for (i, (key, value)) in fields.into_iter().enumerate() {
        if i > 0 || !inline {
            new_line(out, indent);
        }
        let simple = !key.contains(is_break) && key.len() <= 128;
        if simple {
            text(out, key, None);
            out.push(':');
        } else {
            out.push_str("? ");
            text(out, key, Some(indent + 2));
            new_line(out, indent);
            out.push(':');
        }
        match value {
            // A list is indented as far as its key.
            Yaml::List(items) if !items.is_empty() && simple => list(out, items, indent, false),
            Yaml::List(items) if !items.is_empty() => {
                out.push(' ');
                list(out, items, indent + 2, true);
            }
            Yaml::Map(fields) if !fields.is_empty() && simple => map(out, fields, indent + 2, false),
            Yaml::Map(fields) if !fields.is_empty() => {
                out.push(' ');
                map(out, fields, indent + 2, true);
            }
            other => {
                out.push(' ');
                scalar(out, other, indent + 2);
            }
        }
    }
}

fn scalar(out: &mut String, value: &Yaml, indent: usize) {
    match value {
        Yaml::Plain(plain) => out.push_str(plain),
        Yaml::Text(value) => text(out, value, Some(indent)),
        Yaml::List(_) => out.push_str("[]"),
        Yaml::Map(_) => out.push_str("{}"),
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// go-yaml escapes all characters outside of the basic multilingual plane.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// The styles that a string can be written in.
#[derive(Default)]
struct Shape {
    plain: bool,
    single: bool,
    block: bool,
    multiline: bool,
}

fn shape(value: &str) -> Shape {
    if value.is_empty() {
        return Shape {
            plain: true,
            single: true,
            block: false,
            multiline: false,
        };
    }
    let mut indicators = value.starts_with("---") || value.starts_with("...");
    let (mut breaks, mut special) = (false, false);
    let (mut leading, mut trailing_space, mut trailing_break) = (false, false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut after_space, mut after_break) = (false, false);
    let mut after_white = true;
    let chars: Vec<char> = value.chars().collect();
    for (i, &c) in chars.iter().enumerate() {
        let next_blank = chars.get(i + 1).is_none_or(|next| matches!(next, ' ' | '\t'));
        if i == 0 {
            match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => {
                    indicators = true;
                }
                '?' | ':' | '-' if next_blank => indicators = true,
                _ => {}
            }
        } else if c == ':' && next_blank || c == '#' && after_white {
            indicators = true;
        }
        if !is_printable(c) {
            special = true;
        }
        let last = i + 1 == chars.len();
        if c == ' ' {
            leading |= i == 0;
            trailing_space |= last;
            break_space |= after_break;
            (after_space, after_break) = (true, false);
        } else if is_break(c) {
            breaks = true;
            leading |= i == 0;
            trailing_break |= last;
            space_break |= after_space;
            (after_space, after_break) = (false, true);
        } else {
            (after_space, after_break) = (false, false);
        }
        after_white = matches!(c, ' ' | '\t') || is_break(c);
    }
    let odd = space_break || special;
    Shape {
        plain: !(leading || trailing_space || trailing_break || break_space || odd || breaks || indicators),
        single: !(break_space || odd),
        block: !(trailing_space || odd),
        multiline: breaks,
    }
}

/// Writes a string. `block` is the indentation of its further lines; without it the string is a key and stays on one
/// line.
fn text(out: &mut String, value: &str, block: Option<usize>) {
    let shape = shape(value);
    let key = block.is_none();
    if value.contains('\n') {
        return match block {
            Some(indent) if shape.block => literal(out, value, indent),
            _ => double_quoted(out, value, block),
        };
    }
    if !resolve::is_text(value) || key && shape.multiline {
        return double_quoted(out, value, block);
    }
    if shape.plain && !value.is_empty() {
        folded(out, value, block, false);
    } else if shape.single {
        out.push('\'');
        folded(out, value, block, true);
        out.push('\'');
    } else {
        double_quoted(out, value, block);
    }
}

/// A line that is longer than this is broken at the next space.
const WIDTH: usize = 80;

fn column(out: &str) -> usize {
    out.chars().rev().take_while(|c| !is_break(*c)).count()
}

/// Writes a plain or single-quoted string.
fn folded(out: &mut String, value: &str, block: Option<usize>, single: bool) {
    let chars: Vec<char> = value.chars().collect();
    let mut column = column(out);
    let (mut after_space, mut after_break) = (false, false);
    for (i, &c) in chars.iter().enumerate() {
        if c == ' ' {
            let inside = !single || i > 0 && i + 1 < chars.len();
            match block {
                Some(indent) if !after_space && column > WIDTH && inside && chars.get(i + 1) != Some(&' ') => {
                    new_line(out, indent);
                    column = indent;
                }
                _ => {
                    out.push(' ');
                    column += 1;
                }
            }
            after_space = true;
            continue;
        }
        if is_break(c) {
            out.push(c);
            column = 0;
            after_break = true;
            continue;
        }
        if std::mem::take(&mut after_break) {
            pad(out, block.unwrap_or(0));
            column = block.unwrap_or(0);
        }
        if single && c == '\'' {
            out.push('\'');
            column += 1;
        }
        out.push(c);
        column += 1;
        after_space = false;
    }
}

fn literal(out: &mut String, value: &str, indent: usize) {
    out.push('|');
    if value.starts_with(|c| c == ' ' || is_break(c)) {
        out.push('2');
    }
    let mut backwards = value.chars().rev();
    match (backwards.next(), backwards.next()) {
        (Some(last), _) if !is_break(last) => out.push('-'),
        (Some(_), None) => out.push('+'),
        (Some(_), Some(before)) if is_break(before) => out.push('+'),
        _ => {}
    }
    out.push('\n');
    let mut line_start = true;
    for c in value.chars() {
        if line_start && !is_break(c) {
            pad(out, indent);
        }
        line_start = is_break(c);
        out.push(c);
    }
}

fn double_quoted(out: &mut String, value: &str, block: Option<usize>) {
    // go-yaml compares the start of the string, and not the current position, with the byte order mark.
    let marked = value.starts_with('\u{feff}');
    let chars: Vec<char> = value.chars().collect();
    out.push('"');
    let mut column = column(out);
    let mut after_space = false;
    for (i, &c) in chars.iter().enumerate() {
        if !is_printable(c) || marked || is_break(c) || c == '"' || c == '\\' {
            let escaped = escape(c);
            column += escaped.len();
            out.push_str(&escaped);
            after_space = false;
        } else if c == ' ' {
            match block {
                Some(indent) if !after_space && column > WIDTH && i > 0 && i + 1 < chars.len() => {
                    new_line(out, indent);
                    column = indent;
                    if chars[i + 1] == ' ' {
                        out.push('\\');
                        column += 1;
                    }
                }
                _ => {
                    out.push(' ');
                    column += 1;
                }
            }
            after_space = true;
        } else {
            out.push(c);
            column += 1;
            after_space = false;
        }
    }
    out.push('"');
}

fn escape(c: char) -> String {
    let code = u32::from(c);
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ if code <= 0xff => return format!("\\x{code:02X}"),
        _ if code <= 0xffff => return format!("\\u{code:04X}"),
        _ => return format!("\\U{code:08X}"),
    };
    format!("\\{short}")
}

/// Compares keys in natural order: numbers in keys by their value, and letters after all other characters.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    for i in 0..a.len().min(b.len()) {
        if a[i] == b[i] {
            continue;
        }
        match (is_letter(a[i]), is_letter(b[i])) {
            (true, true) => return a[i].cmp(&b[i]),
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (false, false) => {}
        }
        let (mut left, mut right) = (0_i64, 0_i64);
        if a[i] == '0' || b[i] == '0' {
            // Zeros inside a number count as digits.
            let before = a[..i].iter().rev().take_while(|c| is_digit(**c));
            if before.into_iter().any(|c| *c != '0') {
                (left, right) = (1, 1);
            }
        }
        let number = |chars: &[char], seed: i64| {
            let digits = chars[i..].iter().take_while(|c| is_digit(**c));
            digits.fold((seed, 0), |(value, count), c| {
                let digit = i64::from(u32::from(*c)) - 48;
                (value.wrapping_mul(10).wrapping_add(digit), count + 1)
            })
        };
        let (left, left_length) = number(&a, left);
        let (right, right_length) = number(&b, right);
        return left
            .cmp(&right)
            .then(left_length.cmp(&right_length))
            .then(a[i].cmp(&b[i]));
    }
    a.len().cmp(&b.len())
}
