//! The files of the page.

use std::io::Write as _;
use std::sync::OnceLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// A file of the page.
pub(super) struct Asset {
    pub(super) path: &'static str,
    pub(super) kind: &'static str,
    pub(super) content: &'static [u8],
    tag: OnceLock<String>,
    compressed: OnceLock<Bytes>,
}

impl Asset {
    const fn new(path: &'static str, kind: &'static str, content: &'static [u8]) -> Self {
        Self {
            path,
            kind,
            content,
            tag: OnceLock::new(),
            compressed: OnceLock::new(),
        }
    }

    /// The entity tag. It is weak, because the file is sent in two encodings.
    pub(super) fn tag(&self) -> &str {
        self.tag.get_or_init(|| {
            let digest = Sha256::digest(self.content);
            let digits: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            format!("W/\"{digits}\"")
        })
    }

    /// The file in gzip. It is compressed once, so a request costs no more than sending it.
    pub(super) fn compressed(&self) -> Bytes {
        let compress = || {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            // Writing into memory does not fail.
            let _ = encoder.write_all(self.content);
            encoder.finish().unwrap_or_default().into()
        };
        self.compressed.get_or_init(compress).clone()
    }
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! asset {
    ($name:literal, $kind:expr) => {
        Asset::new(
            concat!("/ui/", $name),
            $kind,
            include_bytes!(concat!("../../page/", $name)),
        )
    };
}

pub(super) static ASSETS: [Asset; 12] = [
    Asset::new(
        "/ui",
        "text/html; charset=utf-8",
        include_bytes!("../../page/index.html"),
    ),
    asset!("page.css", "text/css; charset=utf-8"),
    asset!("icon.svg", "image/svg+xml"),
    asset!("app.js", SCRIPT),
    asset!("api.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("strings.js", SCRIPT),
    asset!("items.js", SCRIPT),
    asset!("item.js", SCRIPT),
    asset!("edit.js", SCRIPT),
    asset!("views.js", SCRIPT),
    asset!("plots.js", SCRIPT),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_together_have_at_most_150_kilobytes() {
        assert!(ASSETS.iter().map(|asset| asset.content.len()).sum::<usize>() <= 150_000);
    }

    #[test]
    fn a_compressed_file_is_the_file() {
        use std::io::Read as _;
        for asset in &ASSETS {
            let mut text = Vec::new();
            flate2::read::GzDecoder::new(&asset.compressed()[..])
                .read_to_end(&mut text)
                .unwrap();
            assert_eq!(text, asset.content, "{}", asset.path);
        }
    }

    #[test]
    fn no_script_makes_elements_from_text() {
        for asset in ASSETS.iter().filter(|asset| asset.kind == SCRIPT) {
            let text = std::str::from_utf8(asset.content).unwrap();
            for sink in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "localStorage",
                "cookie",
            ] {
                assert!(!text.contains(sink), "{} has {sink}", asset.path);
            }
        }
    }
}
