//! When two titles are the same.

use unicode_normalization::UnicodeNormalization;

/// The key under which titles, names and tags compare: composed (NFC), without regard to case.
///
/// Applying it twice changes nothing more. A keyed hash of it is what a store indexes.
pub fn fold(text: &str) -> String {
    // Most names are ASCII, which is composed already.
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // One character at a time: the whole-string function of the standard library lowers Σ by its neighbours, and `co`
    // must find parts. Lowering may leave something to compose.
    let lower = |character: char| match character {
        'ς' => 'σ'.to_lowercase(),
        character => character.to_lowercase(),
    };
    text.nfc().flat_map(lower).nfc().collect()
}

/// If some of the hits are called exactly `wanted` (but for composition), only those; else all.
///
/// Names compare without regard to case, but where `Dev` and `dev` both exist and one is asked for, a second hit would
/// make clients give up ("found 2").
pub fn prefer_exact<T>(hits: Vec<T>, wanted: &str, title_of: impl Fn(&T) -> &str) -> Vec<T> {
    let is_exact = |hit: &T| title_of(hit).nfc().eq(wanted.nfc());
    match hits.iter().any(is_exact) {
        true => hits.into_iter().filter(is_exact).collect(),
        false => hits,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    // Checks 48 and 69.
    #[test]
    fn case_and_composition_do_not_count() {
        assert_eq!(fold("Homelab"), fold("hOMELAB"));
        assert_eq!(fold("Zu\u{308}rich \u{1f511}"), fold("ZÜRICH \u{1f511}"));
        assert_eq!(fold("ΟΔΟΣ"), fold("οδος"));
        assert_ne!(fold("a"), fold("á"));
    }

    // Check 49.
    #[test]
    fn exact_hits_win_over_hits_of_another_case() {
        let title = |hit: &&'static str| -> &'static str { hit };
        let prefer = |hits: Vec<&'static str>, wanted| prefer_exact(hits, wanted, |hit| title(hit));
        assert_eq!(prefer(vec!["Dev", "dev"], "dev"), ["dev"]);
        assert_eq!(prefer(vec!["Dev", "dEV"], "dev"), ["Dev", "dEV"]);
        assert_eq!(
            prefer(vec!["x\u{e9}", "XE\u{301}", "xe\u{301}"], "xé"),
            ["x\u{e9}", "xe\u{301}"]
        );
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in "\\PC*") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }
    }
}
