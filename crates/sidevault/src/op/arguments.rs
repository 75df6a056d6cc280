//! The command line of `op`: words and flags in any order, `--name value` and `--name=value`.

use std::ffi::OsString;

use super::Error;

/// Flags with a value.
const WITH_VALUE: [&str; 25] = [
    "account",
    "categories",
    "category",
    "config",
    "encoding",
    "env-file",
    "environment",
    "expires-in",
    "fields",
    "file-mode",
    "file-name",
    "format",
    "group",
    "in-file",
    "out-file",
    "output",
    "permission",
    "session",
    "ssh-generate-key",
    "tags",
    "template",
    "title",
    "url",
    "user",
    "vault",
];

/// Flags that are set or not; `--name=false` is possible.
const SWITCHES: [&str; 20] = [
    "archive",
    "cache",
    "debug",
    "dry-run",
    "favorite",
    "force",
    "help",
    "include-archive",
    "iso-timestamps",
    "long",
    "me",
    "no-color",
    "no-masking",
    "no-newline",
    "otp",
    "raw",
    "reveal",
    "share-link",
    "version",
    "yes",
];

/// A switch that also takes a value behind `=`.
pub(super) const GENERATE: &str = "generate-password";

/// One letter for a flag.
const SHORT: [(char, &str); 7] = [
    ('f', "force"),
    ('h', "help"),
    ('i', "in-file"),
    ('n', "no-newline"),
    ('o', "out-file"),
    ('r', "raw"),
    ('v', "version"),
];

/// A command line that was read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Line {
    /// The command, its sub-commands and their arguments.
    pub(super) words: Vec<String>,
    /// What stands behind `--`, or behind `run`.
    pub(super) rest: Vec<OsString>,
    flags: Vec<(String, Option<String>)>,
}

impl Line {
    /// Reads a command line.
    ///
    /// # Errors
    /// A flag that is not known, or that lacks its value.
    pub(super) fn parse(arguments: Vec<OsString>) -> Result<Self, Error> {
        let mut line = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let is_command = line.words.first().is_some_and(|word| word == "run");
            let text = match argument.into_string() {
                Ok(text) => text,
                // Only a command to run may have arguments that are no text.
                Err(argument) if is_command => {
                    line.rest.push(argument);
                    line.rest.extend(arguments);
                    break;
                }
                Err(_) => return Err(Error::new("an argument is not UTF-8 text")),
            };
            if text == "--" {
                line.rest.extend(arguments);
                break;
            }
            match text.strip_prefix("--") {
                Some(flag) => line.long(flag, &mut arguments)?,
                None if text.len() > 1 && text.starts_with('-') => line.short(&text, &mut arguments)?,
                None if is_command => {
                    line.rest.push(text.into());
                    line.rest.extend(arguments);
                    break;
                }
                None => line.words.push(text),
            }
        }
        Ok(line)
    }

    fn long(&mut self, flag: &str, rest: &mut impl Iterator<Item = OsString>) -> Result<(), Error> {
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let value = if WITH_VALUE.contains(&name) {
            Some(match value {
                Some(value) => value,
                None => next(rest, || format!("flag needs an argument: --{name}"))?,
            })
        } else if SWITCHES.contains(&name) || name == GENERATE {
            value
        } else {
            return Err(Error::new(format!(
                "unknown flag: --{}",
                sidevault_model::printable(name)
            )));
        };
        self.flags.push((name.to_owned(), value));
        Ok(())
    }

    /// `-n`, `-nf`, `-o FILE`, `-oFILE`.
    fn short(&mut self, text: &str, rest: &mut impl Iterator<Item = OsString>) -> Result<(), Error> {
        for (at, letter) in text[1..].char_indices() {
            let Some((_, name)) = SHORT.iter().find(|(known, _)| *known == letter) else {
                return Err(Error::new(format!(
                    "unknown shorthand flag: '{letter}' in {}",
                    sidevault_model::printable(text)
                )));
            };
            if !WITH_VALUE.contains(name) {
                self.flags.push(((*name).to_owned(), None));
                continue;
            }
            let glued = text[1 + at + letter.len_utf8()..].trim_start_matches('=');
            let value = match glued {
                "" => next(rest, || format!("flag needs an argument: '{letter}' in {text}"))?,
                glued => glued.to_owned(),
            };
            self.flags.push(((*name).to_owned(), Some(value)));
            break;
        }
        Ok(())
    }

    /// The value of a flag; the last one counts.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last()
    }

    /// The values of a flag that may be given more than once.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let of = self.flags.iter().filter(move |(flag, _)| flag == name);
        of.filter_map(|(_, value)| value.as_deref())
    }

    /// The elements of a flag whose value is a list with commas.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let all = self.values(name).flat_map(|value| value.split(','));
        all.map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .collect()
    }

    /// Whether a flag is there at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.flags.iter().any(|(flag, _)| flag == name)
    }

    /// Whether a switch is on.
    ///
    /// # Errors
    /// A value that is neither true nor false.
    pub(super) fn switch(&self, name: &str) -> Result<bool, Error> {
        let Some((_, value)) = self.flags.iter().rfind(|(flag, _)| flag == name) else {
            return Ok(false);
        };
        match value.as_deref() {
            None | Some("true" | "TRUE" | "True" | "t" | "T" | "1") => Ok(true),
            Some("false" | "FALSE" | "False" | "f" | "F" | "0") => Ok(false),
            Some(_) => Err(Error::new(format!(
                "invalid argument for \"--{name}\" flag: it is true or false"
            ))),
        }
    }
}

