//! Env files: `NAME=value` lines, as docker compose and shells write them.
//!
//! ```text
//! # a comment
//! export NAME=value            # white space around the value, and a comment behind it, don't count
//! NAME='as it is'              # may have several lines
//! NAME="with \n \t \r \" \\ \$"
//! ```

/// A line that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub(crate) struct Flaw {
    line: usize,
    why: &'static str,
}

/// The variables of an env file, in the file's order. No error quotes a value.
///
/// # Errors
/// The first line that is not a variable.
pub(crate) fn parse(text: &str) -> Result<Vec<(String, String)>, Flaw> {
    let mut variables = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while !rest.is_empty() {
        let before = &text[..text.len() - rest.len()];
        let flaw = |why| Flaw {
            line: before.matches('\n').count() + 1,
            why,
        };
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            rest = after;
            continue;
        }
        let begin = rest.trim_start();
        let begin = match begin.strip_prefix("export") {
            Some(exported) if exported.starts_with([' ', '\t']) => exported.trim_start_matches([' ', '\t']),
            _ => begin,
        };
        let line = begin.split('\n').next().unwrap_or_default();
        let (name, _) = line.split_once('=').ok_or_else(|| flaw("it has no `=`"))?;
        let name_length = name.len();
        let name = name.trim();
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '\0' || c == '"' || c == '\'') {
            return Err(flaw("the name in front of `=` is empty or has spaces or quotes"));
        }
        let value = begin[name_length + 1..].trim_start_matches([' ', '\t']);
        let (value, after) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let (value, after) = quoted(&value[1..], quote).ok_or_else(|| flaw("the quote is not closed"))?;
                let (tail, after) = after.split_once('\n').unwrap_or((after, ""));
                if !tail.trim().is_empty() && !tail.trim_start().starts_with('#') {
                    return Err(flaw("something stands behind the closing quote"));
                }
                (value, after)
            }
            _ => {
                let (value, after) = value.split_once('\n').unwrap_or((value, ""));
                (plain(value).to_owned(), after)
            }
        };
        if value.contains('\0') {
            return Err(flaw("the value has a NUL"));
        }
        variables.push((name.to_owned(), value));
        rest = after;
    }
    Ok(variables)
}

/// A value without quotes.
fn plain(value: &str) -> &str {
    let comment = value
        .char_indices()
        .find(|(at, c)| *c == '#' && value[..*at].chars().next_back().is_none_or(char::is_whitespace));
    value[..comment.map_or(value.len(), |(at, _)| at)].trim()
}

/// The value up to the closing quote, and what is behind it.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((value, &text[at + 1..])),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                c @ ('"' | '\\' | '$') => value.push(c),
                other => value.extend(['\\', other]),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, Flaw> {
        parse(text)
    }

    #[test]
    fn lines_are_read_as_shells_and_compose_write_them() {
        let text = "\u{feff}# comment\n\nA=1\n  export B = two words  # comment\nC='a # b\nline' # c\nD=\"x\\ny\\\"\\$\\q\"\r\nE=\nF=a#b\r\nG==x=\n\
                    H=op://v/My Item/f\nA=2";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "a # b\nline"),
            ("D", "x\ny\"$\\q"),
            ("E", ""),
            ("F", "a#b"),
            ("G", "=x="),
            ("H", "op://v/My Item/f"),
            ("A", "2"),
        ];
        let expected: Vec<_> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(read(text), Ok(expected));
    }

    #[test]
    fn a_flaw_names_its_line_and_no_value() {
        for (text, line) in [
            ("A=1\ns3cret", 2),
            ("\n\n=s3cret", 3),
            ("A='s3cret", 1),
            ("A=\"s3cret\" x", 1),
            ("a b=s3cret", 1),
        ] {
            let flaw = read(text).unwrap_err();
            assert_eq!(flaw.line, line, "{text}");
            assert!(!flaw.to_string().contains("s3cret"), "{flaw}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*|([a-z]=|\"|'|\\\\|\n|#| |export |ö){0,20}") {
            let _ = read(&text);
        }

        #[test]
        fn a_quoted_value_is_kept(value in "[^'\0]*") {
            prop_assert_eq!(read(&format!("A='{value}'")), Ok(vec![("A".to_owned(), value)]));
        }
    }
}
