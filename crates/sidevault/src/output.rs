//! What commands print on stdout: lines and tables for people, JSON for programs.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::exit::Failure;

/// Prints a line.
///
/// # Errors
/// [`Failure::Unread`] if the reader has closed the pipe.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Prints one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(value).map_err(|error| Failure::Failed(error.to_string()))?)
}

/// Whether stdout is a terminal and colours are not turned off (see no-color.org).
pub(crate) fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Text with a colour or weight (an SGR code) on a terminal; plain text elsewhere.
pub(crate) fn styled(text: &str, code: &str) -> String {
    if colours() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// What to type to run this binary again: the path it was started by, or `sidevault` if it is on the PATH.
pub(crate) fn program() -> String {
    let started_by = std::env::args().next().unwrap_or_default();
    if started_by.contains('/') {
        started_by
    } else {
        "sidevault".to_owned()
    }
}

/// A text as one word of a shell command.
pub(crate) fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Rows under a heading.
pub(crate) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: impl Into<Vec<&'static str>>) -> Self {
        Self {
            heading: heading.into(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(
            cells
                .into_iter()
                .map(|cell| sidevault_model::printable(&cell))
                .collect(),
        );
    }

    /// Whether the table has no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Prints the table; the heading is bold on a terminal.
    pub(crate) fn print(&self) -> Result<(), Failure> {
        for (index, text) in self.lines("  ").enumerate() {
            line(&if index == 0 { styled(&text, "1") } else { text })?;
        }
        Ok(())
    }

    /// The heading and the rows as lines, with `gap` between the columns.
    pub(crate) fn lines(&self, gap: &str) -> impl Iterator<Item = String> {
        let widths: Vec<usize> = (0..self.heading.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells
                    .map(|cell| cell.chars().count())
                    .chain([self.heading[column].len()])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let heading = aligned(self.heading.iter().copied(), &widths, gap);
        let row = move |row: &Vec<String>| aligned(row.iter().map(String::as_str), &widths, gap);
        std::iter::once(heading).chain(self.rows.iter().map(row))
    }
}

fn aligned<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize], gap: &str) -> String {
    let cells: Vec<String> = cells
        .zip(widths)
        .map(|(cell, &width)| format!("{cell:<width$}"))
        .collect();
    cells.join(gap).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_padded_to_their_column() {
        assert_eq!(aligned(["a", "ü", ""].into_iter(), &[3, 2, 1], "  "), "a    ü");
    }

    #[test]
    fn a_shell_word_is_quoted_if_it_has_to_be() {
        assert_eq!(shell_word("/home/a/.local"), "/home/a/.local");
        assert_eq!(shell_word("My Vault's"), "'My Vault'\\''s'");
    }
}
