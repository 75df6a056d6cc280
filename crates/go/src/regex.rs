//! Go's `regexp`, executed by the crate `regex`.

mod syntax;

use std::ops::Range;

use regex::bytes::{self, Captures, Match, RegexBuilder};

use crate::unicode::{self, Rune};

/// The largest compiled program, in bytes. It also bounds the work of compiling.
const SIZE_LIMIT: usize = 2 << 20;

/// What is wrong with an expression: Go's `regexp/syntax.ErrorCode`, with its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it is")]
pub enum Flaw {
    #[error("invalid character class range")]
    CharacterRange,
    #[error("invalid escape sequence")]
    Escape,
    #[error("missing closing ]")]
    MissingBracket,
    #[error("missing closing )")]
    MissingParenthesis,
    #[error("invalid named capture")]
    NamedCapture,
    #[error("invalid nested repetition operator")]
    NestedRepetition,
    #[error("missing argument to repetition operator")]
    NothingToRepeat,
    #[error("invalid or unsupported Perl syntax")]
    PerlSyntax,
    #[error("invalid repeat count")]
    RepeatCount,
    #[error("expression nests too deeply")]
    TooDeep,
    #[error("expression too large")]
    TooLarge,
    #[error("trailing backslash at end of expression")]
    TrailingBackslash,
    #[error("unexpected )")]
    UnexpectedParenthesis,
}

/// The expression is invalid. The text does not quote the expression, because a template may make one from secret
/// values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {flaw}")]
pub struct BadPattern {
    /// What is wrong.
    pub flaw: Flaw,
    /// The range of bytes in the expression that is wrong.
    at: Range<usize>,
}

impl BadPattern {
    /// Go's text, with the part of the expression that is wrong.
    pub fn quoting(&self, pattern: &str) -> String {
        format!("{self}: `{}`", pattern.get(self.at.clone()).unwrap_or_default())
    }
}

/// A compiled regular expression. `Debug` does not show the expression.
#[derive(Clone)]
pub struct Regex {
    program: bytes::Regex,
    names: Vec<(String, usize)>,
}

impl std::fmt::Debug for Regex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Regex(..)")
    }
}

impl Regex {
    /// `regexp.Compile`
    ///
    /// # Errors
    /// What is wrong with the expression, as Go reports it.
    pub fn new(pattern: &str) -> Result<Self, BadPattern> {
        let translated = syntax::translate(pattern)?;
        let flaw = match compile(&translated.pattern) {
            Ok(program) => {
                let names = translated.names;
                return Ok(Self { program, names });
            }
            Err(regex::Error::CompiledTooBig(_)) => Flaw::TooLarge,
            Err(_) => Flaw::TooDeep,
        };
        let at = 0..pattern.len();
        Err(BadPattern { flaw, at })
    }

    /// Whether any part of the text matches.
    pub fn is_match(&self, text: impl AsRef<[u8]>) -> bool {
        self.program.is_match(text.as_ref())
    }

