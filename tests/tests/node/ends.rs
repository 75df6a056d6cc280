//! What is left of a node when the test process is killed: nothing.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sidevault_tests::cluster::node::{Image, Node};
use sidevault_tests::pair::wait_until;

use super::fixture::{APPLICATION, is_nightly};

/// Names the file that the killed process writes when its Pod runs.
const KILLED: &str = "SIDEVAULT_NODE_KILLED";

/// This is the process that [`nothing_is_left_of_a_killed_test`] kills.
#[test]
#[ignore = "started by nothing_is_left_of_a_killed_test"]
fn a_node_until_it_is_killed() {
    let Some(node) = Node::start() else { return };
    node.import(&Image::busybox(&node.cluster().path(""), APPLICATION, &[]));
    let image = format!("--image={APPLICATION}");
    let cluster = node.cluster();
    cluster.must(&[
        "run",
        "app",
        &image,
        "--image-pull-policy=Never",
        "--command",
        "--",
        "sleep",
        "infinity",
    ]);
    cluster.must(&["wait", "--for=condition=Ready", "--timeout=120s", "pod/app"]);
    let file = PathBuf::from(env::var_os(KILLED).expect("the file's name"));
    fs::write(
        file.with_extension("new"),
        node.cluster().path("").display().to_string(),
    )
    .expect("a file");
    fs::rename(file.with_extension("new"), file).expect("a file");
    loop {
        std::thread::park();
    }
}

#[test]
fn nothing_is_left_of_a_killed_test() {
    if !is_nightly() {
        return;
    }
    // Its check of what this machine has.
    if Node::shared().is_none() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("directory");
    let mut test = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "ends::a_node_until_it_is_killed", "--ignored", "--nocapture"])
        .env(KILLED, &file)
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let root = wait_until(|| fs::read_to_string(&file).ok());
    let groups = format!("sidevault-test-{}", test.id());
    let before = root.as_ref().map(|root| left(root, &groups));
    test.kill().expect("it runs");
    test.wait().expect("it ends");
    let (root, before) = (root.expect("a Pod runs"), before.expect("a Pod runs"));
    assert!(before.len() > 10, "the search finds what there is: {before:?}");
    let mut last = Vec::new();
    let gone = wait_until(|| {
        last = left(&root, &groups);
        last.is_empty().then_some(())
    });
    assert!(gone.is_some(), "{last:?}");
}

/// What there is of a node: its directory, its control groups, processes in these groups or with the directory in their arguments, and
/// mounts of files in it.
fn left(root: &str, groups: &str) -> Vec<String> {
    let root = root.trim_end_matches('/');
    let mut found = Vec::new();
    if Path::new(root).exists() {
        found.push(root.to_owned());
    }
    let listed = Command::new("find")
        .args(["/sys/fs/cgroup", "-maxdepth", "2", "-name", groups])
        .output()
        .expect("find runs");
    found.extend(String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned));
    for process in fs::read_dir("/proc").expect("processes").flatten() {
        // A process may end meanwhile.
        let read = |name: &str| {
            let bytes = fs::read(process.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        if process.file_name().to_string_lossy().parse::<u32>().is_ok()
            && (read("cmdline").contains(root) || read("cgroup").contains(groups) || read("mounts").contains(root))
        {
            found.push(format!(
                "{} {}",
                process.path().display(),
                read("cmdline").replace('\0', " ")
            ));
        }
    }
    found
}
