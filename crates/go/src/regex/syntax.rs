//! Go's regular expressions in the `regex` crate's syntax. They have one ancestor; what differs is rewritten: Perl
//! classes and `\b` are ASCII in Go, `\Q…\E` and octal escapes exist, `[` in a class and a brace that counts nothing
//! are themselves, and Rust's set operations and `x` flag do not exist.

use std::collections::BTreeMap;

/// How often what stands before is repeated.
enum Count {
    /// `*`, `+` or `?`
    Any,
    Times {
        low: u32,
        high: Option<u32>,
    },
}

/// What may stand between `[:` and `:]`. To Rust any other name is a class of its letters.
const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// What a repetition may come to with those inside it.
const MOST_REPEATED: u32 = 1000;

/// A class of nothing: a surrogate is a character to Go, but one that no text has.
const NEVER: &str = "[a&&b]";

/// An expression as Rust takes it.
pub(super) struct Translated {
    pub(super) pattern: String,
    /// The names of groups with their numbers. Go takes names that Rust does not, and one for several groups, so that
    /// Rust is told of none.
    pub(super) names: Vec<(String, usize)>,
}

const CLASS_END: [char; 2] = [':', ']'];

/// `None` for what Go would refuse and Rust would take. And for a repetition right behind flags, as in `a(?i)*`: Go
/// takes that for one of the `a`.
pub(super) fn translate(pattern: &str) -> Option<Translated> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut translator = Translator {
        last_class_end: chars.windows(2).rposition(|pair| pair == CLASS_END).unwrap_or(0),
        chars,
        at: 0,
        out: String::with_capacity(pattern.len() + 16),
        groups: 0,
        names: Vec::new(),
        open: vec![1],
        last: 1,
    };
    translator.run()?;
    Some(Translated {
        pattern: translator.out,
        names: translator.names,
    })
}

struct Translator {
    chars: Vec<char>,
    at: usize,
    out: String,
    /// Where the last `:]` is; looking for one each time would take the square of the pattern's length.
    last_class_end: usize,
    /// Groups that capture, so far.
    groups: usize,
    names: Vec<(String, usize)>,
    /// For the whole and each open group: how often the most repeated of its items is.
    open: Vec<u32>,
    /// How often the most repeated part of the last item is.
    last: u32,
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
            let count = match c {
                '*' | '+' | '?' => Some(Count::Any),
                '{' => self.count()?,
                _ => None,
            };
            if let Some(count) = count {
                if was {
                    return None;
                }
                self.repeat(c, count)?;
                repeated = true;
                continue;
            }
            match c {
                '(' => {
                    self.settle()?;
                    self.group()?;
                    continue;
                }
                ')' => {
                    self.out.push(c);
                    self.settle()?;
                    self.last = self.open.pop()?;
                    continue;
                }
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '{' | '}' | ']' => self.out.extend(['\\', c]),
                _ => self.out.push(c),
            }
            self.settle()?;
        }
        Some(())
    }

    /// The last item is no more to be repeated itself: it counts for the group around it, and another begins.
    fn settle(&mut self) -> Option<()> {
        let around = self.open.last_mut()?;
        *around = self.last.max(*around);
        self.last = 1;
        Some(())
    }

    /// Counts multiply: what is in a repetition is repeated with it, a thousand times at most.
    fn repeat(&mut self, c: char, count: Count) -> Option<()> {
        match count {
            Count::Any => self.out.push(c),
            Count::Times { low, high } => {
                let times = high.unwrap_or(low);
                self.last = match (times, high) {
                    // Of nothing nothing is counted.
                    (0, Some(_)) => 1,
                    _ => self.last.saturating_mul(times.max(1)),
                };
                if times >= 2 && self.last > MOST_REPEATED {
                    return None;
                }
                let high = high.map_or(String::new(), |high| high.to_string());
                self.out.push_str(&format!("{{{low},{high}}}"));
            }
        }
        self.lazy();
        Some(())
    }

    fn lazy(&mut self) {
        if self.peek(0) == Some('?') {
            self.at += 1;
            self.out.push('?');
        }
    }

    /// `2}`, `2,}` or `2,3}`, which it passes; `Some(None)` if the brace is itself. `None` for more than Go counts to.
    fn count(&mut self) -> Option<Option<Count>> {
        let start = self.at;
        let counted = self.bounds();
        match counted {
            Some((low, high)) => {
                let fits = low.is_some_and(|low| high.is_none_or(|high| high.is_some_and(|high| low <= high)));
                let count = Count::Times {
                    low: low?,
                    high: high.flatten(),
                };
                fits.then_some(Some(count))
            }
            None => {
                self.at = start;
                Some(None)
            }
        }
    }

    /// The two numbers of a count, the second of which may be left out. Each is `None` if it is too big.
    fn bounds(&mut self) -> Option<(Option<u32>, Option<Option<u32>>)> {
        let low = self.number()?;
        let high = match self.peek(0)? {
            ',' => {
                self.at += 1;
                if self.peek(0)? == '}' {
                    None
                } else {
                    Some(self.number()?)
                }
            }
            _ => Some(low),
        };
        let end = self.peek(0)?;
        self.at += 1;
        (end == '}').then_some((low, high))
    }

    /// Digits without a zero before them.
    fn number(&mut self) -> Option<Option<u32>> {
        let rest = &self.chars[self.at..];
        let digits: String = rest.iter().take_while(|c| c.is_ascii_digit()).collect();
        if digits.is_empty() || digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        self.at += digits.len();
        Some(digits.parse().ok().filter(|number| *number <= MOST_REPEATED))
    }

    /// A group up to its content; the parenthesis is past. Flags that hold from here on are one without content.
    fn group(&mut self) -> Option<()> {
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
        match code {
            0xd800..=0xdfff => self.out.push_str(NEVER),
            0x11_0000.. => return None,
            _ => self.out.push_str(&format!("\\x{{{code:x}}}")),
        }
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
