//! How titles, names and tags compare.

use unicode_normalization::UnicodeNormalization;

/// The form of a text in which titles, names and tags compare: composed (NFC) and in lower case. Folding a folded text does not change
/// it. The store indexes a keyed hash of it.
pub fn fold(text: &str) -> String {
    // Most names are ASCII, which is always composed.
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Characters are lowered one by one: `str::to_lowercase` lowers Σ depending on its neighbours, so that a part of a text would
    // not be a part of the lowered text, and `co` would not find it. The lowered text may have to be composed again.
    let lower = |character: char| match character {
        'ς' => 'σ'.to_lowercase(),
        character => character.to_lowercase(),
    };
    text.nfc().flat_map(lower).nfc().collect()
}

/// The hits whose title is exactly `wanted`, composition aside. If there are none, all hits.
///
/// Names compare without regard to case. But if both `Dev` and `dev` exist and a client asks for one, a second hit would make the
/// client fail ("found 2").
pub fn prefer_exact<T>(hits: Vec<T>, wanted: &str, title_of: impl Fn(&T) -> &str) -> Vec<T> {
    let is_exact = |hit: &T| title_of(hit).nfc().eq(wanted.nfc());
    if hits.iter().any(is_exact) {
        hits.into_iter().filter(is_exact).collect()
    } else {
        hits
    }
}

/// Those of `all` whose title is `wanted` without regard to case; only the exact ones if there are any: see [`prefer_exact`].
pub fn named<T>(mut all: Vec<T>, wanted: &str, title_of: impl Fn(&T) -> &str) -> Vec<T> {
    let folded = fold(wanted);
    all.retain(|one| fold(title_of(one)) == folded);
    prefer_exact(all, wanted, title_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Checks 48 and 69.
    #[test]
    fn case_and_composition_are_ignored() {
        assert_eq!(fold("Homelab"), fold("hOMELAB"));
        assert_eq!(fold("Zu\u{308}rich \u{1f511}"), fold("ZÜRICH \u{1f511}"));
        assert_eq!(fold("ΟΔΟΣ"), fold("οδος"));
        assert_ne!(fold("a"), fold("á"));
    }

    // Check 49.
    #[test]
    fn exact_hits_are_preferred() {
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
