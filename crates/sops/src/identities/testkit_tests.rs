//! Opens the files of age's published test vectors (C2SP's CCTV), which `tests/tools/testkit` pins.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use age::armor::ArmoredReader;
use age::{DecryptError, Decryptor};
use sha2::{Digest as _, Sha256};

use super::Identities;

/// The directory of the vectors; `None`, with a note on the terminal, without Go.
fn vectors() -> Option<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tools/testkit");
    let go = |arguments: &[&str]| {
        let output = Command::new("go").args(arguments).current_dir(&manifest).output();
        output.ok().filter(|output| output.status.success())
    };
    let listed = go(&["mod", "download"]).and_then(|_| go(&["list", "-m", "-f", "{{.Dir}}", "c2sp.org/CCTV/age"]));
    let Some(listed) = listed else {
        let said = "SKIPPED: age's test vectors need Go and its module proxy";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{said}");
        let _ = writeln!(std::io::stderr(), "{said}");
        return None;
    };
    Some(Path::new(String::from_utf8(listed.stdout).unwrap().trim()).join("testdata"))
}

/// One file: `name: value` lines, an empty line, and the age file.
struct Vector {
    fields: Vec<(String, String)>,
    file: Vec<u8>,
}

impl Vector {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let fields = head.lines().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        });
        Self {
            fields: fields.collect(),
            file: bytes[end + 2..].to_vec(),
        }
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.fields.iter().filter(move |(field, _)| field == name);
        named.map(|(_, value)| value.as_str())
    }
}

/// What opening the file gives, in the words of the vectors.
fn outcome(vector: &Vector) -> Result<String, &'static str> {
    let keys: Vec<&str> = vector.all("identity").collect();
    let (identities, unusable) = Identities::parse(keys.join("\n").as_bytes(), None);
    assert_eq!(unusable, []);
    let failure = |error: &DecryptError| match error {
        DecryptError::NoMatchingKeys => "no match",
        DecryptError::InvalidMac => "HMAC failure",
        _ => "header failure",
    };
    let file = Decryptor::new(ArmoredReader::new(&vector.file[..])).map_err(|error| failure(&error))?;
    let mut plain = Vec::new();
    let mut opened = file.decrypt(identities.own()).map_err(|error| failure(&error))?;
    opened.read_to_end(&mut plain).map_err(|_| "payload failure")?;
    Ok(Sha256::digest(&plain)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[test]
fn ages_vectors_for_x25519_and_post_quantum_keys_open_as_published() {
    let Some(directory) = vectors() else { return };
    let mut opened = 0;
    let mut post_quantum = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let vector = Vector::parse(&std::fs::read(entry.path()).unwrap());
        // The other files are about what the `age` crate does by itself; long files are compressed.
        let is_ours = name.starts_with("hybrid") || name.starts_with("x25519");
        if !is_ours || vector.all("compressed").next().is_some() || vector.all("identity").next().is_none() {
            continue;
        }
        let expected = vector.all("expect").next().unwrap();
        match outcome(&vector) {
            Ok(digest) => {
                assert_eq!(expected, "success", "{name}");
                assert_eq!(vector.all("payload").next(), Some(digest.as_str()), "{name}");
                opened += 1;
            }
            Err(failure) => assert_eq!(failure, expected, "{name}"),
        }
        post_quantum += usize::from(name.contains("hybrid"));
    }
    assert!(
        opened >= 4 && post_quantum >= 15,
        "{opened} opened, {post_quantum} post-quantum"
    );
}
