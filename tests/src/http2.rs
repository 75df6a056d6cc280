//! HTTP/2 frame for frame (RFC 9113): frames are sent as a test makes them, well-formed or not.

use std::io;

use crate::wire::Wire;

/// The client's connection preface (3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The types of frames (6) that tests send or look for.
pub mod kind {
    /// DATA: a part of a body.
    pub const DATA: u8 = 0;
    /// HEADERS: the head of a request or answer.
    pub const HEADERS: u8 = 1;
    /// RST_STREAM: ends a stream with an error.
    pub const RST_STREAM: u8 = 3;
    /// SETTINGS.
    pub const SETTINGS: u8 = 4;
    /// PING: the peer sends it back.
    pub const PING: u8 = 6;
    /// GOAWAY: ends the connection.
    pub const GOAWAY: u8 = 7;
    /// WINDOW_UPDATE: allows the peer to send more bytes.
    pub const WINDOW_UPDATE: u8 = 8;
    /// CONTINUATION: the rest of a head.
    pub const CONTINUATION: u8 = 9;
}

/// A frame (4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The head of a `GET`, without Huffman codes and without entries in the table (RFC 7541, 6.2.2).
pub fn get(path: &str, token: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    // :path, :authority and authorization of the static table.
    for (name, value) in [(4, path), (1, "localhost"), (23, &*format!("Bearer {token}"))] {
        match name {
            0..=14 => block.push(name),
            _ => block.extend([15, name - 15]),
        }
        length(&mut block, value.len());
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541, 5.1).
fn length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        block.push(u8::try_from(length).unwrap_or(127));
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// Requests one path on this many streams, and allows the server to send this many bytes of each answer. Ends with a
/// [`kind::PING`]: once the server answers it, it has received all requests.
///
/// # Errors
/// If the connection breaks.
pub fn ask(wire: &mut Wire, path: &str, token: &str, streams: u32, window: u32) -> io::Result<()> {
    let mut bytes = PREFACE.to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE, and as much of all answers as is allowed.
    let mut settings = vec![0, 4];
    settings.extend(window.to_be_bytes());
    bytes.extend(frame(kind::SETTINGS, 0, 0, &settings));
    bytes.extend(frame(kind::WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
    let head = get(path, token);
    for stream in 0..streams {
        bytes.extend(frame(kind::HEADERS, 5, stream * 2 + 1, &head));
    }
    bytes.extend(frame(kind::PING, 0, 0, b"all here"));
    wire.send(&bytes)
}

/// Types and streams of the frames in what was received.
pub fn frames(mut bytes: &[u8]) -> Vec<(u8, u32)> {
    let mut found = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        found.push((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]])));
        bytes = rest.get(length..).unwrap_or_default();
    }
    found
}
