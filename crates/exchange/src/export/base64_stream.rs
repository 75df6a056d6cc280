//! Base64 of content that arrives in parts.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How many bytes are encoded at once: a multiple of three, so that only the last part is padded.
const PART: usize = 3 * 4096;

/// Bytes that wait for the two others of their group.
#[derive(Default)]
pub(super) struct Base64Stream {
    waiting: Vec<u8>,
}

impl Base64Stream {
    /// Encodes the next bytes.
    pub(super) fn write(&mut self, out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(PART) {
            self.waiting.extend_from_slice(part);
            let whole = self.waiting.len() / 3 * 3;
            out.write_all(STANDARD.encode(&self.waiting[..whole]).as_bytes())?;
            self.waiting.drain(..whole);
        }
        Ok(())
    }

    /// Encodes the last bytes.
    pub(super) fn end(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(STANDARD.encode(&self.waiting).as_bytes())?;
        self.waiting.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_give_the_base64_of_the_whole(parts: Vec<Vec<u8>>) {
            let (mut stream, mut out) = (Base64Stream::default(), Vec::new());
            for part in &parts {
                stream.write(&mut out, part).unwrap();
            }
            stream.end(&mut out).unwrap();
            prop_assert_eq!(String::from_utf8(out).unwrap(), STANDARD.encode(parts.concat()));
        }
    }
}
