//! Sends a commit to a server (`git-receive-pack`), which moves a branch to it if the branch is still where it was.

use std::io::{self, Read as _, Write as _};

use gix_hash::ObjectId;
use gix_transport::Service;
use gix_transport::client::blocking_io::{SetServiceResponse, Transport};
use gix_transport::client::{MessageKind, WriteMode};

use crate::commit::NewCommit;
use crate::error::GitError;
use crate::fetch::AGENT;
use crate::session::{Session, one_line};

/// The longest report that is read, in bytes. One of a single branch has two lines.
const MAX_REPORT: u64 = 64 << 10;

/// A server that is ready to take a commit.
pub(crate) struct Receiver<'a> {
    transport: Box<dyn Transport>,
    session: &'a Session,
    branch: &'a str,
    /// Where the branch is.
    pub(crate) tip: ObjectId,
    names_object_format: bool,
}

/// What a server made of a commit.
pub(crate) enum Answer {
    /// The branch is at the commit.
    Taken,
    /// The branch is where it was, for the reason that the server gives.
    Refused(String),
}

impl<'a> Receiver<'a> {
    /// `branch` is the full name of the branch.
    pub(crate) fn new(
        mut transport: Box<dyn Transport>,
        branch: &'a str,
        session: &'a Session,
    ) -> Result<Self, GitError> {
        let explain = |error: &dyn std::fmt::Display| session.explain(error);
        let SetServiceResponse { capabilities, refs, .. } = transport
            .handshake(Service::ReceivePack, &[])
            .map_err(|error| explain(&error))?;
        for needed in ["report-status", "side-band-64k"] {
            if !capabilities.contains(needed) {
                return Err(GitError::Protocol(format!("it does not offer {needed}")));
            }
        }
        let format = capabilities.capability("object-format");
        let format = format.and_then(|format| format.value().map(ToString::to_string));
        let mut tip = None;
        let mut refs = refs.ok_or_else(|| GitError::Protocol("it lists no branches".to_owned()))?;
        while let Some(line) = refs.readline() {
            let line = line.map_err(|error| explain(&error))?;
            let line = line.map_err(|error| explain(&error))?;
            let Some(line) = line.as_bstr() else { break };
            let text = String::from_utf8_lossy(line);
            if let Some((id, name)) = text.trim_end().split_once(' ')
                && name.split('\0').next() == Some(branch)
            {
                tip = ObjectId::from_hex(id.as_bytes()).ok();
            }
        }
        drop(refs);
        let short = branch.strip_prefix("refs/heads/").unwrap_or(branch);
        Ok(Self {
            transport,
            session,
            branch,
            tip: tip.ok_or_else(|| GitError::NoRef(short.to_owned()))?,
            names_object_format: format.is_some(),
        })
    }

    /// Sends a commit, which becomes what the branch is.
    ///
    /// # Errors
    /// [`GitError::Unknown`] if the server did not say whether it took the commit; any other error if it did not.
    pub(crate) fn send(mut self, commit: &NewCommit) -> Result<Answer, GitError> {
        let mut heard = Vec::new();
        match self.exchange(commit, &mut heard) {
            Ok(()) => self.understand(&heard, commit),
            Err(error) => match self.session.explain(&error) {
                // With these, the server did not look at the commit.
                error @ (GitError::Credentials(_) | GitError::NoRepository(_)) => Err(error),
                error => Err(GitError::unknown(commit.id, &error)),
            },
        }
    }

    fn exchange(&mut self, commit: &NewCommit, heard: &mut Vec<u8>) -> io::Result<()> {
        let request = self.transport.request(WriteMode::Binary, MessageKind::Flush, false);
        let mut request = request.map_err(io::Error::other)?;
        let format = if self.names_object_format {
            " object-format=sha1"
        } else {
            ""
        };
        let (tip, id, branch) = (self.tip, commit.id, self.branch);
        let command = format!("{tip} {id} {branch}\0 report-status side-band-64k{format} agent={AGENT}");
        request.write_all(command.as_bytes())?;
        request.write_message(MessageKind::Flush)?;
        let (mut writer, mut reader) = request.into_parts();
        writer.write_all(&commit.pack)?;
        writer.flush()?;
        drop(writer);
        let session = self.session;
        // With a handler, the reader takes the report out of the packets that also carry what hooks write.
        reader.set_progress_handler(Some(Box::new(move |_, text| {
            session.hear(text);
            std::ops::ControlFlow::Continue(())
        })));
        reader.take(MAX_REPORT).read_to_end(heard)?;
        Ok(())
    }

    fn understand(&self, report: &[u8], commit: &NewCommit) -> Result<Answer, GitError> {
        let lines = lines(report);
        if lines.iter().any(|line| *line == format!("ok {}", self.branch)) {
            return Ok(Answer::Taken);
        }
        let refused = lines.iter().find_map(|line| {
            let reason = line.strip_prefix("ng ")?.split_once(' ')?.1;
            Some(reason.to_owned())
        });
        let unpacked = lines.iter().find_map(|line| line.strip_prefix("unpack "));
        let reason = match (refused, unpacked) {
            (Some(reason), _) => reason,
            (None, Some(problem)) if problem != "ok" => problem.to_owned(),
            _ => {
                let error = GitError::Protocol("its report has no line about the branch".to_owned());
                return Err(GitError::unknown(commit.id, &error));
            }
        };
        let said = self.session.said();
        let text = if said.is_empty() {
            reason
        } else {
            format!("{reason}: {said}")
        };
        Ok(Answer::Refused(one_line(&text)))
    }
}

/// The lines of a report, each of which has its length in front. What can't be read is left out.
fn lines(mut report: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some((length, rest)) = report.split_first_chunk::<4>() {
        let length = std::str::from_utf8(length).ok();
        let length = length.and_then(|length| usize::from_str_radix(length, 16).ok());
        let Some((line, after)) = length
            .and_then(|length| length.checked_sub(4))
            .and_then(|length| rest.split_at_checked(length))
        else {
            break;
        };
        lines.push(String::from_utf8_lossy(line).trim_end().to_owned());
        report = after;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_up_to_its_end_or_damage() {
        let report = b"000eunpack ok\n0017ok refs/heads/main\n0000";
        assert_eq!(lines(report), ["unpack ok", "ok refs/heads/main"]);
        for (damaged, whole) in [(&report[..20], 1), (b"zzzz", 0), (b"00", 0), (b"fffe", 0), (b"0003", 0)] {
            assert_eq!(lines(damaged).len(), whole, "{damaged:?}");
        }
    }
}
