//! Keeps keys out of core dumps.

use std::io;

/// Turns core dumps off for this process: it sets the limit of their size to 0. On Linux it also marks the process as not
/// dumpable, so that other processes of the same user can't attach a debugger or read its memory.
///
/// Call it at the start of `main`, before any key is loaded. On Linux, parts of `/proc/self` (`fd`, `io`, `environ`) belong to
/// root from then on, so an unprivileged process can't read them.
///
/// # Errors
/// The operating system's error. A server can log it and go on.
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
