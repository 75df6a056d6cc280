//! Reads age keys from the places where `sops` looks for them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use sidevault_sops::{Identities, UnusableIdentity};
use zeroize::Zeroizing;

use super::key_command::KeyCommand;

/// The file with the passphrase of key files and SSH keys that have one.
const PASSPHRASE_FILE: &str = "SIDEVAULT_AGE_PASSPHRASE_FILE";

/// The places that the age keys of a source come from.
pub(crate) struct KeySources {
    /// The key files of the source's own configuration.
    files: Vec<PathBuf>,
    /// The problems that were logged at the last scan.
    logged: Vec<String>,
    /// The commands of SOPS_AGE_SSH_PRIVATE_KEY_CMD and SOPS_AGE_KEY_CMD.
    ssh_command: KeyCommand,
    command: KeyCommand,
    parsed: ParsedTexts,
}

impl KeySources {
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        Self {
            files,
            logged: Vec::new(),
            ssh_command: KeyCommand::default(),
            command: KeyCommand::default(),
            parsed: ParsedTexts::default(),
        }
    }

    /// Reads all keys of the source's key files and of the places where sops looks, in its order. Called for each scan, so
    /// that a new key works without a restart.
    ///
    /// A line or file that gives no key is logged once, and named in the errors of files that no key decrypts. All other
    /// keys are used.
    pub(crate) fn load(&mut self, source: &str) -> Identities {
        let (identities, problems) = self.gather(|name| std::env::var_os(name).map(|value| value.into_encoded_bytes()));
        for problem in &problems {
            if !self.logged.contains(problem) {
                tracing::warn!(source, problem, "an age key is not used");
            }
        }
        self.logged = problems;
        identities
    }

    /// The identities, and the problems to log.
    fn gather(&mut self, variable: impl Fn(&str) -> Option<Vec<u8>>) -> (Identities, Vec<String>) {
        let set = |name| {
            let value = variable(name).map(Zeroizing::new);
            value.filter(|value| !value.trim_ascii().is_empty())
        };
        let text = |name| set(name).map(|value| String::from_utf8_lossy(&value).trim().to_owned());
        let path = |name| set(name).map(|value| PathBuf::from(String::from_utf8_lossy(&value).into_owned()));
        let mut found = Gathered {
            identities: Identities::default(),
            problems: Vec::new(),
            passphrase: None,
            parsed: &mut self.parsed,
        };
        if let Some(file) = path(PASSPHRASE_FILE) {
            found.read_passphrase(&file);
        }
        for file in &self.files {
            found.add_file(file);
        }
        if let Some(file) = path("SOPS_AGE_SSH_PRIVATE_KEY_FILE") {
            found.add_file(&file);
        }
        if let Some(line) = text("SOPS_AGE_SSH_PRIVATE_KEY_CMD") {
            found.add_command("SOPS_AGE_SSH_PRIVATE_KEY_CMD", &mut self.ssh_command, &line);
        }
        let home = path("HOME");
        if let Some(home) = &home {
            found.add_users_ssh_key(&home.join(".ssh/id_ed25519"));
            found.add_users_ssh_key(&home.join(".ssh/id_rsa"));
        }
        if let Some(keys) = set("SOPS_AGE_KEY") {
            found.add("SOPS_AGE_KEY", &keys);
        }
        if let Some(file) = path("SOPS_AGE_KEY_FILE") {
            found.add_file(&file);
        }
        if let Some(line) = text("SOPS_AGE_KEY_CMD") {
            found.add_command("SOPS_AGE_KEY_CMD", &mut self.command, &line);
        }
        let config = path("XDG_CONFIG_HOME").or_else(|| Some(home?.join(".config")));
        if let Some(file) = config.map(|config| config.join("sops/age/keys.txt"))
            && file.exists()
        {
            found.add_file(&file);
        }
        let (identities, problems) = (found.identities, found.problems);
        self.parsed.forget_unused();
        (identities, problems)
    }
}

/// What was found so far.
struct Gathered<'a> {
    identities: Identities,
    problems: Vec<String>,
    passphrase: Option<Zeroizing<String>>,
    parsed: &'a mut ParsedTexts,
}

