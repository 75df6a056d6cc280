//! How a command ends: a message for a person, and a number for a script.

use std::process::ExitCode;

/// The status that shells give for a process that SIGINT ended.
pub(crate) const EXIT_INTERRUPTED: i32 = 130;

/// Why a command failed. The message says what failed, why, and what to do next, and holds no secret.
// The operator alone fails in fewer ways.
#[cfg_attr(not(feature = "server"), allow(dead_code))]
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Any failure that fits nowhere else.
    #[error("{0}")]
    Failed(String),
    /// The arguments make no sense.
    #[error("{0}")]
    Usage(String),
    /// A vault, item, field, token or store does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The token is not accepted, or lacks the right.
    #[error("{0}")]
    Denied(String),
    /// A name is taken or names several things, or someone else changed what was to be changed.
    #[error("{0}")]
    Conflict(String),
    /// The server can't be reached, so that another try later may succeed.
    #[error("{0}")]
    Unreachable(String),
    /// `doctor` found a fault, `verify` a difference, or `status` an object that is not ready, and has printed it.
    #[error("{0}")]
    Found(String),
    /// Data is damaged, or was encrypted with other keys.
    #[error("{0}")]
    Integrity(String),
    /// A setting or a file that configures the program is wrong.
    #[error("{0}")]
    Config(String),
    /// The command that `run` started ended with this status, or could not be started.
    #[error("{}", message.as_deref().unwrap_or_default())]
    Child {
        /// The exit status.
        code: u8,
        /// Why it could not be started.
        message: Option<String>,
    },
    /// The reader of the output has closed the pipe, as `| head` does: no failure.
    #[error("nobody reads the output")]
    Unread,
}

impl Failure {
    /// The exit status, as `man sidevault` lists them.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Unread => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Denied(_) => 4,
            Self::Conflict(_) => 5,
            Self::Unreachable(_) => 6,
            Self::Found(_) => 7,
            Self::Integrity(_) => 8,
            // sysexits.h: EX_CONFIG.
            Self::Config(_) => 78,
            Self::Child { code, .. } => *code,
        }
    }

    /// Prints the message on stderr, and returns the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Unread | Self::Child { message: None, .. } => {}
            failure => eprintln!("sidevault: {failure}"),
        }
        ExitCode::from(self.code())
    }
}

/// Each exit status and its meaning, for `--help` and the manual page.
pub(crate) const EXIT_STATUS: [(&str, &str); 11] = [
    ("0", "done"),
    ("1", "failed"),
    ("2", "wrong usage"),
    ("3", "not found"),
    ("4", "denied (401, 403)"),
    (
        "5",
        "conflict: it exists already, several things have the name, or someone else writes",
    ),
    ("6", "unreachable: try again later"),
    (
        "7",
        "doctor found a fault, verify a difference, or status an object that is not ready",
    ),
    ("8", "damaged data, or the wrong keys"),
    ("78", "wrong configuration"),
    ("130", "interrupted"),
];

/// [`EXIT_STATUS`] as `sidevault --help` ends with it.
pub(crate) fn exit_status_help() -> String {
    let lines = EXIT_STATUS.map(|(status, meaning)| format!("  {status:<4} {meaning}"));
    format!("Exit status:\n{}", lines.join("\n"))
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// The failures of crates that only the feature `server` needs.
#[cfg(feature = "server")]
mod server;
