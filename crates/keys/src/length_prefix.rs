//! Joins byte strings so that two different lists never give the same bytes.

/// Calls `write` with each part's length (64 bits, big-endian) and then the part, so that `["ab", "c"]` and `["a", "bc"]` differ.
pub(crate) fn feed(parts: &[&[u8]], mut write: impl FnMut(&[u8])) {
    for part in parts {
        write(&(part.len() as u64).to_be_bytes());
        write(part);
    }
}

/// The lengths and parts as one vector.
pub(crate) fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    feed(parts, |bytes| joined.extend_from_slice(bytes));
    joined
}

#[cfg(test)]
mod tests {
    use super::join;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn different_lists_give_different_bytes(a: Vec<Vec<u8>>, b: Vec<Vec<u8>>) {
            fn joined(parts: &[Vec<u8>]) -> Vec<u8> {
                join(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
            }
            prop_assert_eq!(a == b, joined(&a) == joined(&b));
        }
    }
}
