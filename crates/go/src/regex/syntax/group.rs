//! Groups, their names, and flags.

use std::collections::BTreeMap;

use super::{Flaw, Parsed, Translator};

impl Translator {
    /// Reads the start of a group after its parenthesis. Returns false if it only sets flags and has no content.
    pub(super) fn group(&mut self, start: usize) -> Parsed<bool> {
        if self.peek(0) != Some('?') {
            self.groups += 1;
            self.open("(");
            return Ok(true);
        }
        let name_at = match [1, 2, 3].map(|ahead| self.peek(ahead)) {
            [Some('P'), Some('<'), Some(_)] => 3,
            [Some('<'), Some(_), _] => 2,
            _ => return self.flags(start),
        };
        self.at += name_at;
        let from = self.at;
        let length = self.chars[from..].iter().position(|c| *c == '>');
        let length = length.ok_or_else(|| self.wrong_from(Flaw::NamedCapture, start))?;
        self.at += length + 1;
        let name: String = self.chars[from..from + length].iter().collect();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(self.wrong(Flaw::NamedCapture, start));
        }
        self.groups += 1;
        self.names.push((name, self.groups));
        self.open("(");
        Ok(true)
    }

    fn open(&mut self, text: &str) {
        self.set_flags();
        self.settle();
        self.out.push_str(text);
        self.open.push(1);
    }

    /// Reads `?i-s:` or `?i-s)`. Go accepts repeated flags and an empty list of flags.
    fn flags(&mut self, start: usize) -> Parsed<bool> {
        self.at += 1;
        let mut flags: BTreeMap<char, bool> = BTreeMap::new();
        let mut on = true;
        let mut named = false;
        let end = loop {
            let Some(c) = self.peek(0) else {
                return Err(self.wrong(Flaw::PerlSyntax, start));
            };
            self.at += 1;
            match c {
                'i' | 'm' | 's' | 'U' => {
                    flags.insert(c, on);
                    named = true;
                }
                '-' if on => {
                    on = false;
                    named = false;
                }
                ':' | ')' if on || named => break c,
                _ => return Err(self.wrong(Flaw::PerlSyntax, start)),
            }
        };
        let set = |on: bool| -> String { flags.iter().filter(|flag| *flag.1 == on).map(|flag| flag.0).collect() };
        let (on, off) = (set(true), set(false));
        let off = if off.is_empty() { off } else { format!("-{off}") };
        let text = format!("(?{on}{off}{end}");
        match end {
            ':' => self.open(&text),
            _ if flags.is_empty() => {}
            _ => self.flags.push_str(&text),
        }
        Ok(end == ':')
    }
}
