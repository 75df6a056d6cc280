//! The titles of items.
//!
//! A title is computed from the path of the item's file and from the document alone. So it never changes because another file was
//! added or removed, and a store that is rebuilt from the files has the same titles. Titles that depend on the other files would
//! have to be remembered, and the store of a Pod with an `emptyDir` remembers nothing.

use serde::Deserialize;

use super::draft::{SecretName, stem};

/// File names that say only that a file has secrets, not which ones. Compared without regard to case.
const GENERIC_FILES: [&str; 20] = [
    "app",
    "auth",
    "cluster-secrets",
    "config",
    "configmap",
    "credentials",
    "default",
    "env",
    "externalsecret",
    "helm-values",
    "helmrelease",
    "key",
    "main",
    "password",
    "release",
    "secret",
    "secret-values",
    "secrets",
    "token",
    "values",
];

/// Directory names that say nothing about the application. Compared without regard to case.
const GENERIC_DIRECTORIES: [&str; 14] = [
    "app",
    "base",
    "chart",
    "config",
    "deploy",
    "helm",
    "k8s",
    "kubernetes",
    "manifests",
    "overlays",
    "resources",
    "secret",
    "secrets",
    "values",
];

/// How the items of a source are titled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TitleRule {
    /// The `metadata.name` of a manifest; else the file's name without the ending of its format. Directories stand before a
    /// file name that says nothing, such as `secret`: `plex/secret`.
    #[default]
    Auto,
    /// The file's name without the ending of its format, for manifests too.
    Stem,
    /// The file's path in its vault, without the ending of its format.
    Path,
    /// The `metadata.name` of a manifest; else the file's name without the ending of its format.
    Name,
}

impl TitleRule {
    /// The title of the `n`-th document of the file with this path. `directory` is the path of the file's directory in its vault;
    /// empty at the top of the vault.
    pub(super) fn of_document(self, path: &str, directory: &str, name: Option<&SecretName>, n: usize) -> String {
        let stem = stem(path);
        let title = match (self, name) {
            (Self::Auto | Self::Name, Some(SecretName { name, .. })) => return name.clone(),
            (Self::Path, _) => below(directory, stem),
            (Self::Auto, None) if is_one_of(&GENERIC_FILES, stem) => below(telling(directory), stem),
            _ => stem.to_owned(),
        };
        Self::chosen(&title, n)
    }

    /// The title of the `n`-th item of a file for which a person has chosen a title.
    pub(super) fn chosen(title: &str, n: usize) -> String {
        if n == 0 {
            title.to_owned()
        } else {
            format!("{title}-{}", n + 1)
        }
    }

    /// The title of a file with this name that becomes a DOCUMENT.
    pub(super) fn of_binary(self, name: &str, directory: &str) -> String {
        match self {
            Self::Path => below(directory, name),
            Self::Auto | Self::Stem | Self::Name => name.to_owned(),
        }
    }
}

fn below(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        name.to_owned()
    } else {
        format!("{directory}/{name}")
    }
}

/// The end of a directory's path that begins with the last name which says something: `plex/app` of `media/plex/app`.
fn telling(directory: &str) -> &str {
    let mut start = directory.len();
    for name in directory.rsplit('/') {
        start -= name.len();
        if !is_one_of(&GENERIC_DIRECTORIES, name) {
            break;
        }
        start = start.saturating_sub(1);
    }
    directory[start..].trim_start_matches('/')
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn title(rule: TitleRule, relative: &str, name: Option<&str>, n: usize) -> String {
        let directory = relative.rsplit_once('/').map_or("", |(directory, _)| directory);
        let name = name.map(|name| SecretName {
            namespace: None,
            name: name.to_owned(),
        });
        rule.of_document(relative, directory, name.as_ref(), n)
    }

    #[test]
    fn each_rule_gives_the_title_that_it_promises() {
        use TitleRule::{Auto, Name, Path, Stem};
        for (rule, relative, name, n, wanted) in [
            (Auto, "plex/secret.sops.yaml", None, 0, "plex/secret"),
            (Auto, "media/plex/app/Secret.sops.yaml", None, 0, "plex/app/Secret"),
            (Auto, "app/base/secret.yaml", None, 0, "app/base/secret"),
            (Auto, "secret.yaml", None, 0, "secret"),
            (Auto, "plex/token.sops.env", None, 1, "plex/token-2"),
            (Auto, "plex/db.sops.yaml", None, 1, "db-2"),
            (Auto, "plex/secret.sops.yaml", Some("plex-tls"), 3, "plex-tls"),
            (Name, "plex/secret.sops.yaml", Some("plex-tls"), 3, "plex-tls"),
            (Name, "plex/secret.sops.yaml", None, 0, "secret"),
            (Stem, "plex/secret.sops.yaml", Some("plex-tls"), 0, "secret"),
            (
                Path,
                "media/plex/secret.sops.yaml",
                Some("plex-tls"),
                0,
                "media/plex/secret",
            ),
            (Path, "db.yaml", None, 2, "db-3"),
        ] {
            assert_eq!(title(rule, relative, name, n), wanted, "{rule:?} {relative}");
        }
    }

    fn names() -> impl Strategy<Value = String> {
        let words = [
            GENERIC_FILES.as_slice(),
            &GENERIC_DIRECTORIES,
            &["plex", "radarr", "a-2", "S\u{e9}cret"],
        ]
        .concat();
        prop::sample::select(words).prop_map(str::to_owned)
    }

    proptest! {
        /// By path, files of one vault have one title only if their paths differ in the ending alone. By the default rule, the
        /// title is the end of the path, so a person finds the file by it.
        #[test]
        fn a_title_names_its_file(paths in prop::collection::vec(prop::collection::vec(names(), 1..5), 1..8)) {
            let mut seen = BTreeMap::new();
            for parts in paths {
                let path = parts.join("/");
                let relative = format!("{path}.sops.yaml");
                let by_path = title(TitleRule::Path, &relative, None, 0);
                prop_assert_eq!(seen.entry(by_path.clone()).or_insert_with(|| relative.clone()), &relative);
                let auto = title(TitleRule::Auto, &relative, None, 0);
                prop_assert!(by_path == auto || by_path.ends_with(&format!("/{auto}")), "{} {}", by_path, auto);
                let stem = parts.last().unwrap();
                let telling = parts.len() == 1 || auto.contains('/') || !is_one_of(&GENERIC_FILES, stem);
                prop_assert!(telling, "{}", auto);
            }
        }
    }
}
