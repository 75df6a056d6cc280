//! What one rendering may cost. Go has next to no limits; a template that meets one of these would have made a Secret
//! that Kubernetes refuses (1 MiB), or none at all.

/// Bytes of output, and of any single string made on the way.
pub const MAX_OUTPUT: usize = 4 << 20;

/// Units of work in one rendering: about one for each node evaluated, each element built and each 64 bytes copied.
pub const MAX_WORK: u64 = 4_000_000;

/// Control structures and parentheses inside one another in a template's text.
pub const MAX_NESTING: usize = 100;

/// `{{ template }}` calls inside one another (Go: 100000).
pub const MAX_TEMPLATE_DEPTH: usize = 100;

/// Actions under way at once, over all templates that called one another.
pub const MAX_ACTION_DEPTH: usize = 300;

/// Lists and maps inside one another, wherever they are walked: printing, comparing, copying, JSON, YAML.
pub const MAX_VALUE_DEPTH: usize = 100;

/// Bytes of a template's source.
pub const MAX_SOURCE: usize = 1 << 20;
