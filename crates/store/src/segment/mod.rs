//! Segments: what changed in a store since its last backup, or since the segment before. Rows stay sealed, so no keys are needed.
//!
//! A segment is a text file of JSON lines. The first line is the [`Head`]; it links the segment to the one before. Then come
//! [`Line`]s, which remove rows and set rows, and the [`End`], by which a segment that was cut or damaged is noticed. Replayed in
//! their order over the backup that they follow, segments give the store as it was at the last change of the last one.
//!
//! A segment has the rows as they were in one transaction, and not each change: an item that changed twice is in it once.
//! The activity log is not in segments: it is as it was in the backup.

mod format;
mod replay;
#[cfg(test)]
mod tests;
mod write;

pub use format::{Link, SegmentFault};
pub use replay::Assembly;
pub use write::{Segment, SegmentWriter};
