//! Finds the `sops` block of each document in a file.
//!
//! sops writes the same block into every document of a YAML stream, with one MAC over all of them. If files that were
//! encrypted one by one are joined with `---`, as `cat` and kustomize do, each document has its own block. sops itself reads
//! only the first block and can't decrypt such a file; Flux can. A document without a block is not encrypted, unless it has
//! encrypted values: then it belongs to the block before it, as in sops.

use crate::metadata::Metadata;
use crate::{Identities, SopsError, Value, cipher, data_key, decrypt};

/// Decrypts the documents in place. Returns the time of the latest change, or `None` if no document is encrypted.
///
/// `blocks` has one entry for each document: the `sops` block that was taken out of it, if it had one.
pub(crate) fn open(
    documents: &mut [Value],
    blocks: &[Option<Value>],
    identities: &Identities,
) -> Result<Option<String>, SopsError> {
    let count = documents.len();
    let mut lastmodified = None;
    let mut at = 0;
    while let Some(block) = blocks.get(at) {
        let numbered = |error| at_document(error, at, count);
        let Some(block) = block else {
            if holds_sealed(&documents[at]) {
                return Err(numbered(SopsError::MissingMetadata));
            }
            at += 1;
            continue;
        };
        let more = (at + 1..count).take_while(|next| match &blocks[*next] {
            Some(own) => own == block,
            None => holds_sealed(&documents[*next]),
        });
        let end = at + 1 + more.count();
        let metadata = Metadata::parse(block).map_err(numbered)?;
        let opened = data_key::recover(&metadata, identities)
            .and_then(|cipher| decrypt::decrypt(&mut documents[at..end], &metadata, &cipher));
        opened.map_err(|error| {
            if end - at == count {
                error
            } else {
                at_document(error, at, count)
            }
        })?;
        lastmodified = lastmodified.max(Some(metadata.lastmodified));
        at = end;
    }
    Ok(lastmodified)
}

/// Adds the number of the document to an error if the file has several.
fn at_document(error: SopsError, at: usize, count: usize) -> SopsError {
    if count > 1 {
        SopsError::Document {
            number: at + 1,
            problem: Box::new(error),
        }
    } else {
        error
    }
}

pub(crate) fn holds_sealed(value: &Value) -> bool {
    match value {
        Value::String(text) => cipher::looks_sealed(text),
        Value::Sequence(items) => items.iter().any(holds_sealed),
        Value::Mapping(entries) => entries.iter().any(|(_, item)| holds_sealed(item)),
        Value::Merge(merged) => holds_sealed(merged),
        _ => false,
    }
}
