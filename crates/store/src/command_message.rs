use serde::{Deserialize, Serialize};

/// A [`Command`](crate::Command) as it is sent over the bus, in JSON. `C` is `Command`, or `&Command` on the sender's side.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandMessage<C> {
    /// The id of the HTTP request that caused the command, for the log. None for a command of an administrator.
    pub request_id: Option<String>,
    /// The command.
    pub command: C,
}
