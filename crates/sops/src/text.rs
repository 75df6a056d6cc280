//! Decodes the text of files, and escapes names from them for messages.

use std::borrow::Cow;

use crate::{Format, SopsError};

/// The byte order mark, which editors on Windows write at the start of a text.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// Decodes a text, and removes a byte order mark.
pub(crate) fn decode(bytes: &[u8], format: Format) -> Result<Cow<'_, str>, SopsError> {
    Ok(match decode_with_mark(bytes, format)? {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)),
        decoded => decoded,
    })
}

/// Decodes a text: UTF-8, or UTF-16 after its byte order mark, which PowerShell's `>` writes. The mark of UTF-8 is kept,
/// because sops takes it for a part of the first name in dotenv.
pub(crate) fn decode_with_mark(bytes: &[u8], format: Format) -> Result<Cow<'_, str>, SopsError> {
    match from_utf16(bytes) {
        None => utf8(bytes, format).map(Cow::Borrowed),
        Some(Ok(text)) => Ok(Cow::Owned(text)),
        Some(Err(line)) => Err(SopsError::Syntax {
            format,
            line,
            problem: "the file starts with UTF-16's byte order mark and is not valid UTF-16; save it as UTF-8"
                .to_owned(),
        }),
    }
}

fn utf8(bytes: &[u8], format: Format) -> Result<&str, SopsError> {
    std::str::from_utf8(bytes).map_err(|error| SopsError::Syntax {
        format,
        line: 1 + bytes[..error.valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count(),
        problem: "the file is not UTF-8; save it as UTF-8, or give it a name without this format's ending".to_owned(),
    })
}

/// Decodes the text after a UTF-16 byte order mark; `None` without a mark. The error is the line at which the text is not
/// valid.
pub(crate) fn from_utf16(bytes: &[u8]) -> Option<Result<String, usize>> {
    let (unit, body): (fn([u8; 2]) -> u16, _) = match bytes {
        [0xff, 0xfe, body @ ..] => (u16::from_le_bytes, body),
        [0xfe, 0xff, body @ ..] => (u16::from_be_bytes, body),
        _ => return None,
    };
    let mut text = String::with_capacity(body.len());
    let pairs = body.chunks_exact(2);
    let rest = pairs.remainder();
    for decoded in char::decode_utf16(pairs.map(|pair| unit([pair[0], pair[1]]))) {
        match decoded {
            Ok(char) => text.push(char),
            Err(_) => return Some(Err(lines(&text))),
        }
    }
    Some(if rest.is_empty() { Ok(text) } else { Err(lines(&text)) })
}

fn lines(text: &str) -> usize {
    1 + text.matches('\n').count()
}

/// A key or recipient of a file, escaped and cut so that it fits one log line.
pub(crate) fn shown(name: &str) -> String {
    const LONGEST: usize = 200;
    let mut shown: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn a_byte_order_mark_is_removed_and_invalid_utf_8_is_refused_with_its_line() {
        assert_eq!(decode(b"\xef\xbb\xbfa", Format::Ini).unwrap(), "a");
        assert!(matches!(
            decode(b"a\nb\xff", Format::Ini),
            Err(SopsError::Syntax { line: 2, .. })
        ));
    }

    #[test]
    fn utf_16_is_recognized_by_its_byte_order_mark() {
        assert_eq!(decode(b"\xff\xfea\0\xe9\0\n\0", Format::Yaml).unwrap(), "aé\n");
        assert_eq!(decode(b"\xfe\xff\xd8\x3d\xdd\x10", Format::Yaml).unwrap(), "🔐");
        for broken in [&b"\xff\xfea\0\n\0\x3d"[..], b"\xff\xfea\0\n\0\x3d\xd8a\0"] {
            assert!(matches!(
                decode(broken, Format::Yaml),
                Err(SopsError::Syntax { line: 2, .. })
            ));
        }
    }

    #[test]
    fn names_are_escaped_and_cut_for_messages() {
        assert_eq!(shown("a\nb\u{1b}"), r"a\nb\u{1b}");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), 201);
    }
}
