//! The variables that the programs read against the tables of docs/configuration.md.

use std::collections::BTreeSet;
use std::fs;

use sidevault_tests::pair::files_below;

use super::deploy;

/// Whether this is the whole name of a variable of Connect's or of Sidevault's.
fn is_variable(word: &str) -> bool {
    let rest = word.strip_prefix("OP_").or_else(|| word.strip_prefix("SIDEVAULT_"));
    rest.is_some_and(|rest| {
        let mut letters = rest.chars();
        !rest.is_empty()
            && letters.all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
    })
}

/// The names between `quote`s in a text.
fn quoted(text: &str, quote: char) -> impl Iterator<Item = String> {
    text.split(quote).filter(|word| is_variable(word)).map(str::to_owned)
}

/// The string literals in the crates' code, without their tests.
fn read_by_the_code() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let crates = deploy("../crates").canonicalize().unwrap();
    for (path, text) in files_below(&crates) {
        let shown = path.strip_prefix(&crates).unwrap().to_string_lossy();
        let is_code = shown.ends_with(".rs") && shown.contains("/src/") && !shown.ends_with("tests.rs");
        if !is_code || shown.contains("/tests/") {
            continue;
        }
        let text = String::from_utf8(text).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        found.extend(quoted(code, '"'));
    }
    found
}

fn documented() -> BTreeSet<String> {
    let text = fs::read_to_string(deploy("../docs/configuration.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| quoted(cell, '`'))
        .collect()
}

#[test]
fn every_variable_is_documented_and_every_documented_variable_is_read() {
    let (code, page) = (read_by_the_code(), documented());
    assert!(code.len() > 20 && code.contains("OP_SESSION"), "{code:?}");
    let undocumented: Vec<_> = code.difference(&page).collect();
    assert!(
        undocumented.is_empty(),
        "not in docs/configuration.md: {undocumented:?}"
    );
    let unread: Vec<_> = page.difference(&code).collect();
    assert!(
        unread.is_empty(),
        "in docs/configuration.md, but not in the code: {unread:?}"
    );
}
