//! Finds secrets in files, logs and memory where they must not be.

use std::collections::HashMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A secret, with all the encodings in which it could be found.
pub struct Marker {
    /// The place where the test put the secret.
    pub name: String,
    /// The text.
    pub text: String,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl Marker {
    /// A marker for a place, with a text that occurs nowhere else.
    pub fn new(name: &str, seed: u64) -> Self {
        let text: String = name
            .bytes()
            .filter(u8::is_ascii_alphanumeric)
            .take(8)
            .map(char::from)
            .collect();
        let text = format!("Mk{text}{:016x}Zq", seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self {
            name: name.to_owned(),
            forms: forms(&text),
            text,
        }
    }
}

/// How many bytes of a form are looked up before the whole form is compared. Every form is longer.
const START: usize = 8;

/// A marker, one of its forms by name, and that form in small letters.
type Wanted<'a> = (&'a Marker, &'static str, Vec<u8>);

/// Finds all markers in one pass over the bytes, without regard to case.
pub struct Search<'a> {
    starts: HashMap<[u8; START], Vec<Wanted<'a>>>,
}

impl<'a> Search<'a> {
    /// A search for these markers.
    pub fn new(markers: &'a [Marker]) -> Self {
        let mut starts: HashMap<_, Vec<_>> = HashMap::new();
        for marker in markers {
            for (name, form) in &marker.forms {
                let form = form.to_ascii_lowercase();
                if let Some(start) = form.first_chunk() {
                    starts.entry(*start).or_default().push((marker, *name, form));
                }
            }
        }
        Self { starts }
    }

    /// Which markers are in these bytes, and in which form.
    pub fn find(&self, bytes: &[u8]) -> Vec<(&'a Marker, &'static str)> {
        let bytes = bytes.to_ascii_lowercase();
        let mut found: Vec<(&Marker, &str)> = Vec::new();
        for (at, start) in bytes.windows(START).enumerate() {
            let Some(candidates) = <&[u8; START]>::try_from(start)
                .ok()
                .and_then(|start| self.starts.get(start))
            else {
                continue;
            };
            for (marker, name, form) in candidates {
                let known = found.iter().any(|(other, _)| other.text == marker.text);
                if !known && bytes[at..].starts_with(form) {
                    found.push((marker, name));
                }
            }
        }
        found
    }
}

fn forms(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = text.as_bytes();
    let mut forms = vec![
        ("plain", bytes.to_vec()),
        (
            "UTF-16, little end first",
            text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        (
            "UTF-16, big end first",
            text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        ),
        ("backwards", bytes.iter().rev().copied().collect()),
    ];
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    forms.push(("hex", hex.into_bytes()));
    // In base64 the text looks different for each of the three places it may start at; what
    // depends on the neighbours is left out.
    for skip in 0..3 {
        let from = if skip == 0 { 0 } else { 3 - skip };
        let whole = (bytes.len() - from) / 3 * 3;
        forms.push((
            "base64",
            STANDARD_NO_PAD.encode(&bytes[from..from + whole]).into_bytes(),
        ));
        forms.push((
            "base64url",
            URL_SAFE_NO_PAD.encode(&bytes[from..from + whole]).into_bytes(),
        ));
    }
    forms
}
