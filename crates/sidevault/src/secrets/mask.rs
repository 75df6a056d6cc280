//! Replaces secret values in a stream of bytes.
//!
//! Every byte of every occurrence of a value is replaced, also where occurrences overlap, where one value is a part of another,
//! and where a value arrives in pieces. Occurrences that overlap become one mask.
//!
//! The end of what has arrived is held back if it may be the beginning of a value. [`Masker::release`] lets it go where a whole
//! line would wait otherwise; the rest of the value is replaced nevertheless, if it comes.

use std::collections::HashMap;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::{Anchored, BuildError, dfa, nfa::contiguous};

/// Up to how many bytes of values a DFA is built. It is the fastest automaton, and takes up to 1 KiB for each byte.
const DFA_BYTES: usize = 8 << 10;

/// What is looked for, and what stands in its place.
pub(crate) struct Values {
    automaton: Box<dyn Search>,
    mask: Vec<u8>,
}

impl Values {
    /// These values; empty ones don't count. A line break at the end of a value stays visible, because programs often print a
    /// value without it.
    ///
    /// # Errors
    /// If there are more values than an automaton can hold.
    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>, mask: &str) -> Result<Self, BuildError> {
        let mut values: Vec<&[u8]> = values.into_iter().map(without_line_break).collect();
        values.retain(|value| !value.is_empty());
        values.sort_unstable();
        values.dedup();
        let bytes: usize = values.iter().map(|value| value.len()).sum();
        let automaton: Box<dyn Search> = if bytes <= DFA_BYTES {
            Box::new(Walk::new(dfa::Builder::new().prefilter(false).build(&values)?, &values))
        } else {
            Box::new(Walk::new(
                contiguous::Builder::new().prefilter(false).build(&values)?,
                &values,
            ))
        };
        Ok(Self {
            automaton,
            mask: mask.as_bytes().to_vec(),
        })
    }

    /// For one stream.
    pub(crate) fn masker(&self) -> Masker<'_> {
        Masker {
            values: self,
            state: self.automaton.start(),
            held: Vec::new(),
            at: 0,
            spans: Vec::new(),
        }
    }
}

fn without_line_break(value: &[u8]) -> &[u8] {
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    value.strip_suffix(b"\r").unwrap_or(value)
}

/// An automaton that finds all occurrences, overlapping ones included.
trait Search: Send + Sync {
    fn start(&self) -> StateID;

    /// Continues from a state through `bytes`. For each position at which values end, calls `found` with the number of bytes up
    /// to there, and the length of the longest of these values.
    fn walk(&self, state: StateID, bytes: &[u8], found: &mut dyn FnMut(usize, usize)) -> StateID;

    /// How many bytes at the end of the input may be the beginning of a value.
    fn depth(&self, state: StateID) -> usize;
}

struct Walk<A> {
    automaton: A,
    start: StateID,
    /// Bytes that no value begins with.
    stays_at_start: [bool; 256],
    /// The states in which the input ends with the beginning of a value that is not whole yet, and the length of that beginning.
    depths: HashMap<StateID, usize>,
}

impl<A: Automaton> Walk<A> {
    fn new(automaton: A, values: &[&[u8]]) -> Self {
        // Both automata are built for searches that are not anchored.
        let start = automaton.start_state(Anchored::No).unwrap_or_default();
        let next = |state, byte| automaton.next_state(Anchored::No, state, byte);
        let mut stays_at_start = [false; 256];
        for (byte, stays) in (0..=u8::MAX).zip(&mut stays_at_start) {
            *stays = next(start, byte) == start;
        }
        let walk = |bytes: &[u8]| bytes.iter().fold(start, |state, byte| next(state, *byte));
        let mut depths = HashMap::new();
        for value in values {
            let mut state = start;
            for (index, byte) in value[..value.len() - 1].iter().enumerate() {
                state = next(state, *byte);
                depths.insert(state, index + 1);
            }
        }
        // After a whole value, only its end may be the beginning of another one. Shorter values first, because the end of a value
        // may be a whole value.
        let mut by_length = values.to_vec();
        by_length.sort_by_key(|value| value.len());
        for value in by_length {
            let depth = depths.get(&walk(&value[1..])).copied().unwrap_or_default();
            depths.entry(walk(value)).or_insert(depth);
        }
        Self {
            start,
            stays_at_start,
            depths,
            automaton,
        }
    }
}

impl<A: Automaton + Send + Sync> Search for Walk<A> {
    fn start(&self) -> StateID {
        self.start
    }

