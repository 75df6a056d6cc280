//! The commands of a Markdown page: its fenced `sh` blocks, and how the page says that each is run.
//!
//! A comment on a line of its own says it of the block that follows it, or of the place where it stands:
//!
//! | comment | meaning |
//! |---|---|
//! | none | the block runs in the shell that ran the blocks before it |
//! | `<!-- not run by the tests: REASON -->` | the block is skipped; the text beside it tells the reader what it needs |
//! | `<!-- run by another test: PATH -->` | the block is skipped here, because that test runs it |
//! | `<!-- first terminal, until URL answers -->` | the block keeps running beside the blocks that follow |
//! | `<!-- Ctrl-C in the first terminal -->` | stops the block above |

use std::fs;
use std::path::Path;

/// How a block is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// In the page's shell.
    InOrder,
    /// In a shell of its own, beside those that follow, as soon as this URL answers.
    Beside(String),
    /// By the test at this path.
    ByAnotherTest(String),
    /// Not at all, for this reason.
    Not(String),
}

/// A block of commands, or the end of one that keeps running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A fenced `sh` block.
    Block(Block),
    /// Ctrl-C for the block that runs beside the others; the number of the page's line.
    Interrupt(usize),
}

/// A fenced `sh` block of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The `##` heading above it, empty before the first one.
    pub section: String,
    /// The number of its first line of code in the page, from 1.
    pub line: usize,
    /// The lines of code, without the indentation of the fence.
    pub code: String,
    /// How it is run.
    pub how: How,
}

/// The steps of the page at `path`, in its order.
///
/// # Panics
/// If the page can't be read, or has a comment, a fence or a code block that this module does not know.
pub fn read(path: &Path) -> Vec<Step> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    steps(&text).unwrap_or_else(|fault| panic!("{}:{fault}", path.display()))
}

/// The steps of a page's text. An error begins with the line's number.
fn steps(text: &str) -> Result<Vec<Step>, String> {
    let (mut steps, mut section, mut how) = (Vec::new(), String::new(), None);
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut section);
        } else if let Some(comment) = content.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
            if comment == "Ctrl-C in the first terminal" {
                steps.push(Step::Interrupt(number));
            } else {
                how = Some(parse(comment).ok_or_else(|| format!("{number}: unknown comment: {comment}"))?);
            }
        } else if let Some(language) = content.strip_prefix("```") {
            let code = lines
                .by_ref()
                .map_while(|(_, line)| (line.trim() != "```").then_some(line));
            let code: Vec<&str> = code.map(|line| line.get(indent..).unwrap_or_default()).collect();
            match language {
                "sh" => steps.push(Step::Block(Block {
                    section: section.clone(),
                    line: number + 1,
                    code: code.join("\n") + "\n",
                    how: how.take().unwrap_or(How::InOrder),
                })),
                // Commands under another name would not be run by any test.
                "bash" | "shell" | "console" => return Err(format!("{number}: call the block `sh`")),
                _ => {}
            }
        } else if !line.is_empty() && how.is_some() {
            return Err(format!("{number}: a block must follow the comment above"));
        }
    }
    Ok(steps)
}

fn parse(comment: &str) -> Option<How> {
    if let Some(reason) = comment.strip_prefix("not run by the tests: ") {
        return Some(How::Not(reason.to_owned()));
    }
    if let Some(path) = comment.strip_prefix("run by another test: ") {
        return Some(How::ByAnotherTest(path.to_owned()));
    }
    let url = comment
        .strip_prefix("first terminal, until ")?
        .strip_suffix(" answers")?;
    Some(How::Beside(url.to_owned()))
}
