//! A call as a row of a table: the command line, what it reads, and what it must print.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::world::World;

/// One row.
pub(crate) struct Call {
    line: String,
    as_op: bool,
    stdin: Option<String>,
    variables: Vec<(String, String)>,
    code: i32,
    out: Option<String>,
    parts: Vec<String>,
    json: Vec<(String, Value)>,
    error: String,
}

/// A call of `op` that must succeed. Words are divided by spaces; single quotes hold words with spaces.
pub(crate) fn op(line: &str) -> Call {
    Call {
        line: line.to_owned(),
        as_op: true,
        stdin: None,
        variables: Vec::new(),
        code: 0,
        out: None,
        parts: Vec::new(),
        json: Vec::new(),
        error: String::new(),
    }
}

/// A call of `sidevault` that must succeed.
pub(crate) fn sidevault(line: &str) -> Call {
    Call {
        as_op: false,
        ..op(line)
    }
}

impl Call {
    /// What the call reads from a pipe. Without this it has no standard input.
    pub(crate) fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.to_owned());
        self
    }

    /// A variable; an empty one is removed.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// All that it prints.
    pub(crate) fn out(mut self, text: &str) -> Self {
        self.out = Some(text.to_owned());
        self
    }

    /// A part of what it prints.
    pub(crate) fn has(mut self, text: &str) -> Self {
        self.parts.push(text.to_owned());
        self
    }

    /// A member of the JSON that it prints, by its JSON pointer. `null` is a member that is not there.
    pub(crate) fn json(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.json.push((pointer.to_owned(), value.into()));
        self
    }

    /// It must fail with this error line, and print nothing.
    pub(crate) fn fails(self, message: &str) -> Self {
        self.ends(1, message)
    }

    /// It must end with this status and this error.
    pub(crate) fn ends(mut self, code: i32, message: &str) -> Self {
        self.code = code;
        self.error = message.to_owned();
        if self.out.is_none() {
            self.out = Some(String::new());
        }
        self
    }

    /// What is wrong with the outcome, if anything.
    pub(crate) fn run(&self, world: &World) -> Option<String> {
        let words = words(&world.with_ids(&self.line));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = if self.as_op {
            world.op_command(&words)
        } else {
            world.command(&words)
        };
        for (name, value) in &self.variables {
            if value.is_empty() {
                command.env_remove(name);
            } else {
                command.env(name, world.with_ids(value));
            }
        }
        let (code, out, err) = outcome(
            command,
            self.stdin.as_deref().map(|text| world.with_ids(text)).as_deref(),
        );
        let mut wrong = Vec::new();
        if code != Some(self.code) {
            wrong.push(format!("status {code:?}, not {}", self.code));
        }
        if let Some(expected) = &self.out {
            let expected = world.with_ids(expected);
            if out != expected {
                wrong.push(format!("stdout is {out:?}, not {expected:?}"));
            }
        }
        for part in &self.parts {
            let part = world.with_ids(part);
            if !out.contains(&part) {
                wrong.push(format!("stdout lacks {part:?}: {out:?}"));
            }
        }
        if !self.json.is_empty() {
            let shown: Value = serde_json::from_str(&out).unwrap_or_default();
            for (pointer, value) in &self.json {
                let expected = match value {
                    Value::String(text) => world.with_ids(text).into(),
                    value => value.clone(),
                };
                let found = shown.pointer(pointer).cloned().unwrap_or_default();
                if found != expected {
                    wrong.push(format!("{pointer} is {found}, not {expected}"));
                }
            }
        }
        let expected = world.with_ids(&self.error);
        let message = if self.as_op {
            op_message(&err)
        } else {
            native_message(&err)
        };
        if message.as_deref() != Ok(expected.as_str()) {
            wrong.push(format!("stderr is {err:?}, not {expected:?}"));
        }
        (!wrong.is_empty()).then(|| {
            let program = if self.as_op { "op" } else { "sidevault" };
            format!("{program} {}\n    {}", self.line, wrong.join("\n    "))
        })
    }
}

fn outcome(mut command: Command, stdin: Option<&str>) -> (Option<i32>, String, String) {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().expect("the program runs");
    if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
        // A call that fails early does not read its input.
        let _ = pipe.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().expect("the program ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The message of `[ERROR] YYYY/MM/DD HH:MM:SS message`.
fn op_message(err: &str) -> Result<String, ()> {
    if err.is_empty() {
        return Ok(String::new());
    }
    let rest = err.strip_prefix("[ERROR] ").ok_or(())?;
    let (time, message) = rest.split_at_checked(20).ok_or(())?;
    let pattern = "dddd/dd/dd dd:dd:dd ";
    let fits = time.chars().zip(pattern.chars()).all(|(c, wanted)| match wanted {
        'd' => c.is_ascii_digit(),
        other => c == other,
    });
    if fits {
        message.strip_suffix('\n').map(str::to_owned).ok_or(())
    } else {
        Err(())
    }
}

/// The message of `sidevault: message`.
fn native_message(err: &str) -> Result<String, ()> {
    if err.is_empty() {
        return Ok(String::new());
    }
    let message = err.strip_prefix("sidevault: ").ok_or(())?;
    message.strip_suffix('\n').map(str::to_owned).ok_or(())
}

fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut is_word) = (false, false);
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                is_word = true;
            }
            ' ' if !quoted => {
                if is_word {
                    words.push(String::new());
                }
                is_word = false;
            }
            c => {
                words.last_mut().expect("a word").push(c);
                is_word = true;
            }
        }
    }
    if !is_word {
        words.pop();
    }
    words
}

/// Runs the rows in their order, and reports all that are wrong.
pub(crate) fn check(world: &World, calls: &[Call]) {
    let wrong: Vec<String> = calls.iter().filter_map(|call| call.run(world)).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} calls:\n{}",
        wrong.len(),
        calls.len(),
        wrong.join("\n")
    );
}
