//! Processes that never outlive the test process, however that ends, and a directory that goes with them.
// Where a test's world can't be made, the test ends.
#![allow(clippy::expect_used)]

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::pair::wait_until;

/// Kills the group and removes the directory when its standard input ends: the system closes that when the test
/// process is gone, so this holds after a panic, an interrupt and SIGKILL, and for values in statics too.
const WARDEN: &str = r#"read -r _
kill -s KILL -- "-$1"
for _ in 1 2 3 4 5; do rm -rf "$2" && exit; sleep 0.2; done"#;

/// A process group and the directory it works in.
pub(super) struct Herd {
    root: PathBuf,
    /// Does nothing but keep the group's number taken, so that it can't come to mean other processes.
    leader: Child,
    warden: Child,
}

impl Herd {
    pub(super) fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("sidevault-cluster-")
            .tempdir()
            .expect("a directory")
            .keep();
        fs::create_dir(root.join("logs")).expect("a directory");
        let leader = Command::new("sleep")
            .arg("infinity")
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sleep runs");
        let warden = Command::new("sh")
            .args(["-c", WARDEN, "warden"])
            .arg(leader.id().to_string())
            .arg(&root)
            .stdin(Stdio::piped())
            // Apart, so that an interrupt at the terminal leaves it to do its work.
            .process_group(0)
            .spawn()
            .expect("sh runs");
        Self { root, leader, warden }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Starts a program in the group, its output in a log of this name.
    pub(super) fn run(&self, name: &str, command: &mut Command) -> Running {
        let log_path = self.root.join("logs").join(format!("{name}.log"));
        let log = File::options()
            .create(true)
            .append(true)
            .open(&log_path)
            .expect("a log file");
        let group = i32::try_from(self.leader.id()).expect("a process id");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .process_group(group)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Running {
            name: name.to_owned(),
            child,
            log_path,
        }
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        // The warden does the rest. Neither can fail in a way that this could mend.
        drop(self.warden.stdin.take());
        let _status = self.warden.wait();
        let _status = self.leader.wait();
    }
}

/// A program beside the cluster. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    log_path: PathBuf,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// If it does not end.
    pub fn terminate(&mut self) {
        if self.alive() {
            let _sent = Command::new("sh")
                .args(["-c", &format!("kill -TERM {}", self.pid())])
                .status();
        }
        let ended = wait_until(|| (!self.alive()).then_some(()));
        assert!(ended.is_some(), "{} does not end\n{}", self.name, self.log());
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended on its own; either way it is gone then.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }

    /// All it has logged, also under the same name before.
    pub fn log(&self) -> String {
        fs::read(&self.log_path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
