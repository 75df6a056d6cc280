//! A small disk of its own for a test, which can be filled.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs, unmounted with the value.
pub struct Volume {
    at: PathBuf,
}

impl Volume {
    /// Mounts one of so many megabytes. None where this process may not mount: only root may.
    pub fn mount(at: &Path, megabytes: u32) -> Option<Self> {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=700"), "tmpfs"])
            .arg(at)
            .output();
        match done {
            Ok(output) if output.status.success() => Some(Self { at: at.to_owned() }),
            Ok(output) => {
                println!("SKIPPED: no small disk: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                println!("SKIPPED: no small disk: {error}");
                None
            }
        }
    }

    /// Lets nobody write to it, or lets them again.
    ///
    /// # Panics
    /// If someone has a file there open for writing.
    pub fn set_read_only(&self, read_only: bool) {
        let option = if read_only { "remount,ro" } else { "remount,rw" };
        let done = Command::new("mount").args(["-o", option]).arg(&self.at).status();
        assert!(done.is_ok_and(|status| status.success()), "{option}");
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    /// Fills it until there is no room left, or until a file of so many megabytes is in it.
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

    /// Takes out what filled it.
    pub fn free(&self) {
        // It may not be there.
        let _ = fs::remove_file(self.ballast());
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily, for the processes on it end after this.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}
