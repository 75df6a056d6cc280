//! Go's regular expressions in the `regex` crate's syntax. They have one ancestor; what differs is rewritten: Perl
//! classes and `\b` are ASCII in Go, `\Q…\E` and octal escapes exist, `[` in a class and a brace that counts nothing
//! are themselves, and Rust's set operations and `x` flag do not exist.

/// What may stand between `[:` and `:]`. To Rust any other name is a class of its letters.
const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// `None` for what Go would refuse and Rust would take.
pub(super) fn translate(pattern: &str) -> Option<String> {
    let mut translator = Translator {
        chars: pattern.chars().collect(),
        at: 0,
        out: String::with_capacity(pattern.len() + 16),
    };
    translator.run()?;
    Some(translator.out)
}

struct Translator {
    chars: Vec<char>,
    at: usize,
    out: String,
}

impl Translator {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn run(&mut self) -> Option<()> {
        // Whether what stands before was a repetition; Go refuses two in a row.
        let mut repeated = false;
        while let Some(c) = self.peek(0) {
            self.at += 1;
            let was = std::mem::take(&mut repeated);
            match c {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '(' => self.group()?,
                '*' | '+' | '?' => {
                    if was {
                        return None;
                    }
                    self.out.push(c);
                    self.lazy();
                    repeated = true;
                }
                '{' => match self.count() {
                    Some((text, length)) => {
                        if was {
                            return None;
                        }
                        self.out.push_str(&text);
                        self.at += length;
                        self.lazy();
                        repeated = true;
                    }
                    None => self.out.push_str("\\{"),
                },
                '}' => self.out.push_str("\\}"),
                ']' => self.out.push_str("\\]"),
                '$' => self.out.push('$'),
                _ => self.out.push(c),
            }
        }
        Some(())
    }

    fn lazy(&mut self) {
        if self.peek(0) == Some('?') {
            self.at += 1;
            self.out.push('?');
        }
    }

    /// `{2}`, `{2,}`, `{2,3}` behind the brace; at most 1000, as in Go.
    fn count(&self) -> Option<(String, usize)> {
        let rest: String = self.chars[self.at..].iter().take(12).collect();
        let inner = &rest[..rest.find('}')?];
        let (low, high) = inner.split_once(',').unwrap_or((inner, inner));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(low) || !(high.is_empty() || digits(high)) || low.len() > 1 && low.starts_with('0') {
            return None;
        }
        let big = |text: &str| text.parse::<u32>().map_or(!text.is_empty(), |number| number > 1000);
        if big(low) || big(high) {
            // No valid expression in either: an upper bound below the lower.
            return Some(("{2,1}".to_owned(), inner.len() + 1));
        }
        Some((format!("{{{inner}}}"), inner.len() + 1))
    }

    fn group(&mut self) -> Option<()> {
        self.out.push('(');
        if self.peek(0) != Some('?') {
            return Some(());
        }
        // Flags: i, m, s, U and no others.
        let mut ahead = 1;
        if matches!(self.peek(1), Some('P' | '<')) {
            return Some(());
        }
        while let Some(c) = self.peek(ahead) {
            match c {
                'i' | 'm' | 's' | 'U' | '-' => ahead += 1,
                ':' | ')' => break,
                _ => return None,
            }
        }
        self.at += ahead;
        let flags: String = self.chars[self.at - ahead..self.at].iter().collect();
        self.out.push_str(&flags);
        Some(())
    }

    /// A set's items one by one, as Go has them: a named class, a Perl or Unicode class, neither of which begins or ends
    /// a range, or a character that may begin one.
    fn class(&mut self) -> Option<()> {
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
                    self.class_char()?;
                    if self.peek(0) == Some('-') && self.peek(1).is_some_and(|c| c != ']') {
                        self.at += 1;
                        self.out.push('-');
                        self.class_char()?;
                    }
                }
            }
            first = false;
        }
    }

    /// `[:alpha:]`; false if nothing closes it, so that the bracket is one of the set.
    fn named_class(&mut self) -> Option<bool> {
        let rest = &self.chars[self.at + 2..];
        let Some(end) = rest.windows(2).position(|pair| pair == [':', ']']) else {
            return Some(false);
        };
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

    fn escape(&mut self, in_class: bool) -> Option<()> {
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

    fn hex(&mut self) -> Option<()> {
        let digits: String = if self.peek(0) == Some('{') {
            let rest: String = self.chars[self.at + 1..]
                .iter()
                .take_while(|c| **c != '}')
                .take(9)
                .collect();
            self.at += rest.chars().count() + 2;
            rest
        } else {
            self.at += 2;
            self.chars.get(self.at - 2..self.at)?.iter().collect()
        };
        let code = u32::from_str_radix(&digits, 16).ok()?;
        char::from_u32(code)?;
        self.out.push_str(&format!("\\x{{{code:x}}}"));
        Some(())
    }

    fn property(&mut self, mark: char) -> Option<()> {
        let mut negated = mark == 'P';
        let name: String = match self.peek(0)? {
            '{' => {
                let rest: String = self.chars[self.at + 1..].iter().take_while(|c| **c != '}').collect();
                self.at += rest.chars().count() + 2;
                match rest.strip_prefix('^') {
                    Some(rest) => {
                        negated = !negated;
                        rest.to_owned()
                    }
                    None => rest,
                }
            }
            c => {
                self.at += 1;
                c.to_string()
            }
        };
        let any = name == "Any";
        let known = name.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
        if !known || name.is_empty() && !any {
            return None;
        }
        self.out
            .push_str(&format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' }));
        Some(())
    }
}
