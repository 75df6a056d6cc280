//! Repetitions, and their limit.

use super::{Flaw, Parsed, Translator};

/// How often the item before is repeated.
pub(super) enum Count {
    /// `*`, `+` or `?`
    Any,
    Times {
        low: u32,
        high: Option<u32>,
    },
}

/// The largest product of nested repeat counts.
const MOST_REPEATED: u32 = 1000;

impl Translator {
    /// Checks the product of nested repeat counts. Go allows 1000.
    pub(super) fn repeat(&mut self, c: char, count: Count, start: usize) -> Parsed {
        match count {
            Count::Any => self.out.push(c),
            Count::Times { low, high } => {
                let times = high.unwrap_or(low);
                self.last = match (times, high) {
                    // A repeat count of 0 repeats nothing.
                    (0, Some(_)) => 1,
                    _ => self.last.saturating_mul(times.max(1)),
                };
                if times >= 2 && self.last > MOST_REPEATED {
                    return Err(self.wrong(Flaw::RepeatCount, start));
                }
                let high = high.map_or(String::new(), |high| high.to_string());
                self.out.push_str(&format!("{{{low},{high}}}"));
            }
        }
        Ok(())
    }

    /// Reads the `?` of a non-greedy repetition.
    pub(super) fn lazy(&mut self) -> &'static str {
        match self.peek(0) {
            Some('?') => {
                self.at += 1;
                "?"
            }
            _ => "",
        }
    }

    /// Reads `2}`, `2,}` or `2,3}`. Returns `None` if the brace is a literal.
    pub(super) fn count(&mut self) -> Parsed<Option<Count>> {
        let start = self.at;
        match self.bounds() {
            Some((Some(low), None)) => Ok(Some(Count::Times { low, high: None })),
            Some((Some(low), Some(Some(high)))) if low <= high => Ok(Some(Count::Times { low, high: Some(high) })),
            Some(_) => Err(self.wrong(Flaw::RepeatCount, start - 1)),
            None => {
                self.at = start;
                Ok(None)
            }
        }
    }

    /// Reads the two numbers of a count, of which the second may be missing. Each is `None` if it is too large.
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

    /// Reads digits without a leading zero.
    fn number(&mut self) -> Option<Option<u32>> {
        let rest = &self.chars[self.at..];
        let digits: String = rest.iter().take_while(|c| c.is_ascii_digit()).collect();
        if digits.is_empty() || digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        self.at += digits.len();
        Some(digits.parse().ok().filter(|number| *number <= MOST_REPEATED))
    }
}