impl Gathered<'_> {
    fn read_passphrase(&mut self, file: &Path) {
        match std::fs::read(file).map(Zeroizing::new) {
            Ok(bytes) => {
                let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
                // Editors and `echo` add the line break.
                let line = text.strip_suffix('\n').unwrap_or(&text);
                let line = line.strip_suffix('\r').unwrap_or(line);
                self.passphrase = Some(Zeroizing::new(line.to_owned()));
            }
            Err(error) => self.note(format!("the passphrase in {}: {error}", file.display())),
        }
    }

    fn add_file(&mut self, file: &Path) {
        let name = format!("age keys in {}", file.display());
        match std::fs::read(file).map(Zeroizing::new) {
            Ok(bytes) => self.add(&name, &bytes),
            Err(error) => self.note(format!("{name}: {error}")),
        }
    }

    /// Adds an SSH key of the user, if there is one. It is probably not meant for SOPS, so a problem with it is named only
    /// where a file can't be decrypted.
    fn add_users_ssh_key(&mut self, file: &Path) {
        let Ok(bytes) = std::fs::read(file).map(Zeroizing::new) else {
            return;
        };
        let (found, unusable) = self
            .parsed
            .parse(&bytes, self.passphrase.as_deref().map(String::as_str));
        self.identities.extend(found);
        for line in unusable {
            self.identities
                .note_unusable(format!("age keys in {}: {}", file.display(), line.problem));
        }
    }

    fn add_command(&mut self, name: &str, command: &mut KeyCommand, line: &str) {
        command.refresh(line);
        if let Some(keys) = command.keys() {
            self.add(&format!("the output of {name}"), keys);
        }
        if let Some(problem) = command.problem() {
            self.note(format!("{name}: {problem}"));
        }
    }

    fn add(&mut self, name: &str, bytes: &[u8]) {
        let (found, unusable) = self.parsed.parse(bytes, self.passphrase.as_deref().map(String::as_str));
        self.identities.extend(found);
        for line in unusable {
            self.note(format!("{name}: {line}"));
        }
    }

    fn note(&mut self, problem: String) {
        self.identities.note_unusable(problem.clone());
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// Texts with keys that were parsed before. A passphrase is made to cost a second and 256 MiB of memory, which is too much
/// for every scan.
#[derive(Default)]
struct ParsedTexts {
    /// By the digest of text and passphrase: the result, and whether this scan used it.
    known: HashMap<[u8; 32], (Identities, Vec<UnusableIdentity>, bool)>,
}

impl ParsedTexts {
    fn parse(&mut self, bytes: &[u8], passphrase: Option<&str>) -> (Identities, Vec<UnusableIdentity>) {
        let mut digest = Sha256::new();
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
        digest.update(passphrase.unwrap_or_default());
        let digest = digest.finalize().into();
        if let Some((found, unusable, used)) = self.known.get_mut(&digest) {
            *used = true;
            return (found.clone(), unusable.clone());
        }
        let (found, unusable) = Identities::parse(bytes, passphrase);
        // A plugin's program may be installed later, so such a text is parsed again.
        if unusable.is_empty() || Identities::is_protected(bytes) {
            self.known.insert(digest, (found.clone(), unusable.clone(), true));
        }
        (found, unusable)
    }

    fn forget_unused(&mut self) {
        self.known.retain(|_, (_, _, used)| std::mem::take(used));
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    const KEY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
    const OTHER: &str = "AGE-SECRET-KEY-193VPF6WFAR6NYDLT0PY9T3UEGK0P3DPV7MSVTEHEMRGJZX40U8VQ4X2EC8";

    fn with(variables: &[(&str, &str)], files: &[&Path]) -> (Identities, Vec<String>) {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let mut sources = KeySources::new(files.iter().map(|file| file.to_path_buf()).collect());
        sources.gather(|name| variables.get(name).map(|value| value.as_bytes().to_vec()))
    }

    #[test]
    fn a_bad_key_does_not_keep_other_keys_from_being_used() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.txt");
        std::fs::write(&file, format!("AGE-SECRET-KEY-PQ-1QQ\n{KEY}\nAGE-PLUGIN-YUBIKEY-1QQ\n")).unwrap();
        let (found, warnings) = with(
            &[("SOPS_AGE_KEY", KEY), ("SOPS_AGE_KEY_FILE", "/nonexistent/keys")],
            &[&file],
        );
        assert_eq!(found.recipients().len(), 1, "a key that is there twice counts once");
        assert_eq!(warnings, found.unusable());
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(
            warnings[0].contains("keys.txt: line 1: not a valid post-quantum"),
            "{warnings:?}"
        );
        assert!(
            warnings[1].contains("keys.txt: line 3: not a valid identity of an age plugin"),
            "{warnings:?}"
        );
        assert!(warnings[2].contains("/nonexistent/keys"), "{warnings:?}");
        assert!(!format!("{warnings:?}").contains("1QQ"), "{warnings:?}");
    }

    #[test]
    fn a_key_file_that_the_source_and_the_environment_name_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.txt");
        std::fs::write(&file, format!("{KEY}\nAGE-PLUGIN-YUBIKEY-1QQ\n")).unwrap();
        let (found, problems) = with(&[("SOPS_AGE_KEY_FILE", file.to_str().unwrap())], &[&file]);
        assert_eq!(found.recipients().len(), 1);
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn keys_of_several_files_commands_and_variables_are_used_together() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::write(&one, KEY).unwrap();
        std::fs::write(&two, OTHER).unwrap();
        assert_eq!(with(&[], &[&one, &two]).0.recipients().len(), 2);
        let keys = format!("{KEY} {OTHER}");
        assert_eq!(with(&[("SOPS_AGE_KEY", &keys)], &[]).0.recipients().len(), 2);
        let command = format!("cat '{}'", one.display());
        let (found, problems) = with(
            &[
                ("SOPS_AGE_KEY_CMD", &command),
                ("SOPS_AGE_SSH_PRIVATE_KEY_CMD", "false"),
                ("SOPS_AGE_KEY", OTHER),
            ],
            &[],
        );
        assert_eq!(found.recipients().len(), 2);
        assert!(
            problems.len() == 1 && problems[0].starts_with("SOPS_AGE_SSH_PRIVATE_KEY_CMD: false failed"),
            "{problems:?}"
        );
        assert!(with(&[("SOPS_AGE_KEY_CMD", " ")], &[]).1.is_empty());
    }

    #[test]
    fn the_users_key_file_is_read_in_addition_to_the_variables() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("sops/age")).unwrap();
        std::fs::write(dir.path().join("sops/age/keys.txt"), KEY).unwrap();
        let home = dir.path().to_str().unwrap();
        let key_file = dir.path().join("none");
        std::fs::write(&key_file, "# none\n").unwrap();
        let (found, problems) = with(
            &[
                ("XDG_CONFIG_HOME", home),
                ("SOPS_AGE_KEY_FILE", key_file.to_str().unwrap()),
            ],
            &[],
        );
        assert_eq!(found.recipients().len(), 1);
        assert!(problems.is_empty());
    }

    #[test]
    fn an_ssh_key_of_the_user_that_cannot_be_used_is_named_only_in_errors() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".ssh")).unwrap();
        std::fs::write(
            dir.path().join(".ssh/id_rsa"),
            "-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n",
        )
        .unwrap();
        let (found, problems) = with(&[("HOME", dir.path().to_str().unwrap())], &[]);
        assert!(problems.is_empty(), "{problems:?}");
        assert!(
            found.unusable()[0].contains("id_rsa: not an SSH private key"),
            "{:?}",
            found.unusable()
        );
    }

    #[test]
    fn changed_key_files_are_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.txt");
        let mut sources = KeySources::new(vec![file.clone()]);
        let mut recipients = || sources.gather(|_| None).0.recipients();
        std::fs::write(&file, KEY).unwrap();
        let first = recipients();
        assert_eq!(recipients(), first);
        std::fs::write(&file, OTHER).unwrap();
        assert_ne!(recipients(), first);
        std::fs::write(&file, KEY).unwrap();
        assert_eq!(recipients(), first);
    }
}
