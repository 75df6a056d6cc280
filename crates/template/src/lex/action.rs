//! Reads the tokens of an action, between two delimiters.

use super::{Kind, Lexer, is_space, right_trim_marker};
use crate::go::unicode::{is_alphanumeric, is_print};

impl Lexer<'_> {
    /// Reads up to the right delimiter and the delimiter itself.
    pub(super) fn inside(&mut self) -> Result<(), String> {
        let mut parens = 0_usize;
        loop {
            let (delim, trim) = self.at_right_delim();
            if delim {
                if parens > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                self.right_delim(trim);
                return Ok(());
            }
            let Some(c) = self.next() else {
                return Err("unclosed action".to_owned());
            };
            match c {
                c if is_space(c) => {
                    self.pos -= 1;
                    self.space();
                }
                '=' => self.emit(Kind::Assign),
                ':' => {
                    if self.next() != Some('=') {
                        return Err("expected :=".to_owned());
                    }
                    self.emit(Kind::Declare);
                }
                '|' => self.emit(Kind::Pipe),
                '"' => self.quoted('"', "unterminated quoted string", Kind::String)?,
                '\'' => self.quoted('\'', "unterminated character constant", Kind::CharConstant)?,
                '`' => {
                    let Some(found) = self.rest().find('`') else {
                        return Err("unterminated raw quoted string".to_owned());
                    };
                    self.pos += found + 1;
                    self.emit(Kind::RawString);
                }
                '$' => self.name(Kind::Variable, Kind::Variable)?,
                '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) && self.pos < self.input.len() => {
                    self.name(Kind::Field, Kind::Dot)?;
                }
                '.' | '+' | '-' | '0'..='9' => {
                    self.pos -= 1;
                    self.number()?;
                }
                c if is_alphanumeric(c) => self.identifier()?,
                '(' => {
                    parens += 1;
                    self.emit(Kind::LeftParen);
                }
                ')' => {
                    if parens == 0 {
                        return Err("unexpected right paren".to_owned());
                    }
                    parens -= 1;
                    self.emit(Kind::RightParen);
                }
                c if c.is_ascii() && is_print(c) => self.emit(Kind::Char),
                c => return Err(format!("unrecognized character in action: {}", sharp_u(c))),
            }
        }
    }

    /// Reads a run of spaces. The last space may belong to a trimming delimiter.
    fn space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.pos += 1;
        }
        let last = &self.input[self.pos - 1..];
        if right_trim_marker(last) && last[2..].starts_with(self.right) {
            self.pos -= 1;
            if self.pos == self.start {
                return;
            }
        }
        self.emit(Kind::Space);
    }

    fn quoted(&mut self, end: char, unterminated: &str, kind: Kind) -> Result<(), String> {
        loop {
            match self.next() {
                Some('\\') if !matches!(self.next(), None | Some('\n')) => {}
                Some('\\' | '\n') | None => return Err(unterminated.to_owned()),
                Some(c) if c == end => break,
                Some(_) => {}
            }
        }
        self.emit(kind);
        Ok(())
    }

    /// Reads `.name` or `$name` after the first character. Without a name the token is `bare`.
    fn name(&mut self, kind: Kind, bare: Kind) -> Result<(), String> {
        if self.at_terminator() {
            self.emit(bare);
            return Ok(());
        }
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        self.must_terminate()?;
        self.emit(kind);
        Ok(())
    }

    fn identifier(&mut self) -> Result<(), String> {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        self.must_terminate()?;
        let word = self.pending();
        let kind = Kind::keyword(word).unwrap_or(match word {
            "true" | "false" => Kind::Bool,
            _ => Kind::Identifier,
        });
        self.emit(kind);
        Ok(())
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None => true,
            Some(c) => is_space(c) || ".,|:)(".contains(c) || self.rest().starts_with(self.right),
        }
    }

    fn must_terminate(&self) -> Result<(), String> {
        match self.peek() {
            Some(c) if !self.at_terminator() => Err(format!("bad character {}", sharp_u(c))),
            _ => Ok(()),
        }
    }
}

/// A character as Go's `%#U` prints it.
fn sharp_u(c: char) -> String {
    let code = format!("U+{:04X}", u32::from(c));
    if is_print(c) { format!("{code} '{c}'") } else { code }
}
