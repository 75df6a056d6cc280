//! Groups, their names, and flags.

use std::collections::BTreeMap;

use super::Translator;

impl Translator {
    /// A group up to its content; the parenthesis is past. Flags that hold from here on are one without content.
    pub(super) fn group(&mut self) -> Option<()> {
        if self.peek(0) != Some('?') {
            self.groups += 1;
            self.out.push('(');
            self.open.push(1);
            return Some(());
        }
        let name_at = match (self.peek(1), self.peek(2)) {
            (Some('P'), Some('<')) => 3,
            (Some('<'), _) => 2,
            _ => return self.flags(),
        };
        self.at += name_at;
        let name: String = self.chars[self.at..].iter().take_while(|c| **c != '>').collect();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        self.at += name.len();
        if self.peek(0)? != '>' {
            return None;
        }
        self.at += 1;
        // Without the name before it, it would begin flags.
        if self.peek(0) == Some('?') {
            return None;
        }
        self.groups += 1;
        self.names.push((name, self.groups));
        self.out.push('(');
        self.open.push(1);
        Some(())
    }

    /// `?i-s:` or `?i-s)`. Go lets a flag be set more than once, or none be set.
    fn flags(&mut self) -> Option<()> {
        self.at += 1;
        let mut flags: BTreeMap<char, bool> = BTreeMap::new();
        let mut on = true;
        let mut named = false;
        let end = loop {
            let c = self.peek(0)?;
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
                _ => return None,
            }
        };
        let set = |on: bool| -> String { flags.iter().filter(|flag| *flag.1 == on).map(|flag| flag.0).collect() };
        let (on, off) = (set(true), set(false));
        let off = if off.is_empty() { off } else { format!("-{off}") };
        if end == ':' {
            self.open.push(1);
        } else if flags.is_empty() {
            return Some(());
        }
        self.out.push_str(&format!("(?{on}{off}{end}"));
        Some(())
    }
}
