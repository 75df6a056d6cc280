//! What the plaintext of a sealed row looks like.

use serde::{Deserialize, Serialize};
use sidevault_model::Item;

use crate::StoreError;
use crate::place::Place;

/// First byte of an item's detail: what has to be done to the JSON behind it before it is sent.
pub(crate) const PLAIN: u8 = 0;
/// The item has one-time passwords: their codes are put in at each read.
pub(crate) const HAS_CODES: u8 = 1;

pub(crate) fn detail(item: &Item) -> Vec<u8> {
    let json = item.full_json();
    let mut plaintext = Vec::with_capacity(json.len() + 1);
    plaintext.push(if item.has_otp() { HAS_CODES } else { PLAIN });
    plaintext.extend_from_slice(&json);
    plaintext
}

pub(crate) fn parse_detail(place: &Place, plaintext: &[u8]) -> Result<Item, StoreError> {
    plaintext
        .split_first()
        .and_then(|(_, json)| Item::from_json(json).ok())
        .ok_or_else(|| StoreError::corrupt(place.to_string()))
}

/// A vault's name and description.
#[derive(Serialize, Deserialize)]
pub(crate) struct VaultNames {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
}

pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    // These types have string keys only and no failing Serialize: there is nothing to fail.
    serde_json::to_vec(value).unwrap_or_default()
}

pub(crate) fn from_json<'a, T: Deserialize<'a>>(place: &Place, json: &'a [u8]) -> Result<T, StoreError> {
    serde_json::from_slice(json).map_err(|_| StoreError::corrupt(place.to_string()))
}
