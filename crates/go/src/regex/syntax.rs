//! Go's regular expressions in the `regex` crate's syntax. They have one ancestor; what differs is rewritten: Perl
//! classes and `\b` are ASCII in Go, `\Q…\E` and octal escapes exist, `[` in a class and a brace that counts nothing
//! are themselves, and Rust's set operations and `x` flag do not exist.

mod class;
mod count;
mod escape;
mod group;

use class::CLASS_END;
use count::Count;

/// A class of nothing: a surrogate is a character to Go, but one that no text has.
const NEVER: &str = "[a&&b]";

/// An expression as Rust takes it.
pub(super) struct Translated {
    pub(super) pattern: String,
    /// The names of groups with their numbers. Go takes names that Rust does not, and one for several groups, so that
    /// Rust is told of none.
    pub(super) names: Vec<(String, usize)>,
}

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
}
