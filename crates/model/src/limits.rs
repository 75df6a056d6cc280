//! Limits of what clients may write. A write beyond a limit is answered with 400. The size of values is limited only by the size of
//! the request's body.
//!
//! Connect publishes no such limits. These are far above what people store, and low enough that no item makes a list or a filter
//! slow. Directory sources have limits of their own.

/// Characters in a title.
pub const TITLE_CHARS: usize = 1_024;
/// Characters in the label of a field, section or URL.
pub const LABEL_CHARS: usize = 1_024;
/// Bytes in the id of a field or section.
pub const ID_BYTES: usize = 256;
/// Characters in one tag.
pub const TAG_CHARS: usize = 256;
/// Fields of an item.
pub const FIELDS: usize = 10_000;
/// Sections of an item.
pub const SECTIONS: usize = 1_000;
/// URLs of an item.
pub const URLS: usize = 1_000;
/// Tags of an item.
pub const TAGS: usize = 1_000;
/// Operations of one PATCH.
pub const OPERATIONS: usize = 1_000;
/// Previous passwords kept with a field.
pub const HISTORY: usize = 10;
/// The most values of a body of JSON, counted as [`JSON_OBJECT`] and [`JSON_ELEMENT`] say: about 50 MB in memory. The largest item
/// has fewer values. Without this limit, four megabytes of `{"":0},` would take 400 MB.
pub const JSON_VALUES: usize = 1_600_000;
/// An object counts as this many values, because even a small object takes as much memory.
pub const JSON_OBJECT: usize = 20;
/// An element of a list counts as this many values more, because a list may have twice the room that it needs while it grows.
pub const JSON_ELEMENT: usize = 2;
/// Bytes in a filter.
pub const FILTER_BYTES: usize = 16_384;
/// Parentheses and `not`s inside one another in a filter.
pub const FILTER_DEPTH: usize = 32;