    fn walk(&self, mut state: StateID, bytes: &[u8], found: &mut dyn FnMut(usize, usize)) -> StateID {
        let mut at = 0;
        while at < bytes.len() {
            if state == self.start {
                // Most bytes begin no value.
                match bytes[at..]
                    .iter()
                    .position(|byte| !self.stays_at_start[usize::from(*byte)])
                {
                    Some(skipped) => at += skipped,
                    None => return state,
                }
            }
            state = self.automaton.next_state(Anchored::No, state, bytes[at]);
            at += 1;
            if self.automaton.is_special(state) && self.automaton.is_match(state) {
                let lengths = (0..self.automaton.match_len(state))
                    .map(|index| self.automaton.pattern_len(self.automaton.match_pattern(state, index)));
                found(at, lengths.max().unwrap_or_default());
            }
        }
        state
    }

    fn depth(&self, state: StateID) -> usize {
        self.depths.get(&state).copied().unwrap_or_default()
    }
}

/// One stream on its way.
pub(crate) struct Masker<'a> {
    values: &'a Values,
    state: StateID,
    /// The input that is not written yet.
    held: Vec<u8>,
    /// How many bytes of input were written before `held`.
    at: usize,
    /// What is to be masked in `held`: first byte and end of each span, counted from the first byte of the input, in order and
    /// apart from each other.
    spans: Vec<(usize, usize)>,
}

