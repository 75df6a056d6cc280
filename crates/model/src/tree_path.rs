//! Look-ups of items by the path of their file in a tree.
//!
//! An item of a directory or Git source has its title, and its path as a second name: `media/plex/secret` for the item of
//! `media/plex/secret.sops.yaml`. Both are computed from the file alone, so neither changes because of another file.

use crate::filter::fold;

/// The endings that do not count: those of the formats, and those that people give to encrypted files.
const ENDINGS: [&str; 9] = [
    ".yaml",
    ".yml",
    ".json",
    ".env",
    ".ini",
    ".sops",
    ".enc",
    ".dec",
    ".encrypted",
];

/// The form of a path in which paths compare: folded as titles are, and without the endings of formats and encryption. `db.yaml`,
/// `db.sops.json` and `db.yaml.enc` have one form. Giving it the result changes nothing.
pub fn comparable(path: &str) -> String {
    let mut path = fold(path);
    while let Some(length) = without_one_ending(&path).map(str::len) {
        path.truncate(length);
    }
    path
}

fn without_one_ending(path: &str) -> Option<&str> {
    ENDINGS
        .iter()
        .find_map(|ending| path.strip_suffix(ending))
        .filter(|rest| !rest.is_empty() && !rest.ends_with('/'))
}

/// The paths, in comparable form, that a look-up in the vault of this name may mean: the path in the tree, and the path below the
/// directory that has the vault's name. Empty if the text has neither a slash nor an ending, so that it is a title only.
pub fn meant(vault: &str, asked: &str) -> Vec<String> {
    let path = comparable(asked);
    let path = path.strip_prefix("./").unwrap_or(&path);
    if !path.contains('/') && path.len() == fold(asked).len() {
        return Vec::new();
    }
    vec![path.to_owned(), format!("{}/{path}", fold(vault))]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn endings_and_case_do_not_count() {
        for path in [
            "media/plex/secret",
            "media/plex/secret.yaml",
            "Media/plex/Secret.sops.yaml",
            "media/plex/secret.yaml.enc",
            "media/plex/secret.enc",
            "media/plex/secret.dec.json",
            "media/plex/secret.sops",
        ] {
            assert_eq!(comparable(path), "media/plex/secret", "{path}");
        }
        for path in ["media/tls.crt", "media/.env", "media/app.conf"] {
            assert_eq!(comparable(path), path);
        }
    }

    #[test]
    fn a_look_up_means_a_path_in_the_tree_or_in_the_vault() {
        assert_eq!(meant("Media", "plex/db.yaml"), ["plex/db", "media/plex/db"]);
        assert_eq!(meant("media", "./media/db"), ["media/db", "media/media/db"]);
        assert_eq!(meant("media", "db.yaml"), ["db", "media/db"]);
        assert!(meant("media", "db").is_empty());
        assert!(meant("media", "DB").is_empty());
    }

    proptest! {
        #[test]
        fn the_form_of_a_form_is_the_form(path in "[a/.]{0,3}(a|/|\\.yaml|\\.sops|\\.enc|\u{130}){0,5}") {
            let once = comparable(&path);
            prop_assert_eq!(comparable(&once), once);
        }
    }
}
