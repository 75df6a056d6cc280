//! `xstrings`: joins words in `snake_case`, `kebab-case` and `PascalCase`.

use crate::go::unicode::{
    self, Rune, is_letter, is_lower, is_number, is_punct, is_space, is_title, is_upper, push, runes,
};

fn connector(c: char) -> bool {
    c == '-' || c == '_' || is_space(c)
}

/// `xstrings.ToPascalCase`
pub(super) fn pascal(bytes: &[u8]) -> Vec<u8> {
    let chars: Vec<char> = runes(bytes).map(Rune::char).collect();
    let mut out = Vec::new();
    let Some(start) = chars.iter().position(|c| !connector(*c)) else {
        // The text has connectors only. As in the original, the last is written twice.
        chars.iter().for_each(|c| push(&mut out, *c));
        if let Some(last) = chars.last() {
            push(&mut out, *last);
        }
        return out;
    };
    chars[..start].iter().for_each(|c| push(&mut out, *c));
    let mut first_upper = is_upper(chars[start]);
    let mut current = unicode::to_upper(chars[start]);
    for &next in &chars[start + 1..] {
        let before = current;
        current = next;
        if connector(current) && connector(before) {
            push(&mut out, before);
            continue;
        }
        if connector(before) {
            first_upper = is_upper(current);
            current = unicode::to_upper(current);
        } else {
            if first_upper {
                if is_upper(current) {
                    current = unicode::to_lower(current);
                } else {
                    first_upper = false;
                }
            }
            push(&mut out, before);
        }
    }
    push(&mut out, current);
    out
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Word {
    Invalid,
    Number,
    Upper,
    Alphabet,
    Connector,
    Punct,
    Other,
}

/// Whether `xstrings` counts the character as a letter: ideograms are not.
fn alphabet(c: char) -> bool {
    is_letter(c) && (is_upper(c) || is_lower(c) || is_title(c))
}

/// Finds the next run of characters of one kind, and counts them.
fn next_word(chars: &[char]) -> (Word, usize) {
    let run =
        |from: usize, belongs: &dyn Fn(char) -> bool| from + chars[from..].iter().take_while(|c| belongs(**c)).count();
    let Some(&first) = chars.first() else {
        return (Word::Invalid, 0);
    };
    if connector(first) {
        return (Word::Connector, run(1, &connector));
    }
    if is_punct(first) {
        return (Word::Punct, run(1, &is_punct));
    }
    let lower_letter = |c: char| alphabet(c) && !is_upper(c);
    if is_upper(first) {
        let end = match chars.get(1) {
            Some(second) if is_upper(*second) => {
                let end = run(2, &is_upper);
                // `HTTPStatus` consists of `HTTP` and `Status`.
                if chars.get(end).is_some_and(|c| alphabet(*c)) {
                    end - 1
                } else {
                    end
                }
            }
            Some(second) if alphabet(*second) => run(2, &lower_letter),
            _ => 1,
        };
        return (Word::Upper, end);
    }
    if alphabet(first) {
        return (Word::Alphabet, run(1, &lower_letter));
    }
    if is_number(first) {
        return (Word::Number, run(1, &is_number));
    }
    let other = |c: char| !(connector(c) || alphabet(c) || is_number(c) || is_punct(c));
    (Word::Other, run(1, &other))
}

struct Words<'c> {
    rest: &'c [char],
    out: Vec<u8>,
    mark: char,
}

impl<'c> Words<'c> {
    fn next(&mut self) -> (Word, &'c [char]) {
        let (word, length) = next_word(self.rest);
        let (found, rest) = self.rest.split_at(length);
        self.rest = rest;
        (word, found)
    }

    fn write(&mut self, word: Word, chars: &[char]) {
        for &c in chars {
            let c = match word {
                Word::Upper | Word::Connector if connector(c) => self.mark,
                Word::Upper | Word::Connector if is_upper(c) => unicode::to_lower(c),
                _ => c,
            };
            push(&mut self.out, c);
        }
    }

    fn mark(&mut self) {
        push(&mut self.out, self.mark);
    }
}

/// `xstrings.ToSnakeCase` and `ToKebabCase`.
pub(super) fn separated(bytes: &[u8], mark: char) -> Vec<u8> {
    // An invalid byte belongs to the word around it. As U+FFFD it would split the word.
    let chars: Vec<char> = runes(bytes).map(Rune::char).collect();
    let mut words = Words {
        rest: &chars,
        out: Vec::new(),
        mark,
    };
    let (mut kind, mut word) = words.next();
    while !words.rest.is_empty() {
        if kind != Word::Connector {
            words.write(kind, word);
        }
        let (before, last) = (kind, word);
        (kind, word) = words.next();
        match before {
            Word::Number => {
                while matches!(kind, Word::Alphabet | Word::Number) {
                    words.write(kind, word);
                    (kind, word) = words.next();
                }
                if !matches!(kind, Word::Invalid | Word::Punct | Word::Connector) {
                    words.mark();
                }
            }
            Word::Connector => words.write(before, last),
            Word::Punct => {}
            _ => {
                if kind != Word::Number {
                    if !matches!(kind, Word::Connector | Word::Punct) {
                        words.mark();
                    }
                    continue;
                }
                if words.rest.is_empty() {
                    continue;
                }
                let number = word;
                (kind, word) = words.next();
                // A number belongs to the word before it: `bld4_floor`.
                if kind != Word::Alphabet {
                    words.write(Word::Number, number);
                    if !matches!(kind, Word::Connector | Word::Punct) {
                        words.mark();
                    }
                    continue;
                }
                // But not if lower-case letters follow: `http_2xx`.
                words.mark();
                words.write(Word::Number, number);
                while matches!(kind, Word::Alphabet | Word::Number) {
                    words.write(kind, word);
                    (kind, word) = words.next();
                }
                if !matches!(kind, Word::Invalid | Word::Connector | Word::Punct) {
                    words.mark();
                }
            }
        }
    }
    words.write(kind, word);
    words.out
}
