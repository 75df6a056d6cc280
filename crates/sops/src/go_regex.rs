//! Go regular expressions, which sops matches key names with, in the dialect of the `regex` crate.
//!
//! Both descend from RE2. They differ in that Go's `\d`, `\w`, `\s` and `\b` know ASCII only, in
//! that Go takes `[`, `&` and `~` within a class as they are, and in `\Q…\E`.

use regex::bytes::{Regex, RegexBuilder};

/// A compiled pattern larger than this is refused, in bytes.
const MAX_COMPILED_BYTES: usize = 1024 * 1024;

/// `None` if the pattern is not valid or asks for too much.
pub(crate) fn compile(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(&translate(pattern))
        .size_limit(MAX_COMPILED_BYTES)
        .build()
        .ok()
}

fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('Q') if !in_class => {
                    let tail: String = rest.collect();
                    let (literal, after) = tail.split_once("\\E").unwrap_or((&tail, ""));
                    out.push_str(&regex::escape(literal));
                    out.push_str(&translate(after));
                    return out;
                }
                Some(letter @ ('b' | 'B')) if !in_class => {
                    out.push_str(if letter == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" });
                }
                Some(letter) => match ascii_class(letter) {
                    Some(class) => out.push_str(class),
                    None => out.extend(['\\', letter]),
                },
                None => out.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                // A bracket right at the start is a member, not the end.
                if rest.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            '[' if rest.peek() == Some(&':') => {
                out.push('[');
                for member in rest.by_ref() {
                    out.push(member);
                    if member == ']' {
                        break;
                    }
                }
            }
            '[' | '&' | '~' if in_class => out.extend(['\\', c]),
            ']' => {
                in_class = false;
                out.push(']');
            }
            _ => out.push(c),
        }
    }
    out
}

/// A bracketed class stands alone and, nested, within another class just as well.
fn ascii_class(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => r"[\t\n\f\r ]",
        'S' => r"[^\t\n\f\r ]",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, key, matches) in [
            ("^(data|stringData)$", "data", true),
            ("^(data|stringData)$", "metadata", false),
            ("(?i)password", "dbPassWord", true),
            (r"^\w+$", "plain_1", true),
            (r"^\w+$", "clé", false),
            (r"^\d+$", "٣", false),
            (r"\bkey\b", "my-key", true),
            (r"^[\d_-]+$", "1_2-3", true),
            (r"^[^\d]+$", "a1", false),
            (r"^[[:alpha:]]+$", "abc", true),
            (r"^[a[]+$", "a[", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[]a]+$", "]a", true),
            (r"\Qa.b\E$", "a.b", true),
            (r"\Qa.b\E$", "axb", false),
            (r"^\pL+$", "clé", true),
        ] {
            let regex = compile(pattern).unwrap();
            assert_eq!(regex.is_match(key.as_bytes()), matches, "{pattern} on {key}");
        }
    }

    #[test]
    fn invalid_and_oversized_patterns_are_refused() {
        for pattern in ["(", "[a", "a{1000}{1000}{1000}", "\\", "[[:x", "(?<a"] {
            assert!(compile(pattern).is_none(), "{pattern}");
        }
    }
}
