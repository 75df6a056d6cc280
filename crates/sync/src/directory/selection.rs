//! Which paths of a tree are left out before any file is opened: by the source's `include` and `exclude`, and by
//! `.gitignore` files.

use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use unicode_normalization::UnicodeNormalization;

/// Why a path of the tree makes no item although it could.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LeftOutBy {
    /// The source's `exclude` matches it, or `include` does not.
    Excluded,
    /// A `.gitignore` file of the tree matches it.
    Ignored,
    /// `ignore` of a `.sidevault.yaml` or of `folders` matches it.
    Folder,
    /// It is not encrypted, and the source serves encrypted files only (`encrypted: only`), or an encrypted file of the same
    /// name is beside it (`encrypted: prefer`).
    Plaintext,
}

/// A path that makes no item. If it is a directory, nothing below it was looked at.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct LeftOut {
    /// The path in the tree, in Unicode's composed form.
    pub path: String,
    /// The rule.
    pub by: LeftOutBy,
}

/// How many paths of a tree make no item, by rule.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct LeftOutCounts {
    excluded: usize,
    ignored: usize,
    folder: usize,
    plaintext: usize,
    /// The names of some plaintext files.
    names: Vec<String>,
}

/// How many plaintext files are named in `/health`.
const MAX_NAMED_FILES: usize = 3;

impl LeftOutCounts {
    pub(crate) fn of(left_out: &[LeftOut]) -> Self {
        let count = |by| left_out.iter().filter(|out| out.by == by).count();
        let plaintext = left_out.iter().filter(|out| out.by == LeftOutBy::Plaintext);
        Self {
            excluded: count(LeftOutBy::Excluded),
            ignored: count(LeftOutBy::Ignored),
            folder: count(LeftOutBy::Folder),
            plaintext: plaintext.clone().count(),
            names: plaintext.take(MAX_NAMED_FILES).map(|out| out.path.clone()).collect(),
        }
    }

    /// The counts in words; `None` if nothing is left out.
    pub(crate) fn words(&self) -> Option<String> {
        let more = if self.plaintext > self.names.len() { ", …" } else { "" };
        let parts: Vec<String> = [
            (self.plaintext, format!("plaintext ({}{more})", self.names.join(", "))),
            (self.ignored, "by .gitignore".to_owned()),
            (self.folder, "by ignore of folders".to_owned()),
            (self.excluded, "by include and exclude".to_owned()),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{count} {why}"))
        .collect();
        (!parts.is_empty()).then(|| format!("left out: {}", parts.join(", ")))
    }
}

/// Which files of a directory source become items.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Only files that one of these patterns matches, if there is a pattern.
    include: Gitignore,
    /// Not the files and directories that these patterns match.
    exclude: Gitignore,
    /// Whether the tree's `.gitignore` files leave paths out.
    pub(crate) gitignore: bool,
    /// Whether plaintext is served; `None` if the tree decides.
    pub(crate) encrypted: Option<Encrypted>,
}

/// What happens with files that are not encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encrypted {
    /// They are left out.
    Only,
    /// They are left out if an encrypted file of the same name is beside them: `db.yaml` beside `db.sops.yaml`.
    Prefer,
    /// They are served like encrypted files.
    Any,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            include: Gitignore::empty(),
            exclude: Gitignore::empty(),
            gitignore: true,
            encrypted: None,
        }
    }
}

impl Selection {
    /// Patterns in the syntax of `.gitignore`, relative to the source's directory.
    ///
    /// # Errors
    /// If a pattern is not valid. Names the pattern.
    pub(crate) fn new(
        include: &[String],
        exclude: &[String],
        gitignore: bool,
        encrypted: Option<Encrypted>,
    ) -> Result<Self, String> {
        Ok(Self {
            include: compile(include).map_err(|error| format!("include: {error}"))?,
            exclude: compile(exclude).map_err(|error| format!("exclude: {error}"))?,
            gitignore,
            encrypted,
        })
    }

    /// Whether `exclude` leaves a path out, or `include` a file. A directory that `include` does not match may have files
    /// that it matches.
    pub(crate) fn excludes(&self, path: &str, is_dir: bool) -> bool {
        self.exclude.matched(path, is_dir).is_ignore()
            || (!is_dir
                && !self.include.is_empty()
                && !self.include.matched_path_or_any_parents(path, false).is_ignore())
    }
}

fn compile(patterns: &[String]) -> Result<Gitignore, ignore::Error> {
    let mut builder = GitignoreBuilder::new("");
    for pattern in patterns {
        builder.add_line(None, &pattern.nfc().collect::<String>())?;
    }
    builder.build()
}

/// The largest `.gitignore` or `.gitattributes` file, in bytes.
pub(crate) const MAX_RULES_BYTES: u64 = 64 << 10;

