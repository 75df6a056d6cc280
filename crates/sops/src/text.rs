//! Text of a file: how it comes in, and how names from it go out into messages.

use crate::{Format, SopsError};

/// The text, without a byte order mark.
pub(crate) fn utf8(bytes: &[u8], format: Format) -> Result<&str, SopsError> {
    let text = std::str::from_utf8(bytes).map_err(|error| SopsError::Syntax {
        format,
        line: 1 + bytes[..error.valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count(),
        problem: "not UTF-8; save the file as UTF-8, or keep it as a binary file".to_owned(),
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// A key or recipient name fit for one log line, whatever the file put there.
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
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_mark_is_dropped_and_other_encodings_are_refused_by_line() {
        assert_eq!(utf8(b"\xef\xbb\xbfa", Format::Ini).unwrap(), "a");
        assert!(matches!(
            utf8(b"a\nb\xff", Format::Ini),
            Err(SopsError::Syntax { line: 2, .. })
        ));
    }

    #[test]
    fn names_are_escaped_and_cut_for_messages() {
        assert_eq!(shown("a\nb\u{1b}"), r"a\nb\u{1b}");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), 201);
    }
}
