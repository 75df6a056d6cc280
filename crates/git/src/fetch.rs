//! Asks a remote what a branch or tag is, and brings that commit, without its history, into a directory of objects.

use std::io::BufRead;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix_hash::{Kind, ObjectId};
use gix_object::bstr::BString;
use gix_protocol::fetch::{Arguments, Response};
use gix_protocol::handshake::Ref;
use gix_protocol::ls_refs::RefPrefixes;
use gix_protocol::{Command, Handshake, LsRefsCommand};
use gix_transport::client::blocking_io::Transport;
use gix_transport::{Protocol, Service};
use gix_utils::progress::Discard;

use crate::error::GitError;
use crate::session::Session;

/// The largest file that is fetched. Servers that can leave out larger ones are asked to.
pub(crate) const MAX_FILE: u64 = 64 << 20;
/// The largest single object that is unpacked.
const MAX_OBJECT: usize = 256 << 20;

pub(crate) const AGENT: &str = concat!("git/sidevault-", env!("CARGO_PKG_VERSION"));

/// What a branch or tag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    /// The commit, or the annotated tag.
    pub(crate) object: ObjectId,
}

/// A remote that has introduced itself.
pub(crate) struct Connected<'a> {
    transport: Box<dyn Transport>,
    handshake: Handshake,
    session: &'a Session,
}

impl<'a> Connected<'a> {
    pub(crate) fn new(mut transport: Box<dyn Transport>, session: &'a Session) -> Result<Self, GitError> {
        let no_credentials = |_| Ok(None);
        let handshake = gix_protocol::handshake(
            &mut transport,
            Service::UploadPack,
            no_credentials,
            Vec::new(),
            &mut Discard,
        )
        .map_err(|error| session.explain(&error))?;
        let format = handshake.capabilities.capability("object-format");
        if let Some(format) = format.and_then(|format| format.value().map(ToString::to_string))
            && format != "sha1"
        {
            return Err(GitError::Protocol(format!(
                "the repository has {format} object ids; only SHA-1 is supported"
            )));
        }
        Ok(Self {
            transport,
            handshake,
            session,
        })
    }

    /// What the branch, tag or full name of a ref is now. A commit's own id is itself.
    pub(crate) fn tip(&mut self, name: &str) -> Result<Tip, GitError> {
        if let Ok(object) = ObjectId::from_hex(name.as_bytes()) {
            return Ok(Tip { object });
        }
        let candidates = candidates(name);
        let refs = match self.handshake.refs.take() {
            // An older protocol lists all refs at once.
            Some(refs) => refs,
            None => {
                let mut prefixes = RefPrefixes::new();
                prefixes.extend(candidates.iter().map(|name| BString::from(name.as_str())));
                let agent = ("agent", Some(AGENT.to_owned()));
                LsRefsCommand::new(Some(prefixes), &self.handshake.capabilities, agent)
                    .invoke_blocking(&mut self.transport, &mut Discard, false)
                    .map_err(|error| self.session.explain(&error))?
            }
        };
        let found = candidates
            .iter()
            .find_map(|wanted| refs.iter().find_map(|found| named(found, wanted)));
        found
            .map(|object| Tip { object })
            .ok_or_else(|| GitError::NoRef(name.to_owned()))
    }

    /// Fetches an object into the directory `objects`. The server sends no object that `have`, a commit that is there
    /// already, has too.
    pub(crate) fn fetch(
        &mut self,
        tip: Tip,
        have: Option<ObjectId>,
        objects: &Path,
        stop: &AtomicBool,
    ) -> Result<(), GitError> {
        let version = self.handshake.server_protocol_version;
        let mut features = Command::Fetch.default_features(version, &self.handshake.capabilities);
        features.push(("agent", Some(AGENT.to_owned())));
        let explain = |error: &dyn std::fmt::Display| self.session.explain(error);
        Response::check_required_features(version, &features).map_err(|error| explain(&error))?;
        let mut arguments = Arguments::new(version, features, false);
        arguments.want(tip.object);
        if arguments.can_use_shallow() {
            if let Some(have) = have {
                arguments.shallow(have);
            }
            arguments.deepen(1);
        }
        if arguments.can_use_filter() && version == Protocol::V2 {
            arguments.filter(&format!("blob:limit={MAX_FILE}"));
        }
        if let Some(have) = have {
            arguments.have(have);
        }
        let mut reader = arguments
            .send(&mut self.transport, true)
            .map_err(|error| explain(&error))?;
        let response =
            Response::from_line_reader(version, &mut reader, true, false).map_err(|error| explain(&error))?;
        if !response.has_pack() {
            return Err(GitError::Protocol("the server sent no objects".to_owned()));
        }
        // With a handler, the reader takes the objects out of the packets that also carry progress and errors.
        let session = self.session;
        reader.set_progress_handler(Some(Box::new(move |is_error, text| {
            if is_error {
                session.hear(text);
            }
            std::ops::ControlFlow::Continue(())
        })));
        let bases = have.map(|_| gix_odb::at(objects, Kind::Sha1)).transpose()?;
        store_pack(&mut reader, bases, objects, stop).map_err(|error| explain(&error))
    }
}

/// Adds a pack to the directory `objects`. `bases` has the objects that the pack's refer to without having them.
///
/// # Errors
/// In words: the pack is damaged, or can't be written.
pub(crate) fn store_pack(
    pack: &mut dyn BufRead,
    bases: Option<gix_odb::Handle>,
    objects: &Path,
    stop: &AtomicBool,
) -> Result<(), String> {
    let directory = objects.join("pack");
    std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let options = gix_pack::bundle::write::Options {
        alloc_limit_bytes: Some(MAX_OBJECT),
        ..Default::default()
    };
    let written =
        gix_pack::Bundle::write_to_directory(pack, Some(&directory), &mut Discard, stop, bases, Kind::Sha1, options)
            .map_err(|error| format!("{error:#}"))?;
    match written.keep_path {
        Some(keep) => std::fs::remove_file(keep).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

/// The full names that a short name may stand for, the best first.
fn candidates(name: &str) -> Vec<String> {
    if name == "HEAD" || name.starts_with("refs/") {
        return vec![name.to_owned()];
    }
    vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")]
}

/// The object of a ref, if it has this name.
fn named(found: &Ref, wanted: &str) -> Option<ObjectId> {
    let (name, target, _) = found.unpack();
    (name == wanted).then_some(target)?.map(ToOwned::to_owned)
}