    /// The range of the first match.
    pub fn find<'t>(&self, text: &'t [u8]) -> Option<Match<'t>> {
        self.program.find(text)
    }

    /// The ranges of all matches that do not overlap.
    pub fn find_iter<'t>(&self, text: &'t [u8]) -> impl Iterator<Item = Match<'t>> {
        self.program.find_iter(text).filter(|found| !splits_rune(text, *found))
    }

    /// All matches that do not overlap, with the ranges of their groups.
    pub fn captures_iter<'t>(&self, text: &'t [u8]) -> impl Iterator<Item = (Match<'t>, Captures<'t>)> {
        self.program.captures_iter(text).filter_map(|captures| {
            let whole = captures.get(0)?;
            (!splits_rune(text, whole)).then_some((whole, captures))
        })
    }

    /// `Regexp.ReplaceAllString`: replaces every match by `template`, [expanded](Self::expand).
    pub fn replace_all(&self, text: &str, template: &str) -> String {
        let bytes = text.as_bytes();
        let mut out = Vec::with_capacity(bytes.len());
        let mut from = 0;
        for (whole, captures) in self.captures_iter(bytes) {
            out.extend_from_slice(&bytes[from..whole.start()]);
            self.expand(&mut out, template.as_bytes(), &captures);
            from = whole.end();
        }
        out.extend_from_slice(&bytes[from..]);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// `Regexp.Expand`: replaces `$1`, `$name`, `${name}` and `$$`. A name is as long as possible: `$1x` is the group
    /// `1x`.
    pub fn expand(&self, out: &mut Vec<u8>, template: &[u8], captures: &Captures<'_>) {
        let mut rest = template;
        while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(b"$") {
                out.push(b'$');
                rest = after;
                continue;
            }
            match reference(rest) {
                Some((name, after)) => {
                    rest = after;
                    let name = String::from_utf8_lossy(name);
                    // A number with a leading zero is a name.
                    let number = if name.len() > 1 && name.starts_with('0') {
                        None
                    } else {
                        name.parse::<usize>().ok()
                    };
                    let group = match number {
                        Some(number) => captures.get(number),
                        None => {
                            let mut groups = self.names.iter().filter(|(known, _)| *known == *name);
                            groups.find_map(|(_, number)| captures.get(*number))
                        }
                    };
                    out.extend_from_slice(group.map(|group| group.as_bytes()).unwrap_or_default());
                }
                None => out.push(b'$'),
            }
        }
        out.extend_from_slice(rest);
    }
}

fn compile(pattern: &str) -> Result<bytes::Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .size_limit(SIZE_LIMIT)
        .dfa_size_limit(SIZE_LIMIT)
        .nest_limit(100)
        .build()
}

/// Go matches runes, so a match inside of a rune is skipped.
fn splits_rune(bytes: &[u8], found: Match<'_>) -> bool {
    let at = found.start();
    found.is_empty()
        && (1..=3.min(at)).any(
            |back| matches!(unicode::runes(&bytes[at - back..]).next(), Some(Rune::Char(c)) if c.len_utf8() > back),
        )
}

