//! Hostile requests, as tables: what is sent, and what must come back.

mod foreign;
mod json;
mod oddities;
mod patch;
mod protocol;
mod references;
mod size;
mod tokens;

use std::net::SocketAddr;

use crate::forge::Forge;
use crate::wire::Request;

/// The server that the requests go to, with two local vaults and two directory vaults. The token may read and write `own`, and
/// read `own_files`; the other two vaults are out of its scope.
pub struct HostileFixture {
    /// The api's address.
    pub address: SocketAddr,
    /// A valid token.
    pub token: String,
    /// A token that may only read `own`.
    pub reader: String,
    /// A token that may only write to `own`.
    pub writer: String,
    /// Signs forged tokens.
    pub forge: Forge,
    /// A local vault the token may use.
    pub own: String,
    /// A local vault that is out of the token's scope.
    pub foreign: String,
    /// The name of that vault.
    pub foreign_name: String,
    /// An item in `own`, with a field `username` and two tags.
    pub item: String,
    /// An item in `foreign`.
    pub foreign_item: String,
    /// A directory vault with one DOCUMENT.
    pub own_files: String,
    /// That DOCUMENT.
    pub document: String,
    /// Its one file, of 26 bytes.
    pub file: String,
    /// A directory vault that is out of the token's scope.
    pub foreign_files: String,
    /// Its DOCUMENT.
    pub foreign_document: String,
    /// The DOCUMENT's file.
    pub foreign_file: String,
}

/// One request.
pub struct Case {
    /// The name of the case, for the report.
    pub name: String,
    /// The bytes to send.
    pub request: Vec<u8>,
    /// The statuses that are right; 0 means that the connection is closed without an answer.
    pub statuses: Vec<u16>,
    /// What the body must contain.
    pub message: String,
}

/// A case with one right status.
pub(crate) fn case(name: impl Into<String>, request: impl Into<Sent>, status: u16, message: &str) -> Case {
    any(name, request, &[status], message)
}

/// A case with several right statuses.
pub(crate) fn any(name: impl Into<String>, request: impl Into<Sent>, statuses: &[u16], message: &str) -> Case {
    Case {
        name: name.into(),
        request: request.into().0,
        statuses: statuses.to_vec(),
        message: message.to_owned(),
    }
}

/// The bytes to send, made from a request or given as they are.
pub(crate) struct Sent(Vec<u8>);

impl From<Request> for Sent {
    fn from(request: Request) -> Self {
        Self(request.bytes())
    }
}

impl From<Vec<u8>> for Sent {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<String> for Sent {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl HostileFixture {
    /// A request with the valid token.
    pub(crate) fn ask(&self, method: &str, target: impl AsRef<[u8]>) -> Request {
        Request::new(method, target).bearer(&self.token)
    }

    /// `/v1/vaults/{own}/items`.
    pub(crate) fn items(&self) -> String {
        format!("/v1/vaults/{}/items", self.own)
    }

    /// The item's path.
    pub(crate) fn item_path(&self) -> String {
        format!("{}/{}", self.items(), self.item)
    }

    /// The path of the file's content.
    pub(crate) fn content(&self) -> String {
        format!(
            "/v1/vaults/{}/items/{}/files/{}/content",
            self.own_files, self.document, self.file
        )
    }
}

/// All cases.
pub fn cases(fixture: &HostileFixture) -> Vec<Case> {
    [
        tokens::cases(fixture),
        foreign::cases(fixture),
        json::cases(fixture),
        patch::cases(fixture),
        size::cases(fixture),
        protocol::cases(fixture),
        references::cases(fixture),
        oddities::cases(fixture),
    ]
    .into_iter()
    .flatten()
    .collect()
}
