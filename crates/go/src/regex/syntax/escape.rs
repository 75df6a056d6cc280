//! What a backslash makes of what follows it.

use super::{NEVER, Translator};

impl Translator {
    pub(super) fn escape(&mut self, in_class: bool) -> Option<()> {
        let c = self.peek(0)?;
        self.at += 1;
        let class = |inside: &str, outside: &str| {
            if in_class {
                inside.to_owned()
            } else {
                outside.to_owned()
            }
        };
        let text = match c {
            'd' => class("0-9", "[0-9]"),
            'w' => class("0-9A-Za-z_", "[0-9A-Za-z_]"),
            's' => class("\\t\\n\\x0c\\r ", "[\\t\\n\\x0c\\r ]"),
            'D' => "[^0-9]".to_owned(),
            'W' => "[^0-9A-Za-z_]".to_owned(),
            'S' => "[^\\t\\n\\x0c\\r ]".to_owned(),
            'b' if !in_class => "(?-u:\\b)".to_owned(),
            'B' if !in_class => "(?-u:\\B)".to_owned(),
            'A' | 'z' if !in_class => format!("\\{c}"),
            'a' | 'f' | 't' | 'n' | 'r' | 'v' => format!("\\{c}"),
            'Q' if !in_class => return self.verbatim(),
            '0'..='7' => return self.octal(c),
            'x' => return self.hex(),
            'p' | 'P' => return self.property(c),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => {
                if c == '_'
                    || c == ' '
                    || c == '"'
                    || c == '\''
                    || !c.is_ascii_punctuation()
                    || "%,/:;=@`!<>".contains(c)
                {
                    c.to_string()
                } else {
                    format!("\\{c}")
                }
            }
            _ => return None,
        };
        self.out.push_str(&text);
        Some(())
    }

    fn verbatim(&mut self) -> Option<()> {
        while let Some(c) = self.peek(0) {
            self.at += 1;
            if c == '\\' && self.peek(0) == Some('E') {
                self.at += 1;
                break;
            }
            self.out.push_str(&::regex::escape(&c.to_string()));
        }
        Some(())
    }

    fn octal(&mut self, first: char) -> Option<()> {
        // A single digit but 0 would be a reference back.
        if first != '0' && !self.peek(0).is_some_and(|c| c.is_digit(8)) {
            return None;
        }
        let mut code = first.to_digit(8)?;
        for _ in 0..2 {
            let Some(digit) = self.peek(0).and_then(|c| c.to_digit(8)) else {
                break;
            };
            code = code * 8 + digit;
            self.at += 1;
        }
        self.out.push_str(&format!("\\x{{{code:x}}}"));
        Some(())
    }

    /// What stands between braces, of which the first is here.
    fn braced(&mut self) -> Option<String> {
        let inner: String = self.chars[self.at + 1..].iter().take_while(|c| **c != '}').collect();
        self.at += 1 + inner.chars().count();
        self.peek(0)?;
        self.at += 1;
        Some(inner)
    }

    fn hex(&mut self) -> Option<()> {
        let digits = if self.peek(0) == Some('{') {
            self.braced()?
        } else {
            self.at += 2;
            self.chars.get(self.at - 2..self.at)?.iter().collect()
        };
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        match u32::from_str_radix(&digits, 16).ok()? {
            0xd800..=0xdfff => self.out.push_str(NEVER),
            0x11_0000.. => return None,
            code => self.out.push_str(&format!("\\x{{{code:x}}}")),
        }
        Some(())
    }

    fn property(&mut self, mark: char) -> Option<()> {
        let mut negated = mark == 'P';
        let name: String = match self.peek(0)? {
            '{' => {
                let name = self.braced()?;
                match name.strip_prefix('^') {
                    Some(name) => {
                        negated = !negated;
                        name.to_owned()
                    }
                    None => name,
                }
            }
            c => {
                self.at += 1;
                c.to_string()
            }
        };
        // As Unicode has it, these do not matter in a name.
        let name = name.replace([' ', '-', '_'], "");
        // Rust passes over an `is` before it, too.
        let prefixed = name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("is"));
        if prefixed || name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return None;
        }
        self.out
            .push_str(&format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' }));
        Some(())
    }
}