fn reference(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (braced, body) = match rest.strip_prefix(b"{") {
        Some(body) => (true, body),
        None => (false, rest),
    };
    let length: usize = unicode::runes(body)
        .take_while(|rune| unicode::is_alphanumeric(rune.char()))
        .map(Rune::len)
        .sum();
    if length == 0 {
        return None;
    }
    let (name, after) = body.split_at(length);
    if braced {
        Some((name, after.strip_prefix(b"}")?))
    } else {
        Some((name, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are the output of Go 1.26.
    #[test]
    fn patterns_replace_as_in_go() {
        for (pattern, text, with, expected) in [
            (r"\W", "Schlüssel", "_", "Schl_ssel"),
            (r"\s", "a\u{a0}b c", "_", "a\u{a0}b_c"),
            (r"\d", "٣3", "#", "٣#"),
            (r"\bl", "ül l", "_", "ü_ _"),
            ("a*", "baaac", "x", "xbxcx"),
            ("a*", "übaac", "x", "xüxbxcx"),
            ("", "üb", "-", "-ü-b-"),
            ("$", "ab\n", "x", "ab\nx"),
            ("(?m)$", "ab\ncd", "x", "abx\ncdx"),
            ("x*?", "xx", "-", "-x-x-"),
            ("a|b|", "cab", "x", "xcxx"),
            ("(|a)*", "aa", "x", "xaxax"),
            ("(?U)a+", "aaa", "x", "xxx"),
            ("[[]", "a[b", "_", "a_b"),
            ("[]a]", "]ab", "_", "__b"),
            ("[a&&b]", "a&b", "x", "xxx"),
            (r"[\d-z]", "a-z5", "x", "axxx"),
            ("[^[:word:]]", "aü-b", "_", "a__b"),
            (r"\Qa.b\E", "a.b axb", "_", "_ axb"),
            (r"\pL", "aü1", "_", "__1"),
            (r"\p{Greek}", "aλ", "_", "a_"),
            (r"\x{fc}", "ü", "ue", "ue"),
            (r"\p{ -l_}", "ü", "ue", "ue"),
            (r"\x{00000000000041}1", "A1", "x", "x"),
            (r"\101", "A", "x", "x"),
            (r"\-\_", "-_", "x", "x"),
            ("a{,2}", "a{,2}", "x", "x"),
            ("a{0}", "ab", "x", "xaxbx"),
            ("]", "a]", "x", "ax"),
            ("(?i)ß", "ẞß", "x", "xx"),
            (r"(?i)\w+", "aſk", "x", "x"),
            ("(?i)pass", "PassWord", "x", "xWord"),
            ("(?i-i)pass", "PassWord", "x", "PassWord"),
            ("(?ii)(?)a", "A", "x", "x"),
            ("a(?i)*B", "aaBb", "x", "xx"),
            ("a(?s){2}.", "aa\naa", "x", "xaa"),
            ("a{1,01}", "a{1,01}", "x", "x"),
            ("a{99999999999", "a{99999999999", "x", "x"),
            (r"\x{d800}|[\x{dfff}a]", "ab", "x", "xb"),
        ] {
            let replaced = Regex::new(pattern).unwrap().replace_all(text, with);
            assert_eq!(replaced, expected, "{pattern} on {text:?}");
        }
    }

    /// The expected values are the output of Go 1.26.
    #[test]
    fn references_expand_as_in_go() {
        for (pattern, with, expected) in [
            ("(a)(b)", "$2$1", "ba"),
            ("(a)(b)", "$1x", ""),
            ("(a)(b)", "${1}x", "ax"),
            ("(a)(b)", "$01", ""),
            ("(a)(b)", "$3", ""),
            ("(a)(b)", "$$1", "$1"),
            ("(a)(b)", "$", "$"),
            ("(a)(b)", "${1", "${1"),
            ("(a)(b)", "${}", "${}"),
            ("(a)(b)", "$-1", "$-1"),
            ("(?P<n>a)(b)", "$n-$nx", "a-"),
            ("(?<n>a)", "${n}ü$nü", "aüb"),
            ("(a)|(b)", "<$1|$2>", "<a|><|b>"),
            ("(?P<1a>a)", "${1a}$1", "aab"),
            ("(?P<n>x)?(?P<n>a)(?P<n>b)", "$n", "a"),
        ] {
            let replaced = Regex::new(pattern).unwrap().replace_all("ab", with);
            assert_eq!(replaced, expected, "{pattern} to {with}");
        }
    }

    /// The expected values are the output of Go 1.26.
    #[test]
    fn invalid_patterns_have_gos_errors() {
        for (pattern, words) in [
            ("(", "missing closing ): `(`"),
            (")", "unexpected ): `)`"),
            ("a)b", "unexpected ): `a)b`"),
            ("[a", "missing closing ]: `[a`"),
            ("[[:x", "missing closing ]: `[[:x`"),
            ("[]", "missing closing ]: `[]`"),
            ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
            ("(?<a", "invalid named capture: `(?<a`"),
            ("(?P<", "invalid or unsupported Perl syntax: `(?P`"),
            ("(?<>a)", "invalid named capture: `(?<>`"),
            (r"\", "trailing backslash at end of expression: ``"),
            (r"\Z", r"invalid escape sequence: `\Z`"),
            (r"\1", r"invalid escape sequence: `\1`"),
            (r"(a)\1", r"invalid escape sequence: `\1`"),
            (r"\C", r"invalid escape sequence: `\C`"),
            (r"[a-\d]", r"invalid escape sequence: `\d`"),
            (r"[\b]", r"invalid escape sequence: `\b`"),
            (r"\ü", r"invalid escape sequence: `\ü`"),
            ("a[z-a]ü", "invalid character class range: `z-a`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("a|*", "missing argument to repetition operator: `*`"),
            ("(?:+)", "missing argument to repetition operator: `+`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
            ("a*?+", "invalid nested repetition operator: `*?+`"),
            ("(?x)a b", "invalid or unsupported Perl syntax: `(?x`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("a{2,1}", "invalid repeat count: `{2,1}`"),
            ("a{2,99999999999}", "invalid repeat count: `{2,99999999999}`"),
            ("(a{100}){100}", "invalid repeat count: `{100}`"),
            ("(?:(?:a{32})?b){32}", "invalid repeat count: `{32}`"),
            ("((a{10}){10}){11}", "invalid repeat count: `{11}`"),
            ("(a{2}|b{501}){2}", "invalid repeat count: `{2}`"),
            ("(a{2,}){501}", "invalid repeat count: `{501}`"),
            ("(?P<n.a>a)", "invalid named capture: `(?P<n.a>`"),
            ("(?P<é>a)", "invalid named capture: `(?P<é>`"),
            ("(?-)a", "invalid or unsupported Perl syntax: `(?-)`"),
            ("(?i--s)a", "invalid or unsupported Perl syntax: `(?i--`"),
            ("(?P<n>?:a)", "missing argument to repetition operator: `?`"),
            (r"\x{+41}", r"invalid escape sequence: `\x{+`"),
            (r"\x+4", r"invalid escape sequence: `\x+4`"),
            (r"\x{41", r"invalid escape sequence: `\x{41`"),
            (r"\x4", r"invalid escape sequence: `\x4`"),
            (r"\p{L", r"invalid character class range: `\p{L`"),
            (r"\p{isL}", r"invalid character class range: `\p{isL}`"),
            (r"ü\p{Nothing}", r"invalid character class range: `\p{Nothing}`"),
            (r"\p", r"invalid character class range: `\p`"),
        ] {
            let error = Regex::new(pattern).unwrap_err();
            assert_eq!(error.quoting(pattern), format!("error parsing regexp: {words}"));
        }
    }

    #[test]
    fn errors_quote_the_expression_only_on_request() {
        for (pattern, flaw) in [
            (r"secret\pL{1000}", Flaw::TooLarge),
            ("(secret", Flaw::MissingParenthesis),
            (r"\p{secret}", Flaw::CharacterRange),
        ] {
            let error = Regex::new(pattern).unwrap_err();
            assert_eq!(error.flaw, flaw);
            assert!(!format!("{error} {error:?}").contains("secret"));
            assert!(error.quoting(pattern).contains("secret"));
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_it_is_it_is_taken_or_refused_with_a_part_of_it(
            pattern in r"([a(|)\[\]^\\dpPQExu:<>?*+{},12=-]|[^a]){0,24}",
        ) {
            if let Err(error) = Regex::new(&pattern) {
                proptest::prop_assert!(pattern.get(error.at.clone()).is_some(), "{:?}", error.at);
            }
        }
    }

    /// For each bracket the parser searches the end of a named class. In quadratic time this test would not end.
    #[test]
    fn long_patterns_are_translated_in_linear_time() {
        let brackets = "[:".repeat(500_000);
        assert!(Regex::new(&format!("[{brackets}x]")).is_ok());
        assert!(Regex::new(&format!("[{brackets}")).is_err());
    }

    #[test]
    fn large_patterns_that_go_accepts_are_accepted() {
        for pattern in [
            ".{1000}",
            r"\pL{40}",
            "[^/]{253}",
            "(a{10}){100}",
            "(a{1000})*b{1000}",
            "(?:(?:a{1000}){0}){1000}",
            "(?:a{500})?b{1000}(c{1000})",
        ] {
            assert!(Regex::new(pattern).is_ok(), "{pattern}");
        }
    }
}
