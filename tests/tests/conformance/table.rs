//! `CONFORMANCE.md` has every check once, and names only tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sidevault_tests::pair::files_below;

#[test]
fn the_table_has_every_check_once_and_names_existing_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("CONFORMANCE.md")).unwrap();
    let numbers: Vec<u32> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok())
        .collect();
    assert_eq!(numbers, (1..=214).collect::<Vec<_>>());
    let mut functions = functions_below(&root.join("../crates"));
    functions.extend(functions_below(&root.join("tests")));
    for line in table.lines().filter(|line| line.starts_with("| ")) {
        let quoted = line.split('`').skip(1).step_by(2);
        for name in quoted.filter(|name| is_function_name(name)) {
            assert!(functions.contains(name), "no test {name}");
        }
    }
    // The rows that name a test are those with the numbers in the test's name.
    for name in functions_below(&root.join("tests/conformance")) {
        let Some(numbers) = name.strip_prefix('c') else {
            continue;
        };
        for number in numbers.split('_').map_while(|part| part.parse::<u32>().ok()) {
            let row = table.lines().find(|line| line.starts_with(&format!("| {number} |")));
            assert!(
                row.is_some_and(|row| row.contains(&format!("`{name}`"))),
                "{number}: {name}"
            );
        }
    }
}

/// Whether a quoted word of the table can only be the name of a function, and not a path or a setting.
fn is_function_name(word: &str) -> bool {
    word.contains('_')
        && word
            .chars()
            .all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_')
}

/// The names of all functions in the Rust files below a directory.
fn functions_below(directory: &Path) -> BTreeSet<String> {
    let mut functions = BTreeSet::new();
    for (path, bytes) in files_below(directory) {
        if path.extension().is_some_and(|extension| extension == "rs") {
            let source = String::from_utf8(bytes).unwrap();
            let names = source
                .lines()
                .filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn "));
            functions.extend(names.filter_map(|name| Some(name.split_once('(')?.0.to_owned())));
        }
    }
    functions
}
