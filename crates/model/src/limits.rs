//! How much one item may hold. Beyond these a write is a 400; the size of values is bounded by the request body alone.
//!
//! Connect publishes no such numbers. These are far above what people store and low enough that no single item can make
//! a list or a filter slow. They bind what clients write, not what a mirror or a directory brings in.

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
/// Bytes in a filter.
pub const FILTER_BYTES: usize = 16_384;
/// Parentheses and `not`s inside one another in a filter.
pub const FILTER_DEPTH: usize = 32;
