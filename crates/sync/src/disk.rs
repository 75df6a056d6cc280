//! The kind of disk that the store is on, and whether it outlives the Pod.

use std::fmt;
use std::path::Path;

use sidevault_store::Database;

/// The kind of disk that a directory is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Any other disk. It is taken to outlive the Pod.
    Persistent,
    /// A Kubernetes `emptyDir`, which is deleted with the Pod.
    EmptyDir,
    /// A tmpfs, which is lost when the machine or the container stops.
    Memory,
    /// A container's own writable layer, which is deleted with the container.
    ContainerLayer,
}

impl Disk {
    /// Whether an ordinary restart or rescheduling of the Pod loses its content.
    pub fn is_ephemeral(&self) -> bool {
        *self != Self::Persistent
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Persistent => "a persistent disk",
            Self::EmptyDir => "an emptyDir volume, which is deleted with the Pod",
            Self::Memory => "a tmpfs, which is lost when the machine or container stops",
            Self::ContainerLayer => "the container's own layer, which is deleted with the container",
        })
    }
}

/// The kind of disk that a store in the data directory `dir` is on, from this process's mount table. Without a table it counts
/// as persistent, and so does the disk of a database server.
pub fn disk_of(database: &Database, dir: &Path) -> Disk {
    if !database.is_in_directory() {
        return Disk::Persistent;
    }
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    std::fs::read_to_string("/proc/self/mountinfo").map_or(Disk::Persistent, |table| find(&table, &dir))
}

/// `table` is in the format of proc(5), `/proc/[pid]/mountinfo`.
fn find(table: &str, dir: &Path) -> Disk {
    let mut best: Option<(usize, Disk)> = None;
    for line in table.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let mut fields = left.split(' ').skip(3);
        let (Some(root), Some(mount_point)) = (fields.next(), fields.next()) else {
            continue;
        };
        let mount_point = unescape(mount_point);
        if !dir.starts_with(&mount_point) {
            continue;
        }
        let kind = right.split(' ').next().unwrap_or_default();
        let disk = match kind {
            // The kubelet bind-mounts an emptyDir from below this directory, which the root field shows.
            _ if root.contains("/volumes/kubernetes.io~empty-dir/") => Disk::EmptyDir,
            _ if mount_point.contains("/volumes/kubernetes.io~empty-dir/") => Disk::EmptyDir,
            "tmpfs" | "ramfs" => Disk::Memory,
            "overlay" => Disk::ContainerLayer,
            _ => Disk::Persistent,
        };
        // The longest mount point is the right one; of two mounts on one path, the later hides the earlier.
        if best.as_ref().is_none_or(|(length, _)| mount_point.len() >= *length) {
            best = Some((mount_point.len(), disk));
        }
    }
    best.map_or(Disk::Persistent, |(_, disk)| disk)
}

/// The table has white space and backslashes as octal escapes.
fn unescape(field: &str) -> String {
    field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 253:0 / / rw - overlay overlay rw,lowerdir=/a
30 22 0:25 / /dev/shm rw - tmpfs tmpfs rw
31 22 253:1 /var/lib/kubelet/pods/6c1f/volumes/kubernetes.io~empty-dir/shared-data /home/opuser/.op/data rw - ext4 /dev/vda1 rw
32 22 253:2 / /srv/with\\040blank rw - xfs /dev/vdb rw";

    #[test]
    fn an_empty_dir_is_recognized_by_the_kubelets_path() {
        assert_eq!(find(TABLE, Path::new("/home/opuser/.op/data")), Disk::EmptyDir);
        assert_eq!(find(TABLE, Path::new("/home/opuser/.op/data/below")), Disk::EmptyDir);
    }

    #[test]
    fn the_longest_mount_point_decides() {
        assert_eq!(find(TABLE, Path::new("/home/opuser")), Disk::ContainerLayer);
        assert_eq!(find(TABLE, Path::new("/dev/shm/x")), Disk::Memory);
        assert_eq!(find(TABLE, Path::new("/srv/with blank/data")), Disk::Persistent);
    }
}
