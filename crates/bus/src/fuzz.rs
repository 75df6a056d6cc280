//! The entry point of the fuzz target `bus_frames`. Compiled for fuzzing only.

use crate::frame::{Cipher, FrameReader};
use crate::message;

/// Reads frames without encryption from `bytes`, like frames of an authenticated peer, until one is refused or `bytes` end.
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
