//! The real `sops` and `age-keygen`, as `tests/tools/build.sh` builds them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools;

/// The programs, with a home directory of their own.
pub struct Sops {
    tools: PathBuf,
    home: tempfile::TempDir,
}

/// An age key.
pub struct Key {
    /// The key file's text.
    pub secret: String,
    /// The public key.
    pub recipient: String,
}

impl Sops {
    /// `None` if the programs were not built, with a line on standard error; with `CI=true` the test fails.
    ///
    /// # Panics
    /// If they are missing and `CI=true`.
    pub fn find() -> Option<Self> {
        let tools = tools::find(&["sops", "age-keygen"])?;
        let home = tempfile::tempdir().expect("a directory");
        Some(Self { tools, home })
    }

    /// Makes an age key.
    ///
    /// # Panics
    /// If age-keygen fails.
    pub fn key(&self) -> Key {
        self.keygen(&[])
    }

    /// Makes a post-quantum age key.
    ///
    /// # Panics
    /// If age-keygen fails.
    pub fn post_quantum_key(&self) -> Key {
        self.keygen(&["-pq"])
    }

    fn keygen(&self, arguments: &[&str]) -> Key {
        let output = Command::new(self.tools.join("age-keygen"))
            .args(arguments)
            .output()
            .expect("age-keygen runs");
        let secret = String::from_utf8_lossy(&output.stdout).into_owned();
        let recipient = secret
            .lines()
            .find_map(|line| line.strip_prefix("# public key: "))
            .expect("a key")
            .to_owned();
        Key { secret, recipient }
    }

    /// A command of sops that runs in a directory, without keys.
    pub fn command(&self, arguments: &[&str], directory: &Path) -> Command {
        let mut command = Command::new(self.tools.join("sops"));
        command
            .arg("--disable-version-check")
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .env("HOME", self.home.path());
        command
    }

    /// Encrypts `plain` as the content of a file called `name`, from whose ending sops takes the format.
    ///
    /// # Panics
    /// If sops fails.
    pub fn encrypt(&self, key: &Key, name: &str, plain: impl AsRef<[u8]>, arguments: &[&str]) -> Vec<u8> {
        let path = self.home.path().join(name);
        fs::write(&path, plain).expect("written");
        let output = self
            .command(&["encrypt", "--age", &key.recipient], self.home.path())
            .args(arguments)
            .arg(&path)
            .output()
            .expect("sops runs");
        assert!(
            output.status.success(),
            "sops {name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// Decrypts a file, after sops has verified its MAC.
    ///
    /// # Panics
    /// If sops refuses the file.
    pub fn decrypt(&self, key: &Key, file: &Path, arguments: &[&str]) -> String {
        let output = Command::new(self.tools.join("sops"))
            .args(["--disable-version-check", "decrypt"])
            .args(arguments)
            .arg(file)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("SOPS_AGE_KEY", &key.secret)
            .output()
            .expect("sops runs");
        assert!(
            output.status.success(),
            "sops {}: {}",
            file.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}
