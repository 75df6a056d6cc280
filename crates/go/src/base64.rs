//! Go's `encoding/base64`, with padding. Line ends are skipped, and unused bits of the last character are ignored.

use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

const LAX: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);

/// The text is not base64. Names the position, in Go's words, and quotes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("illegal base64 data at input byte {0}")]
pub struct Illegal(pub usize);

/// `StdEncoding.DecodeString`
///
/// # Errors
/// The position of the first illegal byte, as Go counts it.
pub fn decode(input: &[u8]) -> Result<Vec<u8>, Illegal> {
    with(&STANDARD, input)
}

/// `URLEncoding.DecodeString`
///
/// # Errors
/// As [`decode`].
pub fn decode_url(input: &[u8]) -> Result<Vec<u8>, Illegal> {
    with(&URL_SAFE, input)
}

fn with(alphabet: &Alphabet, input: &[u8]) -> Result<Vec<u8>, Illegal> {
    let compact: Vec<u8> = input.iter().copied().filter(|byte| !is_line_end(*byte)).collect();
    GeneralPurpose::new(alphabet, LAX)
        .decode(compact)
        .map_err(|_| Illegal(error_position(alphabet, input)))
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The position at which Go's decoder stops. It reads groups of four characters.
fn error_position(alphabet: &Alphabet, input: &[u8]) -> usize {
    let mut at = 0;
    let skip = |at: &mut usize| {
        while input.get(*at).is_some_and(|byte| is_line_end(*byte)) {
            *at += 1;
        }
    };
    loop {
        for j in 0..4 {
            skip(&mut at);
            let Some(&byte) = input.get(at) else {
                return if j == 0 { at } else { at - j };
            };
            at += 1;
            if alphabet.as_str().as_bytes().contains(&byte) {
                continue;
            }
            if byte != b'=' || j < 2 {
                return at - 1;
            }
            if j == 2 {
                skip(&mut at);
                match input.get(at) {
                    None => return input.len(),
                    Some(b'=') => at += 1,
                    Some(_) => return at - 1,
                }
            }
            skip(&mut at);
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are the output of Go 1.26.
    #[test]
    fn texts_decode_as_in_go() {
        for (text, standard, url) in [
            (
                "abcd123=",
                Ok(&b"\x69\xb7\x1d\xd7\x6d"[..]),
                Ok(&b"\x69\xb7\x1d\xd7\x6d"[..]),
            ),
            ("QR==", Ok(b"A"), Ok(b"A")),
            ("QQ==", Ok(b"A"), Ok(b"A")),
            ("QUJ=", Ok(b"AB"), Ok(b"AB")),
            ("QQ=", Err(3), Err(3)),
            ("QQ", Err(0), Err(0)),
            ("Q", Err(0), Err(0)),
            ("Q\nQ=\r\n=", Ok(b"A"), Ok(b"A")),
            ("QQ==\n", Ok(b"A"), Ok(b"A")),
            ("QUJD\nREVG", Ok(b"ABCDEF"), Ok(b"ABCDEF")),
            ("QQ==x", Err(4), Err(4)),
            ("====", Err(0), Err(0)),
            (" QQ==", Err(0), Err(0)),
            ("", Ok(b""), Ok(b"")),
            ("\n", Ok(b""), Ok(b"")),
            ("_-8=", Err(0), Ok(b"\xff\xef")),
            ("/+8=", Ok(b"\xff\xef"), Err(0)),
            ("_+8=", Err(0), Err(1)),
        ] {
            let owned = |expected: Result<&[u8], usize>| expected.map(<[u8]>::to_vec).map_err(Illegal);
            assert_eq!(decode(text.as_bytes()), owned(standard), "{text:?}");
            assert_eq!(decode_url(text.as_bytes()), owned(url), "{text:?}");
        }
    }
}
