//! What the plaintext of a sealed row looks like.

use serde::{Deserialize, Serialize};
use sidevault_model::{FileId, Item};

use crate::StoreError;
use crate::row_aad::RowAad;

/// A bit of a detail's first byte: the item has one-time passwords, whose codes are put in at each read.
const HAS_CODES: u8 = 1;
/// A bit of a detail's first byte: the item has files. Between that byte and the JSON stand their number (32 bits,
/// big-endian) and, for each in the item's order, the id of its content; zeros for a file without one.
const HAS_FILES: u8 = 2;

/// Bytes of a content's id.
const ID: usize = 26;

/// The plaintext of an item's detail, taken apart without a look into the JSON.
pub(crate) struct Detail<'a> {
    pub(crate) has_codes: bool,
    contents: &'a [u8],
    pub(crate) json: &'a [u8],
}

impl<'a> Detail<'a> {
    /// None if it is cut short.
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

    /// The item, its files with their contents.
    pub(crate) fn item(&self) -> Option<Item> {
        let mut item = Item::from_json(self.json).ok()?;
        for (file, content) in item.files.iter_mut().zip(self.contents.chunks_exact(ID)) {
            file.content = content.try_into().ok().and_then(|id| FileId::from_bytes(id).ok());
        }
        Some(item)
    }
}

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

/// What is sealed of a vault.
#[derive(Serialize, Deserialize)]
pub(crate) struct VaultNames {
    pub(crate) name: String,
    /// [`crate::LOCAL_SOURCE`], or the source that owns the vault: whether REST may write to it hangs on this.
    pub(crate) source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
}

pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    // These types have string keys only and no failing Serialize: there is nothing to fail.
    serde_json::to_vec(value).unwrap_or_default()
}

pub(crate) fn from_json<'a, T: Deserialize<'a>>(aad: &RowAad, json: &'a [u8]) -> Result<T, StoreError> {
    serde_json::from_slice(json).map_err(|_| StoreError::corrupt(aad.to_string()))
}
