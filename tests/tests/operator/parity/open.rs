//! Differences that are meant, and those that were found and are still open: the line of an open one goes when the
//! difference does.

/// The object's key, and the place in it; an end of `*` stands for anything.
const OPEN: &[(&str, &str)] = &[
    // Labels and annotations that a template had and has no more are kept by the original here.
    ("Secret edit-template-metadata-orphan", "metadata /labels /a"),
    ("Secret edit-template-metadata-removed", "metadata /*"),
    // An event too many.
    ("ExternalSecret edit-immutable-off", "events"),
    // Go's words for what can't be parsed.
    ("ExternalSecret decode-fails", "events"),
    ("ExternalSecret template-from-literal-no-map", "events"),
    // Said in other words before 2.x.
    ("ExternalSecret rewrite-regexp-bad", "events"),
    // Meant: an item that was deleted is no error under these policies, as External Secrets documents them. Its provider
    // for 1Password does not say that an item is gone (external-secrets#6569).
    ("ExternalSecret item-deleted-delete", "*"),
    ("ExternalSecret item-deleted-merge", "*"),
    ("ExternalSecret extract-deleted-delete", "*"),
    ("ExternalSecret extract-deleted-merge", "*"),
    ("Secret item-deleted-delete", "*"),
    ("Secret item-deleted-merge", "*"),
    ("Secret extract-deleted-delete", "*"),
    ("Secret extract-deleted-merge", "*"),
    // Versions, which the original does not have.
    ("ExternalSecret version-of-nothing", "events"),
];

/// Whether a difference is one of them. It reads `RELEASE: ACT: KEY /PLACE /PLACE…`, and then how it
/// differs.
pub(super) fn is_known(difference: &str) -> bool {
    let first = difference.lines().next().unwrap_or_default();
    let first = first.splitn(3, ": ").nth(2).unwrap_or_default();
    let (key, place) = first.split_once(" /").unwrap_or((first, ""));
    let is = |pattern: &str, text: &str| match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => pattern == text,
    };
    OPEN.iter().any(|(of, at)| is(of, key) && is(at, place))
}
