//! The table of docs/faults-of-sources.md.

use std::fs;
use std::path::{Path, PathBuf};

/// How many faults the page has at least.
const FAULTS: usize = 40;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cells of the rows of all tables of the page, without their headers.
fn rows() -> Vec<Vec<String>> {
    let page = fs::read_to_string(repository().join("docs/faults-of-sources.md")).unwrap();
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| fault |"));
    rows.map(|line| {
        let cells = line.trim_matches('|').split(" | ");
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

/// The texts of a test program: of a file of its name, of all files in a folder of its name, or of the unit tests of a file of
/// `crates/`.
fn program(name: &str) -> String {
    let root = repository();
    let file = root.join(format!("tests/tests/{name}.rs"));
    let folder = root.join(format!("tests/tests/{name}"));
    let unit = root.join("crates").join(name);
    let files: Vec<PathBuf> = if folder.is_dir() {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    } else if file.is_file() {
        vec![file]
    } else {
        vec![unit]
    };
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap_or_default());
    texts.collect()
}

#[test]
fn every_fault_of_the_page_names_a_test_that_exists() {
    let rows = rows();
    assert!(rows.len() >= FAULTS, "{} faults", rows.len());
    for row in rows {
        assert_eq!(row.len(), 4, "fault, served, shown, test: {row:?}");
        let test = row[3].trim_matches('`');
        let (name, function) = test.rsplit_once("::").unwrap_or_default();
        // A fault of a table of this program is named by its entry.
        let (function, entry) = match function.split_once('/') {
            Some((function, entry)) => (function, Some(entry)),
            None => (function, None),
        };
        let text = program(name);
        assert!(text.contains(&format!("fn {function}(")), "no test {test}");
        if let Some(entry) = entry {
            assert!(text.contains(&format!("\"{entry}\"")), "no entry {test}");
        }
    }
}

#[test]
fn every_entry_of_the_tests_is_a_fault_of_the_page() {
    let page: Vec<String> = rows()
        .into_iter()
        .map(|row| row[3].trim_matches('`').to_owned())
        .collect();
    let entries = |function: &str, names: Vec<&'static str>| {
        for name in names {
            let test = format!("faults::{function}/{name}");
            assert!(page.contains(&test), "docs/faults-of-sources.md has no row with {test}");
        }
    };
    entries("a_fault_of_a_tree_changes_what_the_page_says", super::trees::names());
    entries(
        "a_fault_of_a_git_server_changes_nothing_that_is_served",
        super::git::names(),
    );
}
