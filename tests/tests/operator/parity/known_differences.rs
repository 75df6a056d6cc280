//! Differences from the real controller that the comparison accepts: intended ones, and open ones, which are to be mended.

/// The object's key, and the path in it. A `*` at the end matches any suffix.
const KNOWN: &[(&str, &str)] = &[
    // Open: the real controller keeps labels and annotations that were removed from the template.
    ("Secret edit-template-metadata-orphan", "metadata /labels /a"),
    ("Secret edit-template-metadata-removed", "metadata /*"),
    // Open: the operator records one event more.
    ("ExternalSecret edit-immutable-off", "events"),
    // Open: the messages of Go's parsers.
    ("ExternalSecret decode-fails", "events"),
    ("ExternalSecret template-from-literal-no-map", "events"),
    // Releases before 2.x have another message.
    ("ExternalSecret rewrite-regexp-bad", "events"),
    // Intended: under these policies a deleted item is no error, as External Secrets documents. Its 1Password provider does
    // not report that an item is deleted (external-secrets#6569).
    ("ExternalSecret item-deleted-delete", "*"),
    ("ExternalSecret item-deleted-merge", "*"),
    ("ExternalSecret extract-deleted-delete", "*"),
    ("ExternalSecret extract-deleted-merge", "*"),
    ("Secret item-deleted-delete", "*"),
    ("Secret item-deleted-merge", "*"),
    ("Secret extract-deleted-delete", "*"),
    ("Secret extract-deleted-merge", "*"),
    // Intended: External Secrets has no versions of items.
    ("ExternalSecret version-of-nothing", "events"),
];

/// Whether a difference is in the list. Its first line is `RELEASE: PHASE: KEY /PATH /PATH…`.
pub(super) fn is_known(difference: &str) -> bool {
    let first = difference.lines().next().unwrap_or_default();
    let first = first.splitn(3, ": ").nth(2).unwrap_or_default();
    let (key, path) = first.split_once(" /").unwrap_or((first, ""));
    let matches = |pattern: &str, text: &str| match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => pattern == text,
    };
    KNOWN
        .iter()
        .any(|(key_pattern, path_pattern)| matches(key_pattern, key) && matches(path_pattern, path))
}
