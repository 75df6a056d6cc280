//! Sets of characters in brackets.

use super::{NEVER, Translator};

/// What may stand between `[:` and `:]`. To Rust any other name is a class of its letters.
const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// What ends a named class.
pub(super) const CLASS_END: [char; 2] = [':', ']'];

impl Translator {
    /// A set's items one by one, as Go has them: a named class, a Perl or Unicode class, neither of which begins or ends
    /// a range, or a character that may begin one.
    pub(super) fn class(&mut self) -> Option<()> {
        self.out.push('[');
        if self.peek(0) == Some('^') {
            self.at += 1;
            self.out.push('^');
        }
        let mut first = true;
        loop {
            match (self.peek(0)?, self.peek(1)) {
                (']', _) if !first => {
                    self.at += 1;
                    self.out.push(']');
                    return Some(());
                }
                ('[', Some(':')) if self.named_class()? => {}
                ('\\', Some('d' | 'D' | 'w' | 'W' | 's' | 'S' | 'p' | 'P')) => {
                    self.at += 1;
                    self.escape(true)?;
                }
                _ => {
                    let start = self.out.len();
                    self.class_char()?;
                    if self.peek(0) == Some('-') && self.peek(1).is_some_and(|c| c != ']') {
                        self.at += 1;
                        self.out.push('-');
                        self.class_char()?;
                        if self.out[start..].contains(NEVER) {
                            return None;
                        }
                    }
                }
            }
            first = false;
        }
    }

    /// `[:alpha:]`; false if nothing closes it, so that the bracket is one of the set.
    fn named_class(&mut self) -> Option<bool> {
        if self.last_class_end < self.at + 2 {
            return Some(false);
        }
        let rest = &self.chars[self.at + 2..];
        let end = rest.windows(2).position(|pair| pair == CLASS_END)?;
        let name: String = rest[..end].iter().collect();
        if !CLASSES.contains(&name.strip_prefix('^').unwrap_or(&name)) {
            return None;
        }
        self.out.push_str(&format!("[:{name}:]"));
        self.at += end + 4;
        Some(true)
    }

    fn class_char(&mut self) -> Option<()> {
        let c = self.peek(0)?;
        self.at += 1;
        match c {
            '\\' if matches!(self.peek(0), Some('d' | 'D' | 'w' | 'W' | 's' | 'S' | 'p' | 'P')) => return None,
            '\\' => return self.escape(true),
            '[' | ']' | '&' | '~' | '^' | '-' => {
                self.out.push('\\');
                self.out.push(c);
            }
            _ => self.out.push(c),
        }
        Some(())
    }
}
