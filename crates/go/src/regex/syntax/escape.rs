//! Escapes: a backslash and what follows it.

use super::{Flaw, NEVER, Parsed, Translator};

impl Translator {
    /// Reads a class, an assertion, quoted text or a character, after its backslash.
    pub(super) fn escape(&mut self, in_class: bool) -> Parsed {
        let class = |inside: &str, outside: &str| {
            if in_class {
                inside.to_owned()
            } else {
                outside.to_owned()
            }
        };
        let text = match self.peek(0) {
            Some('d') => class("0-9", "[0-9]"),
            Some('w') => class("0-9A-Za-z_", "[0-9A-Za-z_]"),
            Some('s') => class("\\t\\n\\x0c\\r ", "[\\t\\n\\x0c\\r ]"),
            Some('D') => "[^0-9]".to_owned(),
            Some('W') => "[^0-9A-Za-z_]".to_owned(),
            Some('S') => "[^\\t\\n\\x0c\\r ]".to_owned(),
            Some('b') if !in_class => "(?-u:\\b)".to_owned(),
            Some('B') if !in_class => "(?-u:\\B)".to_owned(),
            Some(c @ ('A' | 'z')) if !in_class => format!("\\{c}"),
            Some('Q') if !in_class => {
                self.verbatim();
                return Ok(());
            }
            Some(mark @ ('p' | 'P')) => return self.property(mark),
            _ => return self.escaped_char().map(drop),
        };
        self.at += 1;
        self.out.push_str(&text);
        Ok(())
    }

    /// Reads one character after its backslash and returns its code point.
    pub(super) fn escaped_char(&mut self) -> Parsed<u32> {
        let start = self.at - 1;
        let Some(c) = self.peek(0) else {
            return Err(self.wrong(Flaw::TrailingBackslash, self.at));
        };
        self.at += 1;
        let code = match c {
            'a' => 0x07,
            't' => 0x09,
            'n' => 0x0a,
            'v' => 0x0b,
            'f' => 0x0c,
            'r' => 0x0d,
            // A single digit other than 0 would be a back reference.
            '0' => self.octal(0),
            '1'..='7' if self.peek(0).is_some_and(|c| c.is_digit(8)) => self.octal(c.to_digit(8).unwrap_or_default()),
            'x' => match self.hex() {
                Some(code) => code,
                None => return Err(self.wrong(Flaw::Escape, start)),
            },
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => c.into(),
            _ => return Err(self.wrong(Flaw::Escape, start)),
        };
        match char::from_u32(code) {
            Some(_) => self.out.push_str(&format!("\\x{{{code:x}}}")),
            None => self.out.push_str(NEVER),
        }
        Ok(code)
    }

    fn verbatim(&mut self) {
        self.at += 1;
        while let Some(c) = self.peek(0) {
            self.at += 1;
            if c == '\\' && self.peek(0) == Some('E') {
                self.at += 1;
                break;
            }
            self.out.push_str(&::regex::escape(&c.to_string()));
        }
    }

    fn octal(&mut self, first: u32) -> u32 {
        let mut code = first;
        for _ in 0..2 {
            let Some(digit) = self.peek(0).and_then(|c| c.to_digit(8)) else {
                break;
            };
            code = code * 8 + digit;
            self.at += 1;
        }
        code
    }

    /// Reads two hexadecimal digits, or any number of them between braces.
    fn hex(&mut self) -> Option<u32> {
        let mut next = || {
            self.at += 1;
            self.chars.get(self.at - 1).copied()
        };
        let first = next()?;
        if first != '{' {
            let (first, second) = (first.to_digit(16), next()?.to_digit(16));
            return Some(first? * 16 + second?);
        }
        let (mut code, mut digits) = (0, 0);
        loop {
            match next()? {
                '}' => return (digits > 0).then_some(code),
                digit => code = code * 16 + digit.to_digit(16)?,
            }
            digits += 1;
            if code > u32::from(char::MAX) {
                return None;
            }
        }
    }

    fn property(&mut self, mark: char) -> Parsed {
        let start = self.at - 1;
        self.at += 1;
        let name: String = match self.peek(0) {
            Some('{') => {
                let rest = &self.chars[self.at + 1..];
                let length = rest.iter().position(|c| *c == '}');
                let length = length.ok_or_else(|| self.wrong_from(Flaw::CharacterRange, start))?;
                self.at += length + 2;
                rest[..length].iter().collect()
            }
            Some(c) => {
                self.at += 1;
                c.into()
            }
            None => String::new(),
        };
        let (mark, name) = match (mark, name.strip_prefix('^')) {
            (mark, None) => (mark, name.as_str()),
            ('p', Some(name)) => ('P', name),
            (_, Some(name)) => ('p', name),
        };
        // Unicode ignores these characters in the names of properties.
        let name = name.replace([' ', '-', '_'], "");
        // Rust also ignores the prefix `is`.
        let prefixed = name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("is"));
        let is_name = !prefixed && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
        let property = format!("\\{mark}{{{name}}}");
        if !is_name || regex_syntax::parse(&property).is_err() {
            return Err(self.wrong(Flaw::CharacterRange, start));
        }
        self.out.push_str(&property);
        Ok(())
    }
}
