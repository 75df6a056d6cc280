//! One vault, one item, two times, and a seeded random number generator.

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use sidevault_model::{Edit, Field, Invalid, Item, ItemId, ItemInput, Timestamp, VaultId, patch};

pub(crate) const MADE: Timestamp = Timestamp::from_millis(1_700_000_000_000);
pub(crate) const CHANGED: Timestamp = Timestamp::from_millis(1_700_000_100_000);

pub(crate) fn vault() -> VaultId {
    VaultId::from_digest(&[1; 32])
}

pub(crate) fn id() -> ItemId {
    ItemId::from_digest(&[2; 32])
}

fn edit<T>(now: Timestamp, by: &str, work: impl FnOnce(&mut Edit<'_>) -> T) -> T {
    let mut rng = StdRng::seed_from_u64(7);
    work(&mut Edit { now, by, rng: &mut rng })
}

pub(crate) fn post(body: &str) -> Result<Item, Invalid> {
    let input = ItemInput::from_json(body.as_bytes())?;
    edit(MADE, "MAKER", |edit| Item::create(input, vault(), id(), edit))
}

pub(crate) fn put(item: &Item, body: &str) -> Result<Item, Invalid> {
    let input = ItemInput::from_json(body.as_bytes())?;
    edit(CHANGED, "EDITOR", |edit| item.replace(input, edit))
}

pub(crate) fn patched(item: &Item, body: &str) -> Result<Option<Item>, Invalid> {
    let operations = patch::parse(body.as_bytes())?;
    edit(CHANGED, "EDITOR", |edit| item.patch(&operations, edit))
}

pub(crate) fn restored(item: &Item, old: &Item) -> Item {
    edit(CHANGED, "EDITOR", |edit| item.restore(old, edit))
}

/// The field of a new item that is posted with only this field.
pub(crate) fn posted_field(field: &str) -> Result<Field, Invalid> {
    let item = post(&format!(r#"{{"category":"SERVER","fields":[{field}]}}"#))?;
    Ok(item.fields.into_iter().next().unwrap())
}

pub(crate) fn field<'a>(item: &'a Item, id: &str) -> &'a Field {
    item.fields.iter().find(|field| field.id == id).unwrap()
}

pub(crate) fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// A login with tags, URLs, a section and fields of several types.
pub(crate) fn login() -> Item {
    post(
        r#"{
            "title": "Mail", "category": "LOGIN", "favorite": true, "tags": ["work", "mail"],
            "vault": {"id": "aeaqcaibaeaqcaibaeaqcaibae"},
            "urls": [{"href": "https://a.example", "label": "web"}, {"href": "https://b.example"}],
            "sections": [{"id": "Section_1", "label": "Extra"}],
            "fields": [
                {"id": "username", "type": "STRING", "purpose": "USERNAME", "value": "wendy"},
                {"id": "password", "type": "CONCEALED", "purpose": "PASSWORD", "value": "hunter1"},
                {"id": "notesPlain", "type": "STRING", "purpose": "NOTES", "value": ""},
                {"id": "otp", "type": "OTP", "label": "code", "value": "GEZDGNBVGY3TQOJQ", "section": {"id": "Section_1"}},
                {"id": "since", "type": "DATE", "label": "since", "value": "2024-05-03", "section": {"id": "Section_1"}}
            ]
        }"#,
    )
    .unwrap()
}
