//! The variables that `run` sets: those of the environment and of env files whose values hold secret references.

use std::path::{Path, PathBuf};

use sidevault_model::reference::has_scheme;

use super::template::{self, Part};
use super::{Secrets, dotenv};
use crate::input;

/// The largest env file, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Variables, and what their values are made of.
#[derive(Default)]
pub(crate) struct Variables(Vec<(String, Vec<Part>)>);

/// Why the variables can't be read. No message quotes a value that is no reference.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Flaw {
    /// A file can't be read.
    #[error("{}: {cause}", .path.display())]
    File { path: PathBuf, cause: String },
    /// A reference in a value.
    #[error(transparent)]
    Reference(#[from] template::Flaw),
}

impl Variables {
    /// The variables of the environment whose values are references, and all variables of the files. A variable of a file
    /// replaces one of the environment or of an earlier file.
    ///
    /// # Errors
    /// If a file or a reference can't be read.
    pub(crate) fn read(inherited: &[(String, String)], files: &[PathBuf]) -> Result<Self, Flaw> {
        let mut variables = Self::default();
        for (name, value) in inherited {
            if has_scheme(value) {
                variables.set(name, vec![Part::Reference(template::reference(value)?)]);
            }
        }
        let mut known = inherited.to_vec();
        for path in files {
            for (name, value) in read(path)? {
                let lookup = |wanted: &str| {
                    let found = known.iter().rev().find(|(name, _)| name == wanted);
                    found.map(|(_, value)| value.clone())
                };
                let parts = template::parse_value(&value, &lookup)?;
                variables.set(&name, parts);
                known.push((name, value));
            }
        }
        Ok(variables)
    }

    fn set(&mut self, name: &str, parts: Vec<Part>) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), parts));
    }

    /// The parts of all values.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> + Clone {
        self.0.iter().flat_map(|(_, parts)| parts)
    }

    /// The variables with their values.
    ///
    /// # Errors
    /// The name of a variable whose value is no text that an environment can hold.
    pub(crate) fn values(&self, secrets: &Secrets) -> Result<Vec<(String, String)>, String> {
        let value = |(name, parts): &(String, Vec<Part>)| {
            let text = String::from_utf8(secrets.join(parts))
                .ok()
                .filter(|text| !text.contains('\0'));
            text.map(|text| (name.clone(), text)).ok_or_else(|| name.clone())
        };
        self.0.iter().map(value).collect()
    }
}

fn read(path: &Path) -> Result<Vec<(String, String)>, Flaw> {
    let flaw = |cause: String| Flaw::File {
        path: path.to_owned(),
        cause,
    };
    let bytes = input::file(path, MAX_FILE_BYTES).map_err(|error| flaw(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| flaw("it is not UTF-8 text".to_owned()))?;
    dotenv::parse(&text).map_err(|error| flaw(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::has_references;

    fn names_with_references(variables: &Variables) -> Vec<&str> {
        let with = variables.0.iter().filter(|(_, parts)| has_references(parts.iter()));
        with.map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a_later_file_wins_over_an_earlier_one_and_over_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            "A=op://v/i/a\nB=op://$WHICH/i/b\nC=plain",
            "A=second\nWHICH=w\nD=op://$WHICH/i/d",
        ]
        .map(|text| {
            let path = dir.path().join(text.len().to_string());
            std::fs::write(&path, text).unwrap();
            path
        });
        let inherited = [
            ("A", "op://v/i/env"),
            ("WHICH", "v"),
            ("E", "op://v/i/e"),
            ("F", "plain"),
        ];
        let inherited = inherited.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let variables = Variables::read(&inherited, &files).unwrap();
        let shown = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Reference(reference) => reference.to_string(),
        };
        let all: Vec<(String, String)> = variables
            .0
            .iter()
            .map(|(name, parts)| (name.clone(), parts.iter().map(shown).collect()))
            .collect();
        let expected = [
            ("E", "op://v/i/e"),
            ("B", "op://v/i/b"),
            ("C", "plain"),
            ("A", "second"),
            ("WHICH", "w"),
            ("D", "op://w/i/d"),
        ];
        assert_eq!(all, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(names_with_references(&variables), ["E", "B", "D"]);
    }

    #[test]
    fn a_reference_that_can_t_be_read_is_an_error() {
        let inherited = [("A".to_owned(), "op://v/i".to_owned())];
        let flaw = Variables::read(&inherited, &[]).err().unwrap();
        assert!(
            flaw.to_string()
                .starts_with("invalid secret reference 'op://v/i': too few '/'"),
            "{flaw}"
        );
    }
}
