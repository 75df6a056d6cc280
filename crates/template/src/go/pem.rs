//! Go's `encoding/pem`.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

/// A block, with its headers (`Proc-Type` and their like).
pub(crate) struct Block {
    pub(crate) kind: Vec<u8>,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) bytes: Vec<u8>,
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn line(data: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &data[data.len()..]),
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    (line.trim_ascii_end(), rest)
}

/// The first whole block, and what follows it; without one, `None` and all of `data`.
pub(crate) fn decode(data: &[u8]) -> (Option<Block>, &[u8]) {
    let mut rest = data;
    loop {
        if let Some(after) = rest.strip_prefix(b"-----BEGIN ") {
            rest = after;
        } else if let Some(at) = find(rest, b"\n-----BEGIN ") {
            rest = &rest[at + 12..];
        } else {
            return (None, data);
        }
        let (kind, mut body) = line(rest);
        let Some(kind) = kind.strip_suffix(b"-----") else {
            continue;
        };
        let mut headers = Vec::new();
        loop {
            let (header, next) = line(body);
            let Some(colon) = header.iter().position(|byte| *byte == b':') else {
                break;
            };
            if next.is_empty() {
                break;
            }
            headers.push((
                header[..colon].trim_ascii().to_vec(),
                header[colon + 1..].trim_ascii().to_vec(),
            ));
            body = next;
        }
        let ending = [b"-----END ".as_slice(), kind, b"-----"].concat();
        let (content, after) = if headers.is_empty() && body.starts_with(&ending) {
            (&body[..0], &body[ending.len()..])
        } else {
            let newline = [b"\n", ending.as_slice()].concat();
            let Some(end) = find(body, &newline) else { continue };
            (&body[..end], &body[end + newline.len()..])
        };
        let (trailing, after) = line(after);
        if !trailing.is_empty() {
            continue;
        }
        let compact: Vec<u8> = content
            .iter()
            .copied()
            .filter(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
            .collect();
        let Ok(bytes) = STANDARD_LAX.decode(compact) else {
            continue;
        };
        let block = Block {
            kind: kind.to_vec(),
            headers,
            bytes,
        };
        return (Some(block), after);
    }
}

/// Go's decoder does not mind bits left over.
pub(crate) const STANDARD_LAX: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// `pem.EncodeToMemory`; `None` for a header that holds a colon.
pub(crate) fn encode(block: &Block) -> Option<Vec<u8>> {
    if block.headers.iter().any(|(name, _)| name.contains(&b':')) {
        return None;
    }
    let mut out = [b"-----BEGIN ", block.kind.as_slice(), b"-----\n"].concat();
    if !block.headers.is_empty() {
        let mut headers: Vec<_> = block.headers.iter().collect();
        // Proc-Type comes first, the others in order.
        headers.sort_by_key(|(name, _)| (name != b"Proc-Type", name.clone()));
        headers.dedup_by(|a, b| a.0 == b.0);
        for (name, value) in headers {
            out.extend_from_slice(&[name.as_slice(), b": ", value, b"\n"].concat());
        }
        out.push(b'\n');
    }
    for chunk in STANDARD.encode(&block.bytes).as_bytes().chunks(64) {
        out.extend_from_slice(chunk);
        out.push(b'\n');
    }
    out.extend_from_slice(&[b"-----END ", block.kind.as_slice(), b"-----\n"].concat());
    Some(out)
}

/// A block without headers.
pub(crate) fn of(kind: &str, der: &[u8]) -> Vec<u8> {
    encode(&Block {
        kind: kind.as_bytes().to_vec(),
        headers: Vec::new(),
        bytes: der.to_vec(),
    })
    .unwrap_or_default()
}
