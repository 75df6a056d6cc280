//! Images for the node: docker archives, of a directory with a root file system.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The image of the process that holds a Pod's namespaces.
pub(super) const PAUSE: &str = "docker.io/library/pause:1";

/// Makes archives.
pub struct Image;

impl Image {
    /// Packs a directory as the image of this name, and returns the archive's path, which is beside the directory.
    ///
    /// # Panics
    /// If it can't be packed.
    pub fn pack(root: &Path, name: &str, entrypoint: &[&str]) -> PathBuf {
        let parts = root.with_extension("parts");
        fs::create_dir_all(&parts).expect("a directory");
        tar(&parts.join("layer.tar"), root, &["."]);
        let layer = fs::read(parts.join("layer.tar")).expect("the layer");
        let digest: String = Sha256::digest(&layer)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let architecture = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        };
        let config = json!({"architecture": architecture, "os": "linux",
            "config": {"Entrypoint": entrypoint, "Env": ["PATH=/usr/bin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]}});
        fs::write(parts.join("config.json"), config.to_string()).expect("a file");
        let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
        fs::write(parts.join("manifest.json"), manifest.to_string()).expect("a file");
        let archive = root.with_extension("tar");
        tar(&archive, &parts, &["manifest.json", "config.json", "layer.tar"]);
        fs::remove_dir_all(parts).expect("it can be removed");
        archive
    }

    pub(super) fn pause(directory: &Path) -> PathBuf {
        Self::busybox(directory, PAUSE, &["/bin/busybox", "sleep", "infinity"])
    }

    /// An image with BusyBox's commands.
    ///
    /// # Panics
    /// If it can't be packed.
    pub fn busybox(directory: &Path, name: &str, entrypoint: &[&str]) -> PathBuf {
        Self::busybox_with(directory, name, entrypoint, |_| {})
    }

    /// The same with more files: `add` gets the directory that is packed.
    ///
    /// # Panics
    /// If it can't be packed.
    pub fn busybox_with(directory: &Path, name: &str, entrypoint: &[&str], add: impl FnOnce(&Path)) -> PathBuf {
        let file: String = name
            .chars()
            .map(|letter| if letter.is_alphanumeric() { letter } else { '-' })
            .collect();
        let root = directory.join(file);
        fs::create_dir_all(root.join("bin")).expect("a directory");
        fs::create_dir_all(root.join("tmp")).expect("a directory");
        fs::copy("/usr/bin/busybox", root.join("bin/busybox")).expect("busybox");
        let commands = Command::new("/usr/bin/busybox")
            .arg("--list")
            .output()
            .expect("busybox runs");
        for command in String::from_utf8_lossy(&commands.stdout)
            .lines()
            .filter(|name| *name != "busybox")
        {
            symlink("busybox", root.join("bin").join(command)).expect("a link");
        }
        add(&root);
        Self::pack(&root, name, entrypoint)
    }
}

fn tar(archive: &Path, directory: &Path, names: &[&str]) {
    let done = Command::new("tar")
        .args(["--create", "--owner=0", "--group=0", "--numeric-owner", "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(directory)
        .args(names)
        .status();
    assert!(done.is_ok_and(|status| status.success()), "tar");
}
