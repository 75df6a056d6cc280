//! Processes that are killed when the test process ends in any way, with a directory that is removed then.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::pair::wait_until;

/// Kills the process group and removes the directory when its standard input is closed. The kernel closes it when the test process is
/// gone, so this works after a panic, an interrupt and SIGKILL, and for values in statics too. Control groups of the name that is the
/// third argument are removed when no process is in them any more.
const WARDEN: &str = r#"read -r _
kill -s KILL -- "-$1"
for _ in $(seq 50); do
    [ -z "$3" ] || find /sys/fs/cgroup -depth -type d -path "*/$3*" -exec rmdir {} + 2> /dev/null
    rm -rf "$2" && { [ -z "$3" ] || [ -z "$(find /sys/fs/cgroup -maxdepth 2 -name "$3")" ]; } && exit
    sleep 0.2
done"#;

/// A process group and its directory.
pub(crate) struct Herd {
    root: PathBuf,
    /// The name of the control groups, or nothing.
    control_group: String,
    /// A process that only keeps the group's number in use, so that no other group can get the number.
    leader: Child,
    warden: Child,
}

impl Herd {
    pub(crate) fn new() -> Self {
        Self::with_control_group("")
    }

    /// With an empty control group of the same unique name in each of the machine's hierarchies (needs root).
    pub(crate) fn with_control_groups() -> Self {
        let name = format!("sidevault-test-{}", std::process::id());
        let herd = Self::with_control_group(&name);
        let mounts = fs::read_to_string("/proc/mounts").expect("the mounts");
        for mount in mounts.lines() {
            let mut words = mount.split(' ').skip(1);
            if let (Some(at), Some("cgroup" | "cgroup2")) = (words.next(), words.next()) {
                fs::create_dir(Path::new(at).join(&name)).expect("root may make a control group");
            }
        }
        herd
    }

    fn with_control_group(control_group: &str) -> Self {
        let root = tempfile::Builder::new()
            .prefix("sidevault-herd-")
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
            .arg(control_group)
            .stdin(Stdio::piped())
            // A group of its own, so that Ctrl-C at the terminal does not end it before it has cleaned up.
            .process_group(0)
            .spawn()
            .expect("sh runs");
        Self {
            root,
            control_group: control_group.to_owned(),
            leader,
            warden,
        }
    }

    pub(crate) fn control_group(&self) -> &str {
        &self.control_group
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Starts a program in the group, its output in a log of this name.
    pub(crate) fn run(&self, name: &str, command: &mut Command) -> Running {
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
        // The warden does the rest. If one of these fails, nothing more can be done here.
        drop(self.warden.stdin.take());
        self.warden.wait().ok();
        self.leader.wait().ok();
    }
}

/// A program of a herd. Dropping the value kills it.
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

    /// Whether the program still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGTERM, and waits until the program has ended.
    ///
    /// # Panics
    /// If it does not end.
    pub fn terminate(&mut self) {
        if self.alive() {
            let _ = Command::new("sh")
                .args(["-c", &format!("kill -TERM {}", self.pid())])
                .status();
        }
        let ended = wait_until(|| (!self.alive()).then_some(()));
        assert!(ended.is_some(), "{} does not end\n{}", self.name, self.log());
    }

    /// Sends SIGKILL, and waits until the program is gone.
    pub fn kill(&mut self) {
        // This fails if the program has ended by itself, which is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// The log, with that of earlier programs of the same name.
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

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
