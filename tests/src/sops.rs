//! The real `sops` and `age-keygen`, as `tests/tools/build.sh` builds them.
// Where a test's world can't be made, the test ends.
#![allow(clippy::expect_used)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pair::binary;

/// Encrypts as a user would.
pub struct Sops {
    tools: PathBuf,
    home: tempfile::TempDir,
}

/// An age key.
pub struct Key {
    /// The key file's text.
    pub secret: String,
    /// The public half.
    pub recipient: String,
}

impl Sops {
    /// `None`, said loudly, if the programs were not built; under `CI=true` that is a failure.
    ///
    /// # Panics
    /// If they are missing and must not be.
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
        // Past the test harness, which would swallow it.
        let _unheard = writeln!(std::io::stderr(), "{said}");
        None
    }

    /// A new key.
    ///
    /// # Panics
    /// If age-keygen makes none.
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

    /// The encrypted form of `plain`, which would be called `name`.
    ///
    /// # Panics
    /// If sops refuses.
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
