//! Binary files: sealed as a whole into a JSON envelope.

use crate::{Decrypted, Document, Identities, SopsError, Value, cipher, json, metadata};

/// A binary file is sealed as the JSON text `{"data": "ENC[…]", "sops": {…}}`.
pub(crate) fn read(bytes: &[u8], identities: &Identities) -> Result<Decrypted, SopsError> {
    let starts_as_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let mut documents = if starts_as_json {
        json::parse(bytes).unwrap_or_default()
    } else {
        Vec::new()
    };
    let Some(block) = metadata::take_nested(&mut documents) else {
        // Cut off or read as the wrong format, and surely not what should be served.
        if bytes
            .windows(cipher::SEALED_MARK.len())
            .any(|window| window == cipher::SEALED_MARK)
        {
            return Err(SopsError::MissingMetadata);
        }
        return Ok(Decrypted {
            document: Document::Binary(bytes.to_vec()),
            encrypted: false,
            lastmodified: None,
        });
    };
    let lastmodified = crate::open(&mut documents, &block, identities)?;
    match documents.first_mut().and_then(data_of) {
        Some(data) => Ok(Decrypted {
            document: Document::Binary(data),
            encrypted: true,
            lastmodified: Some(lastmodified),
        }),
        None => Err(SopsError::Value {
            path: "data".to_owned(),
            problem: "a binary file keeps its content here and has none; is the file JSON under another name?",
        }),
    }
}

fn data_of(document: &mut Value) -> Option<Vec<u8>> {
    let Value::Mapping(entries) = document else {
        return None;
    };
    let (_, value) = entries.iter_mut().find(|(key, _)| key == "data")?;
    match value {
        Value::String(text) => Some(std::mem::take(text).into_bytes()),
        Value::Bytes(bytes) => Some(std::mem::take(bytes)),
        _ => None,
    }
}
