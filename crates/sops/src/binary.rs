//! Binary files: sealed as a whole into a JSON envelope, `{"data": "ENC[…]", "sops": {…}}`.

use crate::Value;

/// Takes the content out of a decrypted envelope; `None` if the document is no envelope, but another JSON
/// file that SOPS encrypted.
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
