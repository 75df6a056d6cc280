//! The programs of others that tests run, and what happens when one is missing.

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::pair::binary;

/// Says on standard error that a test, or a part of one, is skipped, and why.
///
/// # Panics
/// With `CI=true`: there everything that the tests need is installed.
pub fn skipped(reason: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "SKIPPED: {reason}");
    // Written to standard error directly, because the test harness captures what `eprintln!` prints. A closed standard error is no
    // reason to fail.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
}

/// The directory of these programs, which `tests/tools/build.sh` builds. `None` if one is missing: the test is [`skipped`].
///
/// # Panics
/// As [`skipped`].
pub fn find(programs: &[&str]) -> Option<PathBuf> {
    find_in(directory()?, programs, "tests/tools/build.sh")
}

/// The directory of these programs, which `tests/cluster/build.sh` builds. `None` if one is missing: the test is [`skipped`].
///
/// # Panics
/// As [`skipped`].
pub fn find_in_cluster(programs: &[&str]) -> Option<PathBuf> {
    find_in(directory()?.join("cluster"), programs, "tests/cluster/build.sh")
}

/// Where the scripts put what they build: `SIDEVAULT_TOOLS`, or beside the directory of the binary under test.
pub fn directory() -> Option<PathBuf> {
    let beside = || Some(binary().parent().and_then(Path::parent)?.join("tools"));
    env::var_os("SIDEVAULT_TOOLS").map(PathBuf::from).or_else(beside)
}

fn find_in(directory: PathBuf, programs: &[&str], script: &str) -> Option<PathBuf> {
    let Some(missing) = programs.iter().find(|program| !directory.join(program).is_file()) else {
        return Some(directory);
    };
    skipped(&format!("no {missing} in {}; run {script}", directory.display()));
    None
}
