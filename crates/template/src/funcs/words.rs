//! sprig: case, words and wrapping.

use super::{Ctx, Func, Ran, Ty, f, int, text};
use crate::go::unicode::{
    self, Rune, is_letter, is_lower, is_number, is_punct, is_space, is_title, is_upper, push, runes,
};
use crate::go::val::Val;

pub(super) const TABLE: &[Func] = &[
    f("title", &[Ty::Str], title),
    f("untitle", &[Ty::Str], untitle),
    f("swapcase", &[Ty::Str], swapcase),
    f("nospace", &[Ty::Str], nospace),
    f("initials", &[Ty::Str], initials),
    f("snakecase", &[Ty::Str], |ctx, args| {
        ctx.text(separated(text(args, 0), '_'))
    }),
    f("kebabcase", &[Ty::Str], |ctx, args| {
        ctx.text(separated(text(args, 0), '-'))
    }),
    f("camelcase", &[Ty::Str], |ctx, args| ctx.text(pascal(text(args, 0)))),
    f("wrap", &[Ty::Int, Ty::Str], |ctx, args| {
        let out = wrap(text(args, 1), int(args, 0), b"", false);
        ctx.text(out)
    }),
    f("wrapWith", &[Ty::Int, Ty::Str, Ty::Str], |ctx, args| {
        let lines = text(args, 2).len() / usize::try_from(int(args, 0)).unwrap_or(1).max(1) + 1;
        ctx.reserve(lines.saturating_mul(text(args, 1).len()))?;
        let out = wrap(text(args, 2), int(args, 0), text(args, 1), true);
        ctx.text(out)
    }),
];

/// `strings.Title`: an upper-case letter where a word begins.
fn title(ctx: &mut Ctx, args: &[Val]) -> Ran {
    let mut before = ' ';
    let out = unicode::map(text(args, 0), |c| {
        let word = |c: char| {
            if c.is_ascii() {
                c.is_ascii_alphanumeric() || c == '_'
            } else {
                is_letter(c) || unicode::is_digit(c) || !is_space(c)
            }
        };
        let starts = !word(before);
        before = c;
        if starts { unicode::to_title(c) } else { c }
    });
    ctx.text(out)
}

fn untitle(ctx: &mut Ctx, args: &[Val]) -> Ran {
    let mut starts = true;
    let out = unicode::map(text(args, 0), |c| {
        if is_space(c) {
            starts = true;
        } else if std::mem::take(&mut starts) {
            return unicode::to_lower(c);
        }
        c
    });
    ctx.text(out)
}

fn swapcase(ctx: &mut Ctx, args: &[Val]) -> Ran {
    let mut space = true;
    let out = unicode::map(text(args, 0), |c| {
        if is_upper(c) || is_title(c) {
            space = false;
            return unicode::to_lower(c);
        }
        if is_lower(c) {
            return if std::mem::take(&mut space) {
                unicode::to_title(c)
            } else {
                unicode::to_upper(c)
            };
        }
        if is_letter(c) {
            space = false;
            return c;
        }
        space = is_space(c);
        c
    });
    ctx.text(out)
}

/// goutils looks at bytes, and takes each for a rune.
fn latin_space(byte: u8) -> bool {
    is_space(char::from(byte))
}

fn nospace(ctx: &mut Ctx, args: &[Val]) -> Ran {
    let bytes = text(args, 0);
    if !bytes.iter().any(|byte| latin_space(*byte)) {
        return ctx.text(bytes);
    }
    let mut out = Vec::new();
    for byte in bytes.iter().filter(|byte| !latin_space(**byte)) {
        push(&mut out, char::from(*byte));
    }
    ctx.text(out)
}

fn initials(ctx: &mut Ctx, args: &[Val]) -> Ran {
    let mut out = Vec::new();
    let mut gap = true;
    for byte in text(args, 0) {
        if latin_space(*byte) {
            gap = true;
        } else if std::mem::take(&mut gap) {
            push(&mut out, char::from(*byte));
        }
    }
    ctx.text(out)
}

/// `goutils.WrapCustom`, which counts bytes.
fn wrap(bytes: &[u8], width: i64, newline: &[u8], long_words: bool) -> Vec<u8> {
    let newline = if newline.is_empty() { b"\n" } else { newline };
    let width = usize::try_from(width).unwrap_or(1).max(1);
    let mut out = Vec::new();
    let mut offset = 0;
    while bytes.len() - offset > width {
        if bytes[offset] == b' ' {
            offset += 1;
            continue;
        }
        let end = offset + width;
        if let Some(space) = bytes[offset..=end].iter().rposition(|byte| *byte == b' ') {
            out.extend_from_slice(&bytes[offset..offset + space]);
            out.extend_from_slice(newline);
            offset += space + 1;
        } else if long_words {
            out.extend_from_slice(&bytes[offset..end]);
            out.extend_from_slice(newline);
            offset = end;
        } else {
            match bytes[end..].iter().position(|byte| *byte == b' ') {
                None => break,
                Some(space) => {
                    out.extend_from_slice(&bytes[offset..end + space]);
                    out.extend_from_slice(newline);
                    offset = end + space + 1;
                }
            }
        }
    }
    out.extend_from_slice(&bytes[offset..]);
    out
}

fn connector(c: char) -> bool {
    c == '-' || c == '_' || is_space(c)
}

/// `xstrings.ToPascalCase`
fn pascal(bytes: &[u8]) -> Vec<u8> {
    let chars: Vec<char> = runes(bytes).map(Rune::char).collect();
    let mut out = Vec::new();
    let Some(start) = chars.iter().position(|c| !connector(*c)) else {
        // Nothing but connectors; the last is written twice over, as the original does.
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

/// Letters that have case, as `xstrings` means them: no ideograms.
fn alphabet(c: char) -> bool {
    is_letter(c) && (is_upper(c) || is_lower(c) || is_title(c))
}

/// The next run of characters of one kind, and how many they are.
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
                // `HTTPStatus` is `HTTP` and `Status`.
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
fn separated(bytes: &[u8], mark: char) -> Vec<u8> {
    // Bad bytes go with the word they are in; as U+FFFD they would split it.
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
                // A number belongs to the word before: `bld4_floor`.
                if kind != Word::Alphabet {
                    words.write(Word::Number, number);
                    if !matches!(kind, Word::Connector | Word::Punct) {
                        words.mark();
                    }
                    continue;
                }
                // Unless small letters follow: `http_2xx`.
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