/// The `.gitignore` files on the way from the root to a directory.
#[derive(Default)]
pub(crate) struct Ignores(Vec<Gitignore>);

impl Ignores {
    /// Adds the file of a directory below the others. A line that is no pattern matches nothing, as in git.
    ///
    /// # Errors
    /// If the patterns together are too large.
    pub(crate) fn push(&mut self, directory: &str, text: &str) -> Result<(), ignore::Error> {
        let mut builder = GitignoreBuilder::new(PathBuf::from(directory));
        for line in text.trim_start_matches('\u{feff}').lines() {
            if let Err(error) = builder.add_line(None, &line.nfc().collect::<String>()) {
                tracing::debug!(directory, %error, "a line of a .gitignore file is no pattern");
            }
        }
        self.0.push(builder.build()?);
        Ok(())
    }

    /// Removes the file that was added last.
    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }

    /// Whether git ignores a path: the lowest file that has a pattern for it decides. A path in an ignored directory is not
    /// asked for.
    pub(crate) fn ignore(&self, path: &str, is_dir: bool) -> bool {
        let matches = self.0.iter().rev().map(|file| file.matched(Path::new(path), is_dir));
        matches
            .into_iter()
            .find(|found| !found.is_none())
            .is_some_and(|found| found.is_ignore())
    }
}

/// Whether a `.gitattributes` file gives files to sops or git-crypt: `*.enc diff=sopsdiffer`, `secrets/** filter=git-crypt`.
pub(crate) fn seals(attributes: &str) -> bool {
    let lines = attributes.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_ascii_whitespace).any(|attribute| {
        attribute.split_once('=').is_some_and(|(name, value)| {
            matches!(name, "filter" | "diff") && (value.contains("sops") || value.contains("git-crypt"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(include: &[&str], exclude: &[&str]) -> Selection {
        let owned = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>();
        Selection::new(&owned(include), &owned(exclude), true, None).unwrap()
    }

    #[test]
    fn include_and_exclude_are_patterns_of_gitignore() {
        let rules = selection(&["/apps/", "*.sops.yaml"], &["*.md", "/apps/old", "!NOTES.md"]);
        for (path, is_dir, excluded) in [
            ("apps/a.yaml", false, false),
            ("apps/deep/a.yaml", false, false),
            ("other/apps/a.yaml", false, true),
            ("other/a.sops.yaml", false, false),
            ("other", true, false),
            ("apps/README.md", false, true),
            ("apps/NOTES.md", false, false),
            ("apps/old", true, true),
        ] {
            assert_eq!(rules.excludes(path, is_dir), excluded, "{path}");
        }
        assert!(!selection(&[], &[]).excludes("a", false));
    }

    #[test]
    fn a_pattern_that_is_not_valid_is_named() {
        let error = Selection::new(&[], &["{a".to_owned()], true, None).unwrap_err();
        assert!(error.contains("exclude: ") && error.contains("{a"), "{error}");
    }

    #[test]
    fn the_lowest_gitignore_file_decides() {
        let mut ignores = Ignores::default();
        ignores.push("", "*.yaml\n/tmp/\n# note\n[\n").unwrap();
        ignores.push("apps", "!a.yaml\n/b.json\n").unwrap();
        for (path, is_dir, ignored) in [
            ("apps/a.yaml", false, false),
            ("apps/c.yaml", false, true),
            ("apps/b.json", false, true),
            ("apps/x/b.json", false, false),
            ("tmp", true, true),
            ("tmp", false, false),
        ] {
            assert_eq!(ignores.ignore(path, is_dir), ignored, "{path}");
        }
        ignores.pop();
        assert!(ignores.ignore("apps/a.yaml", false));
    }

    #[test]
    fn what_is_left_out_is_counted_by_rule() {
        let out = |path: &str, by| LeftOut {
            path: path.to_owned(),
            by,
        };
        let mut left_out: Vec<LeftOut> = ["a", "b", "c", "d"]
            .iter()
            .map(|path| out(path, LeftOutBy::Plaintext))
            .collect();
        left_out.push(out("tmp", LeftOutBy::Ignored));
        let words = LeftOutCounts::of(&left_out).words();
        assert_eq!(
            words.as_deref(),
            Some("left out: 4 plaintext (a, b, c, …), 1 by .gitignore")
        );
        assert_eq!(LeftOutCounts::of(&[]).words(), None);
    }

    #[test]
    fn attributes_of_sops_and_git_crypt_are_recognized() {
        assert!(seals("*.yaml text\nsecrets/** filter=git-crypt diff=git-crypt\n"));
        assert!(seals("*.sops.yaml diff=sopsdiffer\n"));
        assert!(!seals("# filter=git-crypt\n*.png filter=lfs diff=lfs\nsops text\n"));
    }
}
