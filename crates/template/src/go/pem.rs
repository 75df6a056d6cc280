//! Go's `encoding/pem`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

use super::base64::decode as decode_base64;

/// A PEM block with its headers, such as `Proc-Type`.
pub(crate) struct Block {
    pub(crate) kind: Vec<u8>,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) bytes: Vec<u8>,
}

fn line(data: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &data[data.len()..]),
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    (line.trim_ascii_end(), rest)
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"\n-----END ";

/// Finds the first complete block. Returns the block and the rest of `data`, or `None` and all of `data` if there is no
/// block. Each end line is tried once, with the last begin line before it, so that many begin lines without an end take
/// linear time.
pub(crate) fn decode(data: &[u8]) -> (Option<Block>, &[u8]) {
    let mut from = 0;
    while let Some(end) = memmem::find(&data[from..], END) {
        let end = from + end;
        let begin = memmem::rfind(&data[from..end], BEGIN).map(|begin| from + begin);
        let begin = begin.filter(|begin| *begin == from || data[begin - 1] == b'\n');
        match begin.map_or(Found::Next, |begin| block(data, begin + BEGIN.len(), end)) {
            Found::Block(block, rest) => return (Some(block), rest),
            Found::Next => {}
            Found::Nothing => break,
        }
        from = end + END.len();
    }
    (None, data)
}

enum Found<'d> {
    Block(Block, &'d [u8]),
    /// This is not a block. One may follow.
    Next,
    /// The headers have no end before the end of the block. Go gives up here.
    Nothing,
}

/// Parses the block whose label begins at `start` and whose end line begins at `end`.
fn block(data: &[u8], start: usize, end: usize) -> Found<'_> {
    let position = |rest: &[u8]| data.len() - rest.len();
    let (label, mut body) = line(&data[start..]);
    let Some(kind) = label.strip_suffix(b"-----") else {
        return Found::Next;
    };
    let mut headers = Vec::new();
    loop {
        if body.is_empty() {
            return Found::Nothing;
        }
        let (header, next) = line(body);
        let Some(colon) = header.iter().position(|byte| *byte == b':') else {
            break;
        };
        headers.push((
            header[..colon].trim_ascii().to_vec(),
            header[colon + 1..].trim_ascii().to_vec(),
        ));
        body = next;
    }
    if position(body) > end + END.len() {
        return Found::Nothing;
    }
    if !headers.is_empty() && position(body) > end {
        return Found::Next;
    }
    let trailer = data[end + END.len()..].strip_prefix(kind);
    let Some(after) = trailer.and_then(|after| after.strip_prefix(b"-----")) else {
        return Found::Next;
    };
    let (trailing, rest) = line(after);
    if !trailing.is_empty() {
        return Found::Next;
    }
    // In an empty block the begin line and the end line share one line feed.
    let content = data.get(position(body)..end).unwrap_or_default();
    let compact: Vec<u8> = content
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
        .collect();
    match decode_base64(&compact) {
        Ok(bytes) => {
            let kind = kind.to_vec();
            Found::Block(Block { kind, headers, bytes }, rest)
        }
        Err(_) => Found::Next,
    }
}

/// `pem.EncodeToMemory`; `None` if the name of a header contains a colon.
pub(crate) fn encode(block: &Block) -> Option<Vec<u8>> {
    if block.headers.iter().any(|(name, _)| name.contains(&b':')) {
        return None;
    }
    let mut out = [b"-----BEGIN ", block.kind.as_slice(), b"-----\n"].concat();
    if !block.headers.is_empty() {
        let mut headers: Vec<_> = block.headers.iter().collect();
        // Proc-Type is the first header; the others are sorted.
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

/// Encodes a block without headers.
pub(crate) fn of(kind: &str, der: &[u8]) -> Vec<u8> {
    encode(&Block {
        kind: kind.as_bytes().to_vec(),
        headers: Vec::new(),
        bytes: der.to_vec(),
    })
    .unwrap_or_default()
}
