//! Go's regular expressions in the `regex` crate's syntax. They have one ancestor; what differs is rewritten: Perl
//! classes and `\b` are ASCII in Go, `\Q…\E` and octal escapes exist, `[` in a class and a brace that counts nothing
//! are themselves, and Rust's set operations and `x` flag do not exist.

mod class;
mod count;
mod escape;
mod group;

use std::ops::Range;

use class::CLASS_END;
use count::Count;

use super::{BadPattern, Flaw};

/// A class of nothing: a surrogate is a character to Go, but one that no text has.
const NEVER: &str = "[a&&b]";

/// An expression as Rust takes it.
pub(super) struct Translated {
    pub(super) pattern: String,
    /// The names of groups with their numbers. Go takes names that Rust does not, and one for several groups, so that
    /// Rust is told of none.
    pub(super) names: Vec<(String, usize)>,
}

/// What is wrong, and with which characters.
type Parsed<T = ()> = Result<T, (Flaw, Range<usize>)>;

/// The expression in Rust's syntax.
///
/// # Errors
/// What Go would say.
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
    /// Where the last `:]` is; looking for one each time would take the square of the pattern's length.
    last_class_end: usize,
    /// Groups that capture, so far.
    groups: usize,
    names: Vec<(String, usize)>,
    /// Flags that are to hold from the next item on: a repetition that comes before it is of the last one.
    flags: String,
    /// For the whole and each open group: how often the most repeated of its items is.
    open: Vec<u32>,
    /// How often the most repeated part of the last item is.
    last: u32,
}

impl Translator {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// What is wrong with what stands between `start` and here.
    fn wrong(&self, flaw: Flaw, start: usize) -> (Flaw, Range<usize>) {
        (flaw, start..self.at.min(self.chars.len()))
    }

    /// What is wrong with all from `start` on.
    fn wrong_from(&self, flaw: Flaw, start: usize) -> (Flaw, Range<usize>) {
        (flaw, start..self.chars.len())
    }

    fn run(&mut self) -> Parsed {
        // Where the repetition began that ends here; Go refuses two in a row.
        let mut repetition = None;
        // Whether there is anything here to be repeated.
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

    /// Flags that were read hold from here on.
    fn set_flags(&mut self) {
        self.out.push_str(&std::mem::take(&mut self.flags));
    }

    /// The last item is no more to be repeated itself: it counts for the group around it, and another begins.
    fn settle(&mut self) {
        if let Some(around) = self.open.last_mut() {
            *around = self.last.max(*around);
        }
        self.last = 1;
    }
}
