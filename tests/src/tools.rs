//! The programs that `tests/tools/build.sh` builds.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::pair::binary;

/// The directory of these programs. `None` if one of them was not built, with a line on standard error; with `CI=true` the test
/// fails.
///
/// # Panics
/// If one is missing and `CI=true`.
pub fn find(programs: &[&str]) -> Option<PathBuf> {
    let beside = || Some(binary().parent().and_then(Path::parent)?.join("tools"));
    let tools = std::env::var_os("SIDEVAULT_TOOLS").map(PathBuf::from).or_else(beside)?;
    if programs.iter().all(|program| tools.join(program).is_file()) {
        return Some(tools);
    }
    let said = format!(
        "SKIPPED: no {} in {}; run tests/tools/build.sh",
        programs.join(" and "),
        tools.display()
    );
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{said}");
    // Written to standard error directly, because the test harness captures what `eprintln!` prints.
    let _ = writeln!(std::io::stderr(), "{said}");
    None
}
