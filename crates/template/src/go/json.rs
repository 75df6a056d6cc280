//! Go's `encoding/json`, for dynamic values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sidevault_go::json::{number, string, unmarshal};

use super::val::{Elem, Items, Val};
use crate::funcs::{Context, Fault};
use crate::limits::{MAX_OUTPUT, MAX_VALUE_DEPTH};

/// Options of the encoder.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    /// Escapes `<`, `>` and `&`, as `\u003c`.
    pub(crate) escape_html: bool,
    /// Indents by two spaces a level, as `MarshalIndent(v, "", "  ")` does.
    pub(crate) pretty: bool,
}

/// Encodes a value; `None` for a number or a time that JSON can't express.
pub(crate) fn encode(ctx: &mut Context, value: &Val, style: Style) -> Result<Option<Vec<u8>>, Fault> {
    let mut out = Vec::new();
    let fine = write(ctx, &mut out, value, style, 0)?;
    Ok(fine.then_some(out))
}

fn write(ctx: &mut Context, out: &mut Vec<u8>, value: &Val, style: Style, depth: usize) -> Result<bool, Fault> {
    ctx.work(1)?;
    if depth > MAX_VALUE_DEPTH {
        return Err(Fault::Limit("a value is nested too deeply"));
    }
    if out.len() > MAX_OUTPUT {
        return Err(Fault::Limit("a string is too long"));
    }
    match value {
        Val::Nil => out.extend_from_slice(b"null"),
        Val::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Val::Int(_)
        | Val::Int64(_)
        | Val::Duration(_)
        | Val::Month(_)
        | Val::Weekday(_)
        | Val::Uint64(_)
        | Val::Byte(_) => {
            out.extend_from_slice(value.as_int().unwrap_or_default().to_string().as_bytes());
        }
        Val::Float(value) if !value.is_finite() => return Ok(false),
        Val::Float(value) => out.extend_from_slice(number(*value).as_bytes()),
        Val::Str(text) => string(out, text, style.escape_html),
        Val::Time(time) => match time.rfc3339() {
            Some(text) => string(out, &text, style.escape_html),
            None => return Ok(false),
        },
        Val::Location(_) => out.extend_from_slice(b"{}"),
        Val::Version(version) | Val::NextVersion(version) => {
            string(out, version.to_string().as_bytes(), style.escape_html);
        }
        Val::Cert(cert) => {
            let fields = [("Cert", &cert.cert), ("Key", &cert.key)]
                .map(|(name, text)| (name.as_bytes(), Val::Str(text.clone())));
            return object(ctx, out, fields.iter().map(|(name, text)| (*name, text)), style, depth);
        }
        Val::List(list) if list.nil => out.extend_from_slice(b"null"),
        Val::List(list) if list.elem == Elem::Byte => {
            let text = STANDARD.encode(value.as_bytes().unwrap_or_default());
            string(out, text.as_bytes(), style.escape_html);
        }
        Val::List(list) => {
            out.push(b'[');
            for (i, item) in list.items.iter().enumerate() {
                separate(out, i, style, depth);
                if !write(ctx, out, item, style, depth + 1)? {
                    return Ok(false);
                }
            }
            close(out, list.items.is_empty(), style, depth);
            out.push(b']');
        }
        Val::Map(map) if map.nil => out.extend_from_slice(b"null"),
        Val::Map(map) => {
            let items = map.items.borrow();
            return object(ctx, out, items.iter().map(|(key, value)| (&**key, value)), style, depth);
        }
    }
    Ok(true)
}

fn object<'v>(
    ctx: &mut Context,
    out: &mut Vec<u8>,
    items: impl Iterator<Item = (&'v [u8], &'v Val)>,
    style: Style,
    depth: usize,
) -> Result<bool, Fault> {
    out.push(b'{');
    let mut empty = true;
    for (i, (key, value)) in items.enumerate() {
        empty = false;
        separate(out, i, style, depth);
        string(out, key, style.escape_html);
        out.extend_from_slice(if style.pretty { b": " } else { b":" });
        if !write(ctx, out, value, style, depth + 1)? {
            return Ok(false);
        }
    }
    close(out, empty, style, depth);
    out.push(b'}');
    Ok(true)
}

fn separate(out: &mut Vec<u8>, index: usize, style: Style, depth: usize) {
    if index > 0 {
        out.push(b',');
    }
    if style.pretty {
        out.push(b'\n');
        out.resize(out.len() + 2 * (depth + 1), b' ');
    }
}

fn close(out: &mut Vec<u8>, empty: bool, style: Style, depth: usize) {
    if style.pretty && !empty {
        out.push(b'\n');
        out.resize(out.len() + 2 * depth, b' ');
    }
}

/// `json.Unmarshal` into an `interface{}`; `None` if the text is not JSON.
pub(crate) fn decode(ctx: &mut Context, text: &[u8]) -> Result<Option<Val>, Fault> {
    ctx.work(text.len() as u64 / 16)?;
    let parsed = unmarshal(text).or_else(|| unmarshal(paired(&String::from_utf8_lossy(text))?.as_bytes()));
    parsed.map(|value| convert(ctx, value)).transpose()
}

/// Replaces escapes of lone surrogates by U+FFFD, as Go does; `None` if there are none.
fn paired(text: &str) -> Option<String> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let mut out = String::new();
    let mut from = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        at += found;
        let pair = (unit(at), unit(at + 6));
        at += match pair {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
            (Some(0xd800..0xe000), _) => {
                out.push_str(&text[from..at]);
                out.push_str("\\ufffd");
                from = at + 6;
                6
            }
            // In invalid JSON the escaped character may have several bytes.
            _ => 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        };
    }
    if from == 0 {
        return None;
    }
    out.push_str(&text[from..]);
    Some(out)
}

fn convert(ctx: &mut Context, value: serde_json::Value) -> Result<Val, Fault> {
    ctx.work(1)?;
    Ok(match value {
        serde_json::Value::Null => Val::Nil,
        serde_json::Value::Bool(value) => Val::Bool(value),
        serde_json::Value::Number(number) => Val::Float(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Val::str(text),
        serde_json::Value::Array(items) => {
            let items: Result<Vec<Val>, Fault> = items.into_iter().map(|item| convert(ctx, item)).collect();
            Val::list(items?)
        }
        serde_json::Value::Object(fields) => {
            let mut items = Items::new();
            for (key, value) in fields {
                items.insert(key.into_bytes().into(), convert(ctx, value)?);
            }
            ctx.map(items)
        }
    })
}
