//! Binary files. sops encrypts one as a whole, as the JSON envelope `{"data": "ENC[…]", "sops": {…}}`.

use crate::Value;

/// Takes the content out of a decrypted envelope; `None` if the document is not an envelope but an encrypted JSON file.
pub(crate) fn content(documents: &mut [Value]) -> Option<Vec<u8>> {
    let [Value::Mapping(entries)] = documents else {
        return None;
    };
    match &mut entries[..] {
        [(key, Value::String(text))] if key == "data" => Some(std::mem::take(text).into_bytes()),
        [(key, Value::Bytes(bytes))] if key == "data" => Some(std::mem::take(bytes)),
        _ => None,
    }
}
