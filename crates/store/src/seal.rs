//! The plaintext of sealed rows.

use serde::{Deserialize, Serialize};
use sidevault_model::{FileId, Item};

use crate::StoreError;
use crate::row_aad::RowAad;

/// A bit of the first byte: the item has one-time passwords, so that each read has to put the current codes into the JSON.
const HAS_CODES: u8 = 1;
/// A bit of the first byte: the item has files. Their number (32 bits, big-endian) follows, and then, in the item's order, the
/// id of each file's content; zeros for a file without content.
const HAS_FILES: u8 = 2;

/// How many bytes the id of a file's content has.
const ID: usize = 26;

/// The plaintext of an item's detail, split into its parts: flags, the ids of the files' contents, and Connect's FullItem as
/// JSON. A read sends the JSON as it is, without parsing it.
pub(crate) struct Detail<'a> {
    pub(crate) has_codes: bool,
    contents: &'a [u8],
    pub(crate) json: &'a [u8],
}

impl<'a> Detail<'a> {
    /// None if the plaintext is cut short.
    pub(crate) fn split(plaintext: &'a [u8]) -> Option<Self> {
        let (flags, mut json) = plaintext.split_first()?;
        let mut contents: &[u8] = &[];
        if flags & HAS_FILES != 0 {
            let (count, rest) = json.split_first_chunk()?;
            let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
            (contents, json) = rest.split_at_checked(count.checked_mul(ID)?)?;
        }
        Some(Self {
            has_codes: flags & HAS_CODES != 0,
            contents,
            json,
        })
    }

    /// The item, with the ids of its files' contents.
    pub(crate) fn item(&self) -> Option<Item> {
        let mut item = Item::from_json(self.json).ok()?;
        for (file, content) in item.files.iter_mut().zip(self.contents.chunks_exact(ID)) {
            file.content = content.try_into().ok().and_then(|id| FileId::from_bytes(id).ok());
        }
        Some(item)
    }
}

/// The plaintext of an item's detail.
pub(crate) fn detail(item: &Item) -> Vec<u8> {
    let json = item.full_json();
    let mut plaintext = Vec::with_capacity(json.len() + 5 + item.files.len() * ID);
    let codes = if item.has_otp() { HAS_CODES } else { 0 };
    match u32::try_from(item.files.len()) {
        Ok(count @ 1..) => {
            plaintext.push(codes | HAS_FILES);
            plaintext.extend_from_slice(&count.to_be_bytes());
            for file in &item.files {
                plaintext.extend_from_slice(file.content.as_ref().map_or(&[0; ID], |content| content.as_bytes()));
            }
        }
        _ => plaintext.push(codes),
    }
    plaintext.extend_from_slice(&json);
    plaintext
}

pub(crate) fn parse_detail(aad: &RowAad, plaintext: &[u8]) -> Result<Item, StoreError> {
    Detail::split(plaintext)
        .and_then(|detail| detail.item())
        .ok_or_else(|| StoreError::corrupt(aad.to_string()))
}

/// The sealed part of a vault's row.
#[derive(Serialize, Deserialize)]
pub(crate) struct VaultNames {
    pub(crate) name: String,
    /// [`crate::LOCAL_SOURCE`], or the name of the directory source that the vault comes from. REST may write only to local
    /// vaults.
    pub(crate) source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
}

pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    // Serialising fails only for maps without string keys and for types that report errors. None of these types does.
    serde_json::to_vec(value).unwrap_or_default()
}

pub(crate) fn from_json<'a, T: Deserialize<'a>>(aad: &RowAad, json: &'a [u8]) -> Result<T, StoreError> {
    serde_json::from_slice(json).map_err(|_| StoreError::corrupt(aad.to_string()))
}
