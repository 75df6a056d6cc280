//! The real `sops` and `age-keygen`, as `tests/tools/build.sh` builds them.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pair::binary;

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
        let beside = || {
            binary()
                .parent()
                .and_then(Path::parent)
                .map(|target| target.join("tools"))
        };
        let tools = std::env::var_os("SIDEVAULT_TOOLS").map(PathBuf::from).or_else(beside)?;
        if ["sops", "age-keygen"]
            .iter()
            .all(|program| tools.join(program).is_file())
        {
            let home = tempfile::tempdir().expect("a directory");
            return Some(Self { tools, home });
        }
        let said = format!(
            "SKIPPED: no sops and age-keygen in {}; run tests/tools/build.sh",
            tools.display()
        );
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{said}");
        // Written to standard error directly, because the test harness captures what `eprintln!` prints.
        let _ = writeln!(std::io::stderr(), "{said}");
        None
    }

    /// Makes an age key.
    ///
    /// # Panics
    /// If age-keygen fails.
    pub fn key(&self) -> Key {
        let output = Command::new(self.tools.join("age-keygen"))
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

    /// Encrypts `plain` as the content of a file called `name`, from whose ending sops takes the format.
    ///
    /// # Panics
    /// If sops fails.
    pub fn encrypt(&self, key: &Key, name: &str, plain: impl AsRef<[u8]>, arguments: &[&str]) -> Vec<u8> {
        let path = self.home.path().join(name);
        fs::write(&path, plain).expect("written");
        let output = Command::new(self.tools.join("sops"))
            .args(["--disable-version-check", "encrypt", "--age", &key.recipient])
            .args(arguments)
            .arg(&path)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .output()
            .expect("sops runs");
        assert!(
            output.status.success(),
            "sops {name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }
}
