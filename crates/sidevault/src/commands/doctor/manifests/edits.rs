//! Corrections of files. They change single lines, so that comments and order stay.

/// A change of one line, counted from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Edit {
    pub(super) line: usize,
    pub(super) change: Change,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// Replaces this text, which starts at this column.
    Replace { column: usize, old: String, new: String },
    /// Adds lines in front.
    Insert(String),
}

/// The text with the edits. An edit whose line has another text than it replaces is left out: it was written in another form.
pub(super) fn apply(text: &str, edits: &[Edit]) -> String {
    let mut result = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let mut line = line.to_owned();
        // From the right to the left, so that columns stay valid.
        let mut here: Vec<&Edit> = edits.iter().filter(|edit| edit.line == index + 1).collect();
        here.dedup();
        here.sort_by_key(|edit| match &edit.change {
            Change::Replace { column, .. } => std::cmp::Reverse(*column),
            Change::Insert(_) => std::cmp::Reverse(0),
        });
        for edit in here {
            match &edit.change {
                Change::Insert(lines) => result.push_str(lines),
                Change::Replace { column, old, new } => {
                    let at = line.char_indices().nth(*column).map_or(line.len(), |(at, _)| at);
                    if line[at..].starts_with(old.as_str()) {
                        line.replace_range(at..at + old.len(), new);
                    }
                }
            }
        }
        result.push_str(&line);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_texts_change() {
        let replace = |line, column, old: &str, new: &str| Edit {
            line,
            change: Change::Replace {
                column,
                old: old.to_owned(),
                new: new.to_owned(),
            },
        };
        let edits = [
            replace(2, 2, "b", "long"),
            replace(2, 2, "b", "long"),
            replace(3, 0, "other", "x"),
            Edit {
                line: 3,
                change: Change::Insert("new: 1\n".to_owned()),
            },
        ];
        assert_eq!(
            apply("a: # ü\n  b: 1 # b\nc: 2", &edits),
            "a: # ü\n  long: 1 # b\nnew: 1\nc: 2"
        );
    }
}
