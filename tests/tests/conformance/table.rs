//! `CONFORMANCE.md` has every check once, and names only tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sidevault_tests::pair::files_below;

#[test]
fn every_check_stands_in_the_table_once_and_its_test_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("CONFORMANCE.md")).unwrap();
    let numbers: Vec<u32> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok())
        .collect();
    assert_eq!(numbers, (1..=214).collect::<Vec<_>>());
    let mut tests = BTreeSet::new();
    for (_, bytes) in files_below(&root.join("tests/conformance")) {
        let source = String::from_utf8(bytes).unwrap();
        let names = source.lines().filter_map(|line| line.strip_prefix("fn c"));
        tests.extend(names.filter_map(|name| Some(format!("c{}", name.split_once('(')?.0))));
    }
    for line in table.lines() {
        let Some((_, cell)) = line.strip_prefix("| ").and_then(|row| row.split_once(' ')) else {
            continue;
        };
        for name in cell
            .split('`')
            .filter(|name| name.starts_with('c') && name.contains('_'))
        {
            if name[1..].starts_with(|letter: char| letter.is_ascii_digit()) {
                assert!(tests.contains(name), "no test {name}");
            }
        }
    }
    // And the other way round: a test's numbers are the rows that name it.
    for name in &tests {
        for number in name[1..].split('_').map_while(|part| part.parse::<u32>().ok()) {
            let row = table.lines().find(|line| line.starts_with(&format!("| {number} |")));
            assert!(
                row.is_some_and(|row| row.contains(&format!("`{name}`"))),
                "{number}: {name}"
            );
        }
    }
}
