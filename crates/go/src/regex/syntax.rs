//! Translates Go's regular expressions to the syntax of the crate `regex`. Both descend from RE2. In Go, Perl classes
//! and `\b` are ASCII; `\Q…\E` and octal escapes exist; `[` in a class and `{` without a count are literals; Rust's set
//! operations and the flag `x` do not exist.

mod class;
mod count;
mod escape;
mod group;

use std::ops::Range;

use class::CLASS_END;
use count::Count;

use super::{BadPattern, Flaw};

/// A class that matches nothing. It stands for a surrogate, which Go accepts and no text contains.
const NEVER: &str = "[a&&b]";

/// A translated expression.
pub(super) struct Translated {
    pub(super) pattern: String,
    /// The names of groups, with their numbers. The translated expression has no names, because Go accepts names that
    /// Rust does not, and the same name for several groups.
    pub(super) names: Vec<(String, usize)>,
}

/// The error, and the range of the expression that is wrong.
type Parsed<T = ()> = Result<T, (Flaw, Range<usize>)>;

/// Translates an expression.
///
/// # Errors
/// The error that Go reports.
pub(super) fn translate(pattern: &str) -> Result<Translated, BadPattern> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut translator = Translator {
        last_class_end: chars.windows(2).rposition(|pair| pair == CLASS_END).unwrap_or(0),
        chars,
        at: 0,
        out: String::with_capacity(pattern.len() + 16),
        groups: 0,
        names: Vec::new(),
        flags: String::new(),
        open: vec![1],
        last: 1,
    };
    match translator.run() {
        Ok(()) => Ok(Translated {
            pattern: translator.out,
            names: translator.names,
        }),
        Err((flaw, range)) => {
            let byte = |at: usize| translator.chars[..at].iter().map(|c| c.len_utf8()).sum();
            let at = byte(range.start)..byte(range.end);
            Err(BadPattern { flaw, at })
        }
    }
}

struct Translator {
    chars: Vec<char>,
    at: usize,
    out: String,
    /// The position of the last `:]`. Searching it at each bracket would take the square of the pattern's length.
    last_class_end: usize,
    /// The number of capturing groups so far.
    groups: usize,
    names: Vec<(String, usize)>,
    /// Flags that were read and are written before the next item. A repetition in between belongs to the item before.
    flags: String,
    /// For the whole expression and each open group, the largest repeat count of its items.
    open: Vec<u32>,
    /// The largest repeat count inside of the last item.
    last: u32,
}

impl Translator {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// An error in the range from `start` to the current position.
    fn wrong(&self, flaw: Flaw, start: usize) -> (Flaw, Range<usize>) {
        (flaw, start..self.at.min(self.chars.len()))
    }

    /// An error in the range from `start` to the end.
    fn wrong_from(&self, flaw: Flaw, start: usize) -> (Flaw, Range<usize>) {
        (flaw, start..self.chars.len())
    }

    fn run(&mut self) -> Parsed {
        // The start of the repetition that ends here. Go refuses two repetitions in a row.
        let mut repetition = None;
        // Whether there is an item that can be repeated.
        let mut repeatable = false;
        while let Some(c) = self.peek(0) {
            let start = self.at;
            self.at += 1;
            let before = repetition.take();
            let count = match c {
                '*' | '+' | '?' => Some(Count::Any),
                '{' => self.count()?,
                _ => None,
            };
            if let Some(count) = count {
                let lazy = self.lazy();
                if let Some(before) = before {
                    return Err(self.wrong(Flaw::NestedRepetition, before));
                }
                if !repeatable {
                    return Err(self.wrong(Flaw::NothingToRepeat, start));
                }
                self.repeat(c, count, start)?;
                self.out.push_str(lazy);
                repetition = Some(start);
                continue;
            }
            if c == '(' {
                repeatable &= !self.group(start)?;
                continue;
            }
            self.set_flags();
            let length = self.out.len();
            match c {
                ')' => {
                    self.out.push(c);
                    self.settle();
                    self.last = self.open.pop().unwrap_or(1);
                    if self.open.is_empty() {
                        return Err(self.wrong_from(Flaw::UnexpectedParenthesis, 0));
                    }
                    repeatable = true;
                    continue;
                }
                '\\' => self.escape(false)?,
                '[' => self.class(start)?,
                '{' | '}' | ']' => self.out.extend(['\\', c]),
                _ => self.out.push(c),
            }
            repeatable = c != '|' && (repeatable || self.out.len() > length);
            self.settle();
        }
        match self.open.len() {
            1 => Ok(()),
            _ => Err(self.wrong_from(Flaw::MissingParenthesis, 0)),
        }
    }

    /// Applies flags that were read.
    fn set_flags(&mut self) {
        self.out.push_str(&std::mem::take(&mut self.flags));
    }

    /// Ends the last item, and updates the largest repeat count of the group around it.
    fn settle(&mut self) {
        if let Some(around) = self.open.last_mut() {
            *around = self.last.max(*around);
        }
        self.last = 1;
    }
}
