//! Text that came from outside, for logs and terminals.

/// Replaces control characters, which could forge a line of a log or move a terminal's cursor: line feeds, carriage
/// returns and tabs by a space, all others by U+FFFD.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(printable("a\nb\x1b[2Jc\u{9b}ü"), "a b\u{fffd}[2Jc\u{fffd}ü");
    }
}
