//! Classes in brackets.

use super::{Flaw, Parsed, Translator};

/// The names that Go accepts between `[:` and `:]`. Rust reads any other name as a class of its letters.
const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// The end of a named class.
pub(super) const CLASS_END: [char; 2] = [':', ']'];

impl Translator {
    /// Reads the items of a class after its bracket. An item is a named, Perl or Unicode class, which can't be part of
    /// a range, or a character, which can.
    pub(super) fn class(&mut self, start: usize) -> Parsed {
        self.out.push('[');
        if self.peek(0) == Some('^') {
            self.at += 1;
            self.out.push('^');
        }
        let mut first = true;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(']'), _) if !first => {
                    self.at += 1;
                    self.out.push(']');
                    return Ok(());
                }
                (Some('['), Some(':')) if self.named_class()? => {}
                (Some('\\'), Some('d' | 'D' | 'w' | 'W' | 's' | 'S' | 'p' | 'P')) => {
                    self.at += 1;
                    self.escape(true)?;
                }
                _ => {
                    let from = self.at;
                    let low = self.class_char(start)?;
                    if self.peek(0) == Some('-') && self.peek(1).is_some_and(|c| c != ']') {
                        self.at += 1;
                        self.out.push('-');
                        let high = self.class_char(start)?;
                        // Rust has no surrogates, so a range can't begin or end with one.
                        if high < low || [low, high].iter().any(|code| char::from_u32(*code).is_none()) {
                            return Err(self.wrong(Flaw::CharacterRange, from));
                        }
                    }
                }
            }
            first = false;
        }
    }

    /// Reads `[:alpha:]`. Returns false if it has no end, so that the bracket is a character of the class.
    fn named_class(&mut self) -> Parsed<bool> {
        if self.last_class_end < self.at + 2 {
            return Ok(false);
        }
        let start = self.at;
        let rest = &self.chars[start + 2..];
        let end = rest.windows(2).position(|pair| pair == CLASS_END).unwrap_or_default();
        let name: String = rest[..end].iter().collect();
        self.at += end + 4;
        if !CLASSES.contains(&name.strip_prefix('^').unwrap_or(&name)) {
            return Err(self.wrong(Flaw::CharacterRange, start));
        }
        self.out.push_str(&format!("[:{name}:]"));
        Ok(true)
    }

    /// Reads one character and returns its code point.
    fn class_char(&mut self, class: usize) -> Parsed<u32> {
        let c = self
            .peek(0)
            .ok_or_else(|| self.wrong_from(Flaw::MissingBracket, class))?;
        self.at += 1;
        match c {
            '\\' => return self.escaped_char(),
            '[' | ']' | '&' | '~' | '^' | '-' => {
                self.out.push('\\');
                self.out.push(c);
            }
            _ => self.out.push(c),
        }
        Ok(c.into())
    }
}
