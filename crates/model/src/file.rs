//! Files attached to items.

use serde::{Deserialize, Serialize};

use crate::ids::{FileId, ItemId, VaultId};
use crate::section::SectionRef;

/// A file's details, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct File {
    /// The file's id.
    pub id: FileId,
    /// The file's name, any text.
    #[serde(default, deserialize_with = "crate::wire::null_as_default")]
    pub name: String,
    /// The size of the content in bytes.
    #[serde(default, deserialize_with = "crate::wire::null_as_default")]
    pub size: u64,
    /// The path of the content. It starts with `/v1/`, because the Go SDK appends it to the host.
    #[serde(default, deserialize_with = "crate::wire::null_as_default")]
    pub content_path: String,
    /// The section that the file belongs to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<SectionRef>,
    /// The id of the content's bytes in the store. A changed content has another id. It is not part of the JSON.
    #[serde(skip)]
    pub content: Option<FileId>,
}

impl File {
    /// A file of an item, with the path under which the API serves it.
    pub fn new(vault: VaultId, item: ItemId, id: FileId, name: impl Into<String>, size: u64) -> Self {
        let content_path = format!("/v1/vaults/{vault}/items/{item}/files/{id}/content");
        Self {
            id,
            name: name.into(),
            size,
            content_path,
            section: None,
            content: None,
        }
    }

    /// The file with this content.
    #[must_use]
    pub fn with_content(self, content: FileId) -> Self {
        Self {
            content: Some(content),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Check 160.
    #[test]
    fn a_file_has_the_path_of_its_content() {
        let file = File::new(
            VaultId::from_digest(&[0; 32]),
            ItemId::from_digest(&[0xff; 32]),
            FileId::from_digest(&[0; 32]),
            "tls.crt",
            12,
        )
        .with_content(FileId::from_digest(&[7; 32]));
        assert_eq!(
            serde_json::to_string(&file).unwrap(),
            concat!(
                r#"{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaa","name":"tls.crt","size":12,"#,
                r#""content_path":"/v1/vaults/aaaaaaaaaaaaaaaaaaaaaaaaaa/items/77777777777777777777777777"#,
                r#"/files/aaaaaaaaaaaaaaaaaaaaaaaaaa/content"}"#
            )
        );
    }
}
