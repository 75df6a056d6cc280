//! The way in for the fuzz target `bus_frames`; not compiled otherwise.

use crate::frame::{Cipher, FrameReader};
use crate::message;

/// Reads frames from `bytes` as from an authenticated peer, without encryption, until one is refused or none is left.
pub fn read_all(bytes: &[u8]) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else {
        return;
    };
    runtime.block_on(async {
        let mut frames = FrameReader::new(bytes, Cipher::plain(), None);
        while let Ok(frame) = frames.read().await {
            let _ = message::parse(frame);
        }
    });
}
