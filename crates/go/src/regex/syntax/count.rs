//! Repetitions, and how much they come to.

use super::{Flaw, Parsed, Translator};

/// How often what stands before is repeated.
pub(super) enum Count {
    /// `*`, `+` or `?`
    Any,
    Times {
        low: u32,
        high: Option<u32>,
    },
}

/// What a repetition may come to with those inside it.
const MOST_REPEATED: u32 = 1000;

impl Translator {
    /// Counts multiply: what is in a repetition is repeated with it, a thousand times at most.
    pub(super) fn repeat(&mut self, c: char, count: Count, start: usize) -> Parsed {
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
                    return Err(self.wrong(Flaw::RepeatCount, start));
                }
                let high = high.map_or(String::new(), |high| high.to_string());
                self.out.push_str(&format!("{{{low},{high}}}"));
            }
        }
        Ok(())
    }

    /// The mark of a repetition that takes as little as it can.
    pub(super) fn lazy(&mut self) -> &'static str {
        match self.peek(0) {
            Some('?') => {
                self.at += 1;
                "?"
            }
            _ => "",
        }
    }

    /// `2}`, `2,}` or `2,3}`, which it passes; `None` if the brace is itself.
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
}
