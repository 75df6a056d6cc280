//! Go's `unicode` and `unicode/utf8`.

use std::sync::LazyLock;

use regex::Regex;

fn class(pattern: &'static str) -> Option<Regex> {
    // The pattern is a constant, so it compiles. Otherwise only ASCII characters would match.
    Regex::new(pattern).ok()
}

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident, $ascii:expr, $pattern:literal;)*) => {$(
        $(#[$doc])*
        pub fn $name(c: char) -> bool {
            if c.is_ascii() {
                let ascii: fn(char) -> bool = $ascii;
                return ascii(c);
            }
            static CLASS: LazyLock<Option<Regex>> = LazyLock::new(|| class($pattern));
            let mut buffer = [0; 4];
            CLASS.as_ref().is_some_and(|class| class.is_match(c.encode_utf8(&mut buffer)))
        }
    )*};
}

classes! {
    /// `unicode.IsLetter`
    is_letter, |c| c.is_ascii_alphabetic(), r"^\p{L}$";
    /// `unicode.IsDigit`
    is_digit, |c| c.is_ascii_digit(), r"^\p{Nd}$";
    /// `unicode.IsNumber`
    is_number, |c| c.is_ascii_digit(), r"^\p{N}$";
    /// `unicode.IsPunct`
    is_punct, |c| c.is_ascii_punctuation() && !"$+<=>^`|~".contains(c), r"^\p{P}$";
    /// `unicode.IsUpper`
    is_upper, |c| c.is_ascii_uppercase(), r"^\p{Lu}$";
    /// `unicode.IsLower`
    is_lower, |c| c.is_ascii_lowercase(), r"^\p{Ll}$";
    /// `unicode.IsTitle`
    is_title, |_| false, r"^\p{Lt}$";
    /// `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
    is_print, |c| c == ' ' || c.is_ascii_graphic(), r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$";
}

/// Whether the name of a variable or a field may contain the character: letters, digits and the underscore.
pub fn is_alphanumeric(c: char) -> bool {
    c == '_' || is_letter(c) || is_digit(c)
}

/// `unicode.IsSpace`
pub fn is_space(c: char) -> bool {
    // Go and Rust both use Unicode's White_Space.
    c.is_whitespace()
}

/// `unicode.ToUpper`. Go maps one rune to one rune, and keeps a rune whose upper case has several characters.
pub fn to_upper(c: char) -> char {
    one(c, c.to_uppercase())
}

/// `unicode.ToLower`
pub fn to_lower(c: char) -> char {
    if c == '\u{130}' {
        return 'i';
    }
    one(c, c.to_lowercase())
}

/// `unicode.ToTitle`
pub fn to_title(c: char) -> char {
    match c {
        'Ǆ' | 'ǅ' | 'ǆ' => 'ǅ',
        'Ǉ' | 'ǈ' | 'ǉ' => 'ǈ',
        'Ǌ' | 'ǋ' | 'ǌ' => 'ǋ',
        'Ǳ' | 'ǲ' | 'ǳ' => 'ǲ',
        _ => to_upper(c),
    }
}

fn one(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

/// A rune, or a byte of invalid UTF-8.
#[derive(Clone, Copy, PartialEq)]
pub enum Rune {
    /// A valid rune.
    Char(char),
    /// A byte of invalid UTF-8.
    Bad(u8),
}

impl Rune {
    /// The rune that Go's loops return: U+FFFD for an invalid byte.
    pub fn char(self) -> char {
        match self {
            Self::Char(c) => c,
            Self::Bad(_) => char::REPLACEMENT_CHARACTER,
        }
    }

    /// The length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "no rune is empty")]
    pub fn len(self) -> usize {
        match self {
            Self::Char(c) => c.len_utf8(),
            Self::Bad(_) => 1,
        }
    }
}

/// Iterates as Go's `range` over a string: every byte of an invalid sequence is one invalid rune.
pub fn runes(bytes: &[u8]) -> impl Iterator<Item = Rune> + '_ {
    bytes.utf8_chunks().flat_map(|chunk| {
        chunk
            .valid()
            .chars()
            .map(Rune::Char)
            .chain(chunk.invalid().iter().copied().map(Rune::Bad))
    })
}

/// `string([]rune(s))` with each rune mapped by `f`. Invalid bytes become U+FFFD before.
pub fn map(bytes: &[u8], mut f: impl FnMut(char) -> char) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for rune in runes(bytes) {
        push(&mut out, f(rune.char()));
    }
    out
}

/// Appends a character.
pub fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
