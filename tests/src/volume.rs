//! A small file system for a test, which the test can fill or make read-only.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::skipped;

/// A tmpfs. Dropping the value unmounts it.
pub struct Volume {
    at: PathBuf,
}

impl Volume {
    /// Mounts a tmpfs of this many megabytes. `None` if this process may not mount, because it is not root.
    pub fn mount(at: &Path, megabytes: u32) -> Option<Self> {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=700"), "tmpfs"])
            .arg(at)
            .output();
        match done {
            Ok(output) if output.status.success() => Some(Self { at: at.to_owned() }),
            Ok(output) => {
                skipped(&format!("no small disk: {}", String::from_utf8_lossy(&output.stderr)));
                None
            }
            Err(error) => {
                skipped(&format!("no small disk: {error}"));
                None
            }
        }
    }

    /// Makes the file system read-only, or writable again.
    ///
    /// # Panics
    /// If a process has a file there open for writing.
    pub fn set_read_only(&self, read_only: bool) {
        let option = if read_only { "remount,ro" } else { "remount,rw" };
        let done = Command::new("mount").args(["-o", option]).arg(&self.at).status();
        assert!(done.is_ok_and(|status| status.success()), "{option}");
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    /// Writes a file until there is no room left, or until the file has this many megabytes.
    pub fn fill(&self, megabytes: usize) {
        let Ok(mut file) = File::options().create(true).append(true).open(self.ballast()) else {
            return;
        };
        for block in [1 << 20, 4096] {
            while file
                .metadata()
                .is_ok_and(|metadata| metadata.len() < (megabytes as u64) << 20)
            {
                if file.write_all(&vec![1; block]).is_err() {
                    break;
                }
            }
        }
    }

    /// Removes the file that `fill` wrote.
    pub fn free(&self) {
        // There may be no such file.
        let _ = fs::remove_file(self.ballast());
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily (MNT_DETACH), because processes that use it end later.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}
