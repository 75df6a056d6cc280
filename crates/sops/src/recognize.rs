//! Recognizes files that SOPS encrypted by their content, because their names may be `b.yaml.enc`, `config.env.encrypted` or
//! `app.conf`.

use std::borrow::Cow;

use memchr::memmem;

use crate::cipher::SEALED_MARK;
use crate::{Format, SopsError, text};

/// The format to parse a file in: the format of its name, unless the content shows that SOPS encrypted it in another format.
///
/// # Errors
/// [`SopsError::MissingMetadata`] if the name has no format and the content has encrypted values but no `sops` metadata.
pub(crate) fn format(named: Format, bytes: &[u8]) -> Result<Format, SopsError> {
    let mut detector = Detector::default();
    detector.feed(bytes);
    if !detector.is_sealed() {
        return Ok(named);
    }
    let bytes = match text::from_utf16(bytes) {
        Some(Ok(text)) => Cow::Owned(text.into_bytes()),
        _ => Cow::Borrowed(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)),
    };
    if shows(named, &bytes) {
        return Ok(named);
    }
    let shown = [Format::Json, Format::Yaml, Format::Dotenv, Format::Ini]
        .into_iter()
        .find(|format| shows(*format, &bytes));
    match shown {
        Some(format) => Ok(format),
        None if named == Format::Binary => Err(SopsError::MissingMetadata),
        // The parser of the named format gives the best error.
        None => Ok(named),
    }
}

/// Tells whether a file is text with values that SOPS encrypted. The file is given block by block.
///
/// Every file that SOPS encrypted is such text: its MAC at least is an encrypted value. A file with NUL bytes that is not
/// UTF-16 is not text, but may be an archive with such files.
#[derive(Default)]
pub struct Detector {
    /// The first two bytes, which may be UTF-16's byte order mark.
    start: Vec<u8>,
    /// The end of the last block, in which an encrypted value may start.
    tail: Vec<u8>,
    found: bool,
    nul: bool,
}

impl Detector {
    /// Takes the next bytes of the file.
    pub fn feed(&mut self, block: &[u8]) {
        let missing = 2_usize.saturating_sub(self.start.len()).min(block.len());
        self.start.extend_from_slice(&block[..missing]);
        let mark = match &self.start[..] {
            [0xff, 0xfe] => utf16_mark(u16::to_le_bytes),
            [0xfe, 0xff] => utf16_mark(u16::to_be_bytes),
            _ => SEALED_MARK.to_vec(),
        };
        self.nul |= block.contains(&0);
        self.found |= memmem::find(block, &mark).is_some();
        // The start of a value may be divided between two blocks, so the edges of both are searched together.
        let reach = mark.len() - 1;
        self.tail.extend_from_slice(&block[..block.len().min(reach)]);
        self.found |= memmem::find(&self.tail, &mark).is_some();
        if block.len() > reach {
            self.tail = block[block.len() - reach..].to_vec();
        } else {
            self.tail.drain(..self.tail.len().saturating_sub(reach));
        }
    }

    /// Whether the blocks so far are text with encrypted values.
    pub fn is_sealed(&self) -> bool {
        let is_utf16 = matches!(&self.start[..], [0xff, 0xfe] | [0xfe, 0xff]);
        self.found && (is_utf16 || !self.nul)
    }
}

fn utf16_mark(unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    SEALED_MARK.iter().flat_map(|byte| unit(u16::from(*byte))).collect()
}

/// Whether `bytes` contain what sops writes into every encrypted file of this format.
fn shows(format: Format, bytes: &[u8]) -> bool {
    let any_line = |test: fn(&[u8]) -> bool| bytes.split(|byte| *byte == b'\n').any(test);
    match format {
        Format::Json => starts_like_json(bytes),
        // JSON is YAML as well. sops writes YAML with braces only as JSON.
        Format::Yaml => {
            starts_like_json(bytes) || any_line(|line| line.starts_with(b"sops:") || line.starts_with(b"\"sops\":"))
        }
        Format::Dotenv => any_line(|line| line.starts_with(b"sops_mac=")),
        Format::Ini => any_line(|line| line.trim_ascii() == b"[sops]"),
        // The envelope of a binary file is JSON, so it is recognized as JSON.
        Format::Binary => false,
    }
}

fn starts_like_json(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'{')
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = "ENC[AES256_GCM,data:eA==";

    #[test]
    fn an_encrypted_file_is_parsed_in_the_format_of_its_content() {
        for (text, shown) in [
            (format!("a: {MARK}\nsops:\n    mac: x\n"), Format::Yaml),
            (format!("\u{feff}\n{{\"a\": \"{MARK}\"}}"), Format::Json),
            (format!("A={MARK}\r\nsops_mac=x\r\n"), Format::Dotenv),
            (format!("[a]\nb = {MARK}\n[sops]\r\n"), Format::Ini),
        ] {
            assert_eq!(format(Format::Binary, text.as_bytes()), Ok(shown), "{text}");
            assert_eq!(format(shown, text.as_bytes()), Ok(shown), "{text}");
            let utf16: Vec<u8> = format!("\u{feff}{}", text.trim_start_matches('\u{feff}'))
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect();
            assert_eq!(format(Format::Binary, &utf16), Ok(shown), "{text}");
        }
    }

    #[test]
    fn other_files_are_parsed_in_the_format_of_their_names() {
        for (named, text) in [
            (Format::Binary, "a: 1\nsops:\n  mac: x\n".to_owned()),
            (Format::Binary, format!("tar\0{MARK}\nsops:\n")),
            (Format::Json, format!("{MARK}\n")),
            (Format::Yaml, format!("a: {MARK}\0\n[sops]")),
            (Format::Yaml, "sops_mac=x".to_owned()),
        ] {
            assert_eq!(format(named, text.as_bytes()), Ok(named), "{text}");
        }
    }

    #[test]
    fn an_encrypted_value_is_found_across_blocks() {
        let text = format!("before {MARK} after");
        let utf16: Vec<u8> = format!("\u{feff}{text}")
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        for bytes in [text.as_bytes(), &utf16] {
            for size in 1..bytes.len() {
                let mut detector = Detector::default();
                bytes.chunks(size).for_each(|block| detector.feed(block));
                assert!(detector.is_sealed(), "{size}");
            }
        }
        let mut detector = Detector::default();
        for block in [&b"ENC[AES256_GCM,"[..], b"x", b"data:"] {
            detector.feed(block);
        }
        assert!(!detector.is_sealed());
    }

    #[test]
    fn encrypted_values_without_metadata_are_refused() {
        for text in [
            format!("see {MARK}\n"),
            format!("a: {MARK}\n"),
            format!("caf\u{e9} {MARK}"),
        ] {
            let latin1: Vec<u8> = text.chars().map(|c| c as u8).collect();
            assert_eq!(
                format(Format::Binary, &latin1),
                Err(SopsError::MissingMetadata),
                "{text}"
            );
        }
    }
}
