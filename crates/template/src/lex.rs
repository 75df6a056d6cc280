//! Splits the source of a template into tokens, as Go's `text/template/parse` does.

mod action;
mod number;
mod token;

pub(crate) use token::{Kind, Token};

/// All tokens up to the end or the first error. An error is the last token.
pub(crate) fn lex(input: &str, left: &str, right: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        input,
        left: if left.is_empty() { "{{" } else { left },
        right: if right.is_empty() { "}}" } else { right },
        pos: 0,
        start: 0,
        line: 1,
        tokens: Vec::new(),
    };
    if let Err(message) = lexer.text() {
        let (pos, line) = (lexer.start, lexer.line);
        lexer.tokens.push(Token {
            kind: Kind::Error,
            pos,
            line,
            text: message,
        });
    }
    let (pos, line) = (lexer.start, lexer.line);
    lexer.tokens.push(Token {
        kind: Kind::Eof,
        pos,
        line,
        text: "EOF".to_owned(),
    });
    lexer.tokens
}

struct Lexer<'s> {
    input: &'s str,
    left: &'s str,
    right: &'s str,
    pos: usize,
    start: usize,
    /// The line number of `start`.
    line: usize,
    tokens: Vec<Token>,
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn left_trim_marker(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(is_space))
}

fn right_trim_marker(rest: &str) -> bool {
    rest.starts_with(is_space) && rest[1..].starts_with('-')
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.input[self.pos..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, valid: &str) -> bool {
        let found = self.peek().is_some_and(|c| valid.contains(c));
        if found {
            self.pos += 1;
        }
        found
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    fn pending(&self) -> &'s str {
        &self.input[self.start..self.pos]
    }

    fn ignore(&mut self) {
        self.line += self.pending().matches('\n').count();
        self.start = self.pos;
    }

    fn emit(&mut self, kind: Kind) {
        let text = self.pending().to_owned();
        self.tokens.push(Token {
            kind,
            pos: self.start,
            line: self.line,
            text,
        });
        self.ignore();
    }

    /// Reads text and actions alternately.
    fn text(&mut self) -> Result<(), String> {
        loop {
            let Some(found) = self.rest().find(self.left) else {
                self.pos = self.input.len();
                if self.pos > self.start {
                    self.emit(Kind::Text);
                }
                return Ok(());
            };
            let delim = self.pos + found;
            let after = &self.input[delim + self.left.len()..];
            let mut end = delim;
            if left_trim_marker(after) {
                end = self.start + self.input[self.start..delim].trim_end_matches(is_space).len();
            }
            self.pos = end;
            if end > self.start {
                self.emit(Kind::Text);
            }
            self.pos = delim;
            self.ignore();
            self.left_delim()?;
        }
    }

    fn left_delim(&mut self) -> Result<(), String> {
        self.pos += self.left.len();
        let marker = if left_trim_marker(self.rest()) { 2 } else { 0 };
        if self.rest()[marker..].starts_with("/*") {
            self.pos += marker;
            self.ignore();
            return self.comment();
        }
        self.emit(Kind::LeftDelim);
        self.pos += marker;
        self.ignore();
        self.inside()
    }

    /// Whether the right delimiter is at the current position, and whether it trims.
    fn at_right_delim(&self) -> (bool, bool) {
        let rest = self.rest();
        if right_trim_marker(rest) && rest[2..].starts_with(self.right) {
            return (true, true);
        }
        (rest.starts_with(self.right), false)
    }

    fn comment(&mut self) -> Result<(), String> {
        let Some(found) = self.rest()[2..].find("*/") else {
            return Err("unclosed comment".to_owned());
        };
        self.pos += 2 + found + 2;
        let (delim, trim) = self.at_right_delim();
        if !delim {
            return Err("comment ends before closing delimiter".to_owned());
        }
        self.skip_right_delim(trim);
        self.ignore();
        Ok(())
    }

    fn skip_right_delim(&mut self, trim: bool) {
        if trim {
            self.pos += 2;
        }
        self.pos += self.right.len();
        if trim {
            let rest = self.rest();
            self.pos += rest.len() - rest.trim_start_matches(is_space).len();
        }
    }

    fn right_delim(&mut self, trim: bool) {
        if trim {
            self.pos += 2;
            self.ignore();
        }
        self.pos += self.right.len();
        self.emit(Kind::RightDelim);
        if trim {
            let rest = self.rest();
            self.pos += rest.len() - rest.trim_start_matches(is_space).len();
            self.ignore();
        }
    }
}
