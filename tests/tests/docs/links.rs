//! Links within the repository lead to files that are there, and to headings that are in them.

use std::fs;
use std::path::{Path, PathBuf};

use super::{pages, repository};

/// Pages beside README.md and docs/ that have links.
const MORE: [&str; 11] = [
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/decisions/README.md",
    "tests/README.md",
    "tests/clients/README.md",
    "tests/cluster/README.md",
    "deploy/examples/anton/README.md",
    "examples/README.md",
];

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let mut broken = Vec::new();
    for page in pages().into_iter().chain(MORE.map(PathBuf::from)) {
        let text =
            fs::read_to_string(repository().join(&page)).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        for link in links(&text) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => repository().join(&page),
                path => repository().join(page.parent().unwrap()).join(path),
            };
            if !target.exists() || !(heading.is_empty() || has_heading(&target, heading)) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The targets of `[text](target)`, without those on the web.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://") && !target.contains(char::is_whitespace))
}

/// Whether a page has a heading that GitHub gives this anchor.
fn has_heading(page: &Path, anchor: &str) -> bool {
    let text = fs::read_to_string(page).unwrap_or_default();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| line.trim_start_matches('#').trim()).any(|heading| {
        let kept = heading
            .chars()
            .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-") == anchor
    })
}
