//! Keeping key material out of core dumps.

use std::io;

/// Turns core dumps off for this process: the core size limit becomes 0 and, on Linux, the process is marked not
/// dumpable, which also keeps other processes of the same user from attaching a debugger or reading its memory.
///
/// Call it first thing in `main`, before any key is loaded. A side effect on Linux: parts of `/proc/self` (`fd`,
/// `io`, `environ`) then belong to root, so an unprivileged process can no longer read them.
///
/// # Errors
/// What the operating system says; a server may well go on after logging it.
pub fn harden_process() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
