//! What the kernel says about a process.

use std::fs;
use std::time::Duration;

/// The processor time of all threads of a process so far, to the nanosecond.
pub(crate) fn cpu(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let spent = tasks.filter_map(|task| {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}

/// The processor time of a process and of its children so far. That of children that have ended is known to 10 ms.
pub(crate) fn cpu_with_children(pid: u32) -> Duration {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Fields 16 and 17 of proc_pid_stat(5), counted from the third, which follows the name in parentheses.
    let fields = stat
        .rsplit_once(')')
        .map_or("", |(_, fields)| fields)
        .split_whitespace();
    let ended: u64 = fields
        .skip(13)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    cpu(pid) + children.map(cpu).sum::<Duration>() + Duration::from_millis(ended * 10)
}

/// How much processor time was spent between two looks, in seconds. A thread that ended in between may make the second less.
pub(crate) fn spent(before: Duration, after: Duration) -> f64 {
    after.saturating_sub(before).as_secs_f64()
}

/// The resident memory of a process, in MiB.
pub(crate) fn resident_mib(pid: u32) -> Option<f64> {
    memory_mib(pid, "VmRSS:")
}

/// The most resident memory that a process had, in MiB.
pub(crate) fn most_resident_mib(pid: u32) -> Option<f64> {
    memory_mib(pid, "VmHWM:")
}

/// How many bytes a process has read so far, from files and otherwise.
pub(crate) fn bytes_read(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or_default()
}

fn memory_mib(pid: u32, name: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / 1024.0)
}