impl Masker<'_> {
    /// Takes input, and appends to `out` what can be written.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let before = self.at + self.held.len();
        let (at, spans) = (self.at, &mut self.spans);
        self.state = self.values.automaton.walk(self.state, bytes, &mut |count, length| {
            let end = before + count;
            // The beginning of the value may have been released.
            let mut first = end.saturating_sub(length).max(at);
            while let Some((earlier, _)) = spans.pop_if(|(_, earlier_end)| first < *earlier_end) {
                first = first.min(earlier);
            }
            spans.push((first, end));
        });
        let end = before + bytes.len();
        let mut safe = end - self.values.automaton.depth(self.state).min(end - self.at);
        // A span that may yet grow waits as a whole.
        for (first, span_end) in self.spans.iter().rev() {
            if *span_end <= safe {
                break;
            }
            safe = safe.min(*first);
        }
        if self.held.is_empty() {
            let taken = self.write(bytes, safe - before.min(safe), out);
            self.held.extend_from_slice(&bytes[taken..]);
        } else {
            self.held.extend_from_slice(bytes);
            let held = std::mem::take(&mut self.held);
            let taken = self.write(&held, safe - self.at, out);
            self.held.extend_from_slice(&held[taken..]);
        }
    }

    /// Whether the input so far ends a line that waits, because it may be the beginning of a value of several lines.
    pub(crate) fn holds_a_line(&self) -> bool {
        self.held.ends_with(b"\n")
    }

    /// Whether anything waits.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Appends to `out` what waits.
    pub(crate) fn release(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        self.write(&held, held.len(), out);
    }

    /// Writes the first `count` bytes of the input that was not written yet. Returns that number.
    fn write(&mut self, bytes: &[u8], count: usize, out: &mut Vec<u8>) -> usize {
        let end = self.at + count;
        let mut from = 0;
        let mut done = 0;
        for (first, span_end) in &self.spans {
            if *span_end > end {
                break;
            }
            out.extend_from_slice(&bytes[from..first - self.at]);
            out.extend_from_slice(&self.values.mask);
            from = span_end - self.at;
            done += 1;
        }
        out.extend_from_slice(&bytes[from..count]);
        self.spans.drain(..done);
        self.at = end;
        count
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MASK: &str = "<*>";

    fn masked(values: &[&[u8]], pieces: &[&[u8]]) -> Vec<u8> {
        let values = Values::new(values.iter().copied(), MASK).unwrap();
        let mut masker = values.masker();
        let mut out = Vec::new();
        for piece in pieces {
            masker.push(piece, &mut out);
        }
        masker.release(&mut out);
        out
    }

    fn text(values: &[&str], pieces: &[&str]) -> String {
        let bytes = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
        let (values, pieces) = (bytes(values), bytes(pieces));
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        String::from_utf8(masked(&values, &pieces)).unwrap()
    }

    /// What should come out: every byte of every occurrence is masked, and a mask stands for each group of occurrences that
    /// overlap.
    fn expected(values: &[Vec<u8>], input: &[u8]) -> Vec<u8> {
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for value in values
            .iter()
            .map(|value| without_line_break(value))
            .filter(|value| !value.is_empty())
        {
            for at in 0..input.len() {
                if input[at..].starts_with(value) {
                    spans.push((at, at + value.len()));
                }
            }
        }
        spans.sort_unstable();
        let mut groups: Vec<(usize, usize)> = Vec::new();
        for (first, end) in spans {
            match groups.last_mut() {
                Some(last) if first < last.1 => last.1 = last.1.max(end),
                _ => groups.push((first, end)),
            }
        }
        let mut out = Vec::new();
        let mut from = 0;
        for (first, end) in groups {
            out.extend_from_slice(&input[from..first]);
            out.extend_from_slice(MASK.as_bytes());
            from = end;
        }
        out.extend_from_slice(&input[from..]);
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        // Few different bytes, so that values overlap and contain one another.
        #[test]
        fn any_pieces_give_what_the_whole_gives(
            values in proptest::collection::vec(proptest::collection::vec(proptest::sample::select(&b"ab\n"[..]), 0..5), 0..4),
            pieces in proptest::collection::vec(proptest::collection::vec(proptest::sample::select(&b"abc\n"[..]), 0..8), 0..8),
        ) {
            let input = pieces.concat();
            let refs: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(masked(&refs, &pieces), expected(&values, &input));
            let bytes: Vec<&[u8]> = input.chunks(1).collect();
            prop_assert_eq!(masked(&refs, &bytes), expected(&values, &input));
        }

        #[test]
        fn binary_output_passes(
            values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..4), 1..20),
            input in proptest::collection::vec(any::<u8>(), 0..600), split in 1_usize..64,
        ) {
            let refs: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            let pieces: Vec<&[u8]> = input.chunks(split).collect();
            prop_assert_eq!(masked(&refs, &pieces), expected(&values, &input));
        }

        #[test]
        fn a_value_split_at_any_byte_is_masked(value in "[a-z]{2,30}", before in "[A-Z ]{0,9}", at in 0_usize..30) {
            let whole = format!("{before}{value}{before}");
            let at = at.min(whole.len());
            let shown = text(&[&value], &[&whole[..at], &whole[at..]]);
            prop_assert_eq!(shown, format!("{before}{MASK}{before}"));
        }

        #[test]
        fn many_large_values_are_masked_as_few_small_ones_are(seed in "[a-z]{6}") {
            let values: Vec<Vec<u8>> = (0..40).map(|n| format!("{seed}-{n}-").repeat(40).into_bytes()).collect();
            let refs: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            let input = [b"x", &values[3][..], b"y", &values[39][..], b"z"].concat();
            let pieces: Vec<&[u8]> = input.chunks(7).collect();
            prop_assert_eq!(masked(&refs, &pieces), b"x<*>y<*>z".to_vec());
        }
    }

    #[test]
    fn text_that_begins_no_value_is_written_at_once() {
        let values = Values::new([&b"s3cret"[..]], MASK).unwrap();
        let mut masker = values.masker();
        let mut out = Vec::new();
        masker.push(b"hello\nwho s", &mut out);
        assert_eq!(out, b"hello\nwho ");
        masker.push(b"3cret", &mut out);
        assert_eq!(out, b"hello\nwho <*>");
        masker.push(b"s3cr\n", &mut out);
        assert_eq!(out, b"hello\nwho <*>s3cr\n");
    }

    #[test]
    fn a_released_line_is_not_written_twice_and_the_rest_of_its_value_is_masked() {
        let values = Values::new([&b"one\ntwo\nthree"[..]], MASK).unwrap();
        let mut masker = values.masker();
        let mut out = Vec::new();
        masker.push(b"x one\n", &mut out);
        assert!(out == b"x " && masker.holds_a_line());
        masker.release(&mut out);
        assert!(!masker.holds_a_line());
        masker.push(b"two\nthree.", &mut out);
        masker.release(&mut out);
        assert_eq!(out, b"x one\n<*>.");
    }

    #[test]
    fn a_line_break_at_the_end_of_a_value_stays() {
        assert_eq!(text(&["key\n", ""], &["a key\nb"]), "a <*>\nb");
        assert_eq!(text(&[], &["a"]), "a");
    }

    #[test]
    fn values_that_touch_are_two_masks_and_values_that_overlap_are_one() {
        assert_eq!(text(&["abc"], &["abcabc"]), "<*><*>");
        assert_eq!(text(&["abc", "cde"], &["abcde"]), "<*>");
        assert_eq!(text(&["b", "abcd"], &["abc abcd"]), "a<*>c <*>");
        assert_eq!(text(&["aba", "b"], &["a", "bab"]), "<*><*>");
        assert_eq!(text(&["aba", "b"], &["a", "bab", "a"]), "<*>");
    }
}