fn next(rest: &mut impl Iterator<Item = OsString>, missing: impl Fn() -> String) -> Result<String, Error> {
    let value = rest.next().ok_or_else(|| Error::new(missing()))?;
    value
        .into_string()
        .map_err(|_| Error::new("an argument is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Line, Error> {
        Line::parse(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn flags_stand_anywhere_in_both_forms() {
        let line = parse(&[
            "--format",
            "json",
            "item",
            "get",
            "x",
            "--vault=a b",
            "--fields",
            "label=a,label=b",
            "-n",
        ])
        .unwrap();
        assert_eq!(line.words, ["item", "get", "x"]);
        assert_eq!((line.value("format"), line.value("vault")), (Some("json"), Some("a b")));
        assert_eq!(line.list("fields"), ["label=a", "label=b"]);
        assert!(line.switch("no-newline").unwrap() && !line.switch("reveal").unwrap());
        assert_eq!(
            parse(&["inject", "-i", "f", "-og"]).unwrap().value("out-file"),
            Some("g")
        );
        assert_eq!(parse(&["item", "get", "-"]).unwrap().words[2], "-");
    }

    #[test]
    fn behind_run_or_two_hyphens_everything_is_the_command() {
        for line in [
            &["run", "--env-file=e", "--", "sh", "-c", "x"][..],
            &["run", "--env-file", "e", "sh", "-c", "x"],
            &["--env-file", "e", "run", "sh", "-c", "x"],
        ] {
            let line = parse(line).unwrap();
            assert_eq!(line.rest, ["sh", "-c", "x"]);
            assert_eq!(line.value("env-file"), Some("e"));
        }
    }

    #[test]
    fn a_flag_that_is_unknown_or_lacks_its_value_is_an_error() {
        let message = |words: &[&str]| parse(words).unwrap_err().to_string();
        assert_eq!(message(&["read", "--nonsense"]), "unknown flag: --nonsense");
        assert_eq!(message(&["read", "-x"]), "unknown shorthand flag: 'x' in -x");
        assert_eq!(message(&["item", "get", "--vault"]), "flag needs an argument: --vault");
        assert!(parse(&["x", "--reveal=maybe"]).unwrap().switch("reveal").is_err());
    }
}
