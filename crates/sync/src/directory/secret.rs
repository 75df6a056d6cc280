//! Turns Kubernetes `Secret` manifests into items.

use std::collections::HashSet;

use data_encoding::BASE64;
use sidevault_model::{Field, FieldType};
use sidevault_sops::{Value, holds_mark, scalar_text};

use super::draft::{Binary, DocumentError, ParsedDocument, SecretName, get, text};

/// Parses a Secret. `metadata.name` becomes the title and `metadata.namespace` a tag. Each key of `data`, which is decoded
/// from base64, and of `stringData` becomes a field, or a file of the item if the value is not UTF-8. As in Kubernetes, a key
/// in `stringData` overrides the same key in `data`.
pub(crate) fn read(entries: &[(String, Value)]) -> Result<ParsedDocument, DocumentError> {
    let Some(Value::Mapping(metadata)) = get(entries, "metadata") else {
        return Err(DocumentError::SecretWithoutName);
    };
    let name = get(metadata, "name")
        .and_then(text)
        .ok_or(DocumentError::SecretWithoutName)?;
    let namespace = get(metadata, "namespace")
        .and_then(text)
        .filter(|name| !name.is_empty());
    let mut document = ParsedDocument {
        name: Some(SecretName {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }),
        ..ParsedDocument::default()
    };
    let plain = mapping(entries, "stringData")?;
    let overridden: HashSet<&str> = plain.iter().map(|(key, _)| key.as_str()).collect();
    for (key, value) in mapping(entries, "data")? {
        if overridden.contains(key.as_str()) {
            continue;
        }
        let encoded: String = scalar_text(value).split_ascii_whitespace().collect();
        let bytes = BASE64
            .decode(encoded.as_bytes())
            .map_err(|_| DocumentError::NotBase64(key.clone()))?;
        if holds_mark(&bytes) {
            return Err(DocumentError::EncryptedInside(key.clone()));
        }
        match String::from_utf8(bytes) {
            Ok(value) => document.fields.push(Field::new(key, FieldType::Concealed, key, value)),
            Err(binary) => document.binaries.push(Binary {
                id: key.clone(),
                name: key.clone(),
                bytes: binary.into_bytes(),
            }),
        }
    }
    for (key, value) in plain {
        document
            .fields
            .push(Field::new(key, FieldType::Concealed, key, scalar_text(value)));
    }
    Ok(document)
}

fn mapping<'a>(entries: &'a [(String, Value)], key: &'static str) -> Result<&'a [(String, Value)], DocumentError> {
    match get(entries, key) {
        Some(Value::Mapping(inner)) => Ok(inner),
        None | Some(Value::Null) => Ok(&[]),
        Some(_) => Err(DocumentError::SecretPartNotMapping(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(pairs: &[(&str, &str)]) -> Value {
        Value::Mapping(
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), Value::String((*v).to_owned())))
                .collect(),
        )
    }

    fn secret(data: &[(&str, &str)], string_data: &[(&str, &str)]) -> Result<ParsedDocument, DocumentError> {
        read(&[
            ("metadata".to_owned(), entries(&[("name", "db")])),
            ("data".to_owned(), entries(data)),
            ("stringData".to_owned(), entries(string_data)),
        ])
    }

    #[test]
    fn data_is_decoded_and_string_data_overrides_it() {
        let document = secret(&[("a", "eA=="), ("b", "eQ==")], &[("b", "z")]).unwrap();
        assert_eq!(document.name.unwrap().name, "db");
        let fields: Vec<_> = document
            .fields
            .iter()
            .map(|f| (f.label.as_str(), f.value.as_str()))
            .collect();
        assert_eq!(fields, [("a", "x"), ("b", "z")]);
    }

    #[test]
    fn binary_data_becomes_a_file() {
        let document = secret(&[("jks", "/+8=")], &[]).unwrap();
        assert!(document.fields.is_empty());
        let (id, name) = ("jks".to_owned(), "jks".to_owned());
        let bytes = vec![0xff, 0xef];
        assert_eq!(document.binaries, [Binary { id, name, bytes }]);
    }

    #[test]
    fn data_that_is_an_encrypted_sops_file_is_refused() {
        let sealed = BASE64.encode(b"{\"data\": \"ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]\"}");
        let error = secret(&[("app.json", &sealed)], &[]).err().unwrap().to_string();
        assert!(
            error.starts_with("data.app.json is a file that SOPS encrypted"),
            "{error}"
        );
    }

    #[test]
    fn broken_base64_names_the_key_and_not_the_value() {
        let error = secret(&[("a", "***secret***")], &[]).err().unwrap().to_string();
        assert_eq!(error, "data.a is not base64");
    }
}
