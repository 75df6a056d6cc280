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
/// What a body of JSON may come to in memory, in [values](JSON_OBJECT): some 50 MB. The largest item comes to less, and
/// four megabytes of `{"":0},` would be 400.
pub const JSON_VALUES: usize = 1_600_000;
/// As how many values an object counts, however small it is.
pub const JSON_OBJECT: usize = 20;
/// As how many an element of a list counts besides: lists take twice the room they need while they grow.
pub const JSON_ELEMENT: usize = 2;
/// Bytes in a filter.
pub const FILTER_BYTES: usize = 16_384;
/// Parentheses and `not`s inside one another in a filter.
pub const FILTER_DEPTH: usize = 32;
