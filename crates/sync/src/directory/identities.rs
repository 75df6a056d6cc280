//! Reads age keys from the places where `sops` looks for them.

use std::path::{Path, PathBuf};

use sidevault_sops::Identities;
use zeroize::Zeroizing;

/// Environment variables of `sops` for keys that Sidevault does not support, each with the reason and the way out.
const UNSUPPORTED: [(&str, &str); 3] = [
    (
        "SOPS_AGE_SSH_PRIVATE_KEY_FILE",
        "SSH keys are not supported; convert the key with `ssh-to-age -private-key`, encrypt the files to the new key, and \
         set SOPS_AGE_KEY_FILE",
    ),
    (
        "SOPS_AGE_SSH_PRIVATE_KEY_CMD",
        "Sidevault starts no program to get a key, and does not support SSH keys; set SOPS_AGE_KEY_FILE",
    ),
    (
        "SOPS_AGE_KEY_CMD",
        "Sidevault starts no program to get a key; set SOPS_AGE_KEY_FILE",
    ),
];

/// The places that the age keys of a source come from.
pub(crate) struct KeySources {
    /// The key file of the source's own configuration.
    file: Option<PathBuf>,
    /// The problems that were logged at the last scan.
    logged: Vec<String>,
}

impl KeySources {
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self {
            file,
            logged: Vec::new(),
        }
    }

    /// Reads all keys of the source's key file, SOPS_AGE_KEY, SOPS_AGE_KEY_FILE, and the user's `sops/age/keys.txt`. Called
    /// for each scan, so that a new key works without a restart.
    ///
    /// A line or file that gives no key is logged once, and named in the errors of files that no key decrypts. All other
    /// keys are used.
    pub(crate) fn load(&mut self, source: &str) -> Identities {
        let identities = gather(self.file.as_deref(), |name| {
            std::env::var_os(name).map(|value| value.into_encoded_bytes())
        });
        for problem in identities.unusable() {
            if !self.logged.contains(problem) {
                tracing::warn!(source, problem, "an age key is not used");
            }
        }
        self.logged = identities.unusable().to_vec();
        identities
    }
}

fn gather(file: Option<&Path>, variable: impl Fn(&str) -> Option<Vec<u8>>) -> Identities {
    let mut identities = Identities::default();
    let set = |name| variable(name).filter(|value| !value.trim_ascii().is_empty());
    let path = |name| set(name).map(|value| PathBuf::from(String::from_utf8_lossy(&value).into_owned()));
    if let Some(file) = file {
        add_file(&mut identities, file);
    }
    if let Some(keys) = set("SOPS_AGE_KEY").map(Zeroizing::new) {
        add(&mut identities, "SOPS_AGE_KEY", &keys);
    }
    if let Some(file) = path("SOPS_AGE_KEY_FILE") {
        add_file(&mut identities, &file);
    }
    let config = path("XDG_CONFIG_HOME").or_else(|| Some(path("HOME")?.join(".config")));
    if let Some(file) = config.map(|config| config.join("sops/age/keys.txt"))
        && file.exists()
    {
        add_file(&mut identities, &file);
    }
    for (name, problem) in UNSUPPORTED {
        if set(name).is_some() {
            identities.note_unusable(format!("{name} is set: {problem}"));
        }
    }
    identities
}

fn add_file(identities: &mut Identities, file: &Path) {
    let name = format!("age keys in {}", file.display());
    match std::fs::read(file).map(Zeroizing::new) {
        Ok(bytes) => add(identities, &name, &bytes),
        Err(error) => identities.note_unusable(format!("{name}: {error}")),
    }
}

fn add(identities: &mut Identities, name: &str, bytes: &[u8]) {
    let (found, unusable) = Identities::parse(bytes);
    identities.extend(found);
    for line in unusable {
        identities.note_unusable(format!("{name}: {line}"));
    }
}

#[cfg(test)]
mod tests {

    use std::collections::HashMap;

    use super::*;

    const KEY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

    fn with(variables: &[(&str, &str)], file: Option<&Path>) -> Identities {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        gather(file, |name| variables.get(name).map(|value| value.as_bytes().to_vec()))
    }

    #[test]
    fn a_bad_key_does_not_keep_other_keys_from_being_used() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.txt");
        std::fs::write(&file, format!("AGE-SECRET-KEY-PQ-1QQ\n{KEY}\nAGE-PLUGIN-YUBIKEY-1QQ\n")).unwrap();
        let found = with(
            &[("SOPS_AGE_KEY", KEY), ("SOPS_AGE_KEY_FILE", "/nonexistent/keys")],
            Some(&file),
        );
        assert_eq!(found.recipients().len(), 1, "a key that is there twice counts once");
        let warnings = found.unusable();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].contains("keys.txt: line 1: post-quantum"), "{warnings:?}");
        assert!(warnings[1].contains("keys.txt: line 3: age plugin"), "{warnings:?}");
        assert!(warnings[2].contains("/nonexistent/keys"), "{warnings:?}");
        assert!(!format!("{warnings:?}").contains("1QQ"), "{warnings:?}");
    }

    #[test]
    fn a_key_file_that_the_source_and_the_environment_name_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.txt");
        std::fs::write(&file, format!("{KEY}\nAGE-PLUGIN-YUBIKEY-1QQ\n")).unwrap();
        let found = with(&[("SOPS_AGE_KEY_FILE", file.to_str().unwrap())], Some(&file));
        assert_eq!(found.recipients().len(), 1);
        assert_eq!(found.unusable().len(), 1, "{:?}", found.unusable());
    }

    #[test]
    fn unsupported_variables_of_sops_are_named() {
        for name in [
            "SOPS_AGE_SSH_PRIVATE_KEY_FILE",
            "SOPS_AGE_SSH_PRIVATE_KEY_CMD",
            "SOPS_AGE_KEY_CMD",
        ] {
            let found = with(&[(name, "x"), ("SOPS_AGE_KEY", KEY)], None);
            assert_eq!(found.recipients().len(), 1);
            assert!(
                found.unusable().len() == 1 && found.unusable()[0].starts_with(name),
                "{:?}",
                found.unusable()
            );
            assert!(with(&[(name, " ")], None).unusable().is_empty());
        }
    }

    #[test]
    fn the_users_key_file_is_read_in_addition_to_the_variables() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("sops/age")).unwrap();
        std::fs::write(dir.path().join("sops/age/keys.txt"), KEY).unwrap();
        let home = dir.path().to_str().unwrap();
        let key_file = dir.path().join("none");
        std::fs::write(&key_file, "# none\n").unwrap();
        let found = with(
            &[
                ("XDG_CONFIG_HOME", home),
                ("SOPS_AGE_KEY_FILE", key_file.to_str().unwrap()),
            ],
            None,
        );
        assert_eq!(found.recipients().len(), 1);
        assert!(found.unusable().is_empty());
    }
}
