//! Runs the real sops and age-keygen, which `tests/tools/build.sh` builds.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sidevault_sops::Identities;
use tempfile::TempDir;

/// The directory of the programs; `None`, with a note on the terminal, if they were not built.
pub(crate) fn folder() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    );
    let folder = std::env::var_os("SIDEVAULT_TOOLS").map_or_else(|| target.join("tools"), PathBuf::from);
    if ["sops", "age-keygen"]
        .iter()
        .all(|program| folder.join(program).is_file())
    {
        return Some(folder);
    }
    let said = format!(
        "SKIPPED: no sops and age-keygen in {}; run tests/tools/build.sh",
        folder.display()
    );
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{said}");
    // Written to the terminal itself, because the test harness captures standard error.
    let _ = writeln!(std::io::stderr(), "{said}");
    None
}

/// A directory with new keys, in which sops runs.
pub(crate) struct World {
    tools: PathBuf,
    home: TempDir,
    keys: Vec<(String, String)>,
}

impl World {
    pub(crate) fn new(key_count: usize) -> Option<Self> {
        let tools = folder()?;
        let home = tempfile::tempdir().unwrap();
        let keys = (0..key_count).map(|_| run_keygen(&tools, &[])).collect();
        Some(Self { tools, home, keys })
    }

    pub(crate) fn recipient(&self, key: usize) -> &str {
        &self.keys[key].1
    }

    /// A post-quantum key and its recipient.
    pub(crate) fn post_quantum_key(&self) -> (String, String) {
        run_keygen(&self.tools, &["-pq"])
    }

    pub(crate) fn identities(&self, keys: &[usize]) -> Identities {
        let text: Vec<_> = keys.iter().map(|key| self.keys[*key].0.as_str()).collect();
        Identities::parse(text.join("\n").as_bytes(), None).0
    }

    /// Encrypts `plain` under the creation rule and returns the file.
    pub(crate) fn encrypt(&self, file: &str, plain: &[u8], rule: &[&str]) -> Vec<u8> {
        self.try_encrypt(file, plain, rule).unwrap()
    }

    /// Like [`World::encrypt`]. The error is the output of sops.
    ///
    /// `rule` has lines of the rule in `.sops.yaml`. If it names no recipient, the first key is used.
    pub(crate) fn try_encrypt(&self, file: &str, plain: &[u8], rule: &[&str]) -> Result<Vec<u8>, String> {
        let named = rule
            .iter()
            .any(|line| line.starts_with("age:") || line.starts_with("key_groups:"));
        let own = format!("age: {}", self.recipient(0));
        let lines: Vec<&str> = rule.iter().copied().chain((!named).then_some(own.as_str())).collect();
        let config = format!("creation_rules:\n  - {}\n", lines.join("\n    "));
        std::fs::write(self.home.path().join(".sops.yaml"), config).unwrap();
        let path = self.home.path().join(file);
        std::fs::write(&path, plain).unwrap();
        let output = self.sops(&["encrypt"], &path, &[]);
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(format!("{file}: sops: {}", String::from_utf8_lossy(&output.stderr)))
        }
    }

    /// The file as sops decrypts it; `None` if sops refuses.
    pub(crate) fn decrypt(&self, file: &str, sealed: &[u8], output_type: &str, keys: &[usize]) -> Option<Vec<u8>> {
        let path = self.home.path().join(file);
        std::fs::write(&path, sealed).unwrap();
        let output = self.sops(&["decrypt", "--output-type", output_type], &path, keys);
        output.status.success().then_some(output.stdout)
    }

    /// Runs a program in the directory; `PATH` has the directory itself, the tools, and the system's programs.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let path = format!("{}:{}:/usr/bin:/bin", self.home.path().display(), self.tools.display());
        Command::new("/usr/bin/env")
            .arg(format!("PATH={path}"))
            .arg(program)
            .args(arguments)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .output()
            .unwrap()
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    fn sops(&self, arguments: &[&str], file: &Path, keys: &[usize]) -> Output {
        let secrets: Vec<_> = keys.iter().map(|key| self.keys[*key].0.as_str()).collect();
        Command::new(self.tools.join("sops"))
            .arg("--disable-version-check")
            .args(arguments)
            .arg(file)
            .current_dir(self.home.path())
            .env_clear()
            // A test may put an age plugin into the directory.
            .env("PATH", format!("{}:/usr/bin:/bin", self.home.path().display()))
            .env("HOME", self.home.path())
            .env("TZ", "UTC")
            .env("SOPS_AGE_KEY", secrets.join("\n"))
            .output()
            .unwrap()
    }
}

fn run_keygen(tools: &Path, arguments: &[&str]) -> (String, String) {
    let output = Command::new(tools.join("age-keygen")).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let recipient = text
        .lines()
        .find_map(|line| line.strip_prefix("# public key: "))
        .unwrap()
        .to_owned();
    (text, recipient)
}
