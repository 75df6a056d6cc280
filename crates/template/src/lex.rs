//! Cuts a template's source into tokens, as Go's `text/template/parse` does.

use crate::go::unicode::{is_alphanumeric, is_print};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Error,
    Bool,
    Char,
    CharConstant,
    Complex,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    // Keywords.
    Block,
    Break,
    Continue,
    Define,
    Dot,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

impl Kind {
    fn keyword(word: &str) -> Option<Self> {
        Some(match word {
            "block" => Self::Block,
            "break" => Self::Break,
            "continue" => Self::Continue,
            "define" => Self::Define,
            "else" => Self::Else,
            "end" => Self::End,
            "if" => Self::If,
            "nil" => Self::Nil,
            "range" => Self::Range,
            "template" => Self::Template,
            "with" => Self::With,
            _ => return None,
        })
    }

    /// Go prints these in angle brackets.
    pub(crate) fn is_keyword(self) -> bool {
        matches!(
            self,
            Self::Block
                | Self::Break
                | Self::Continue
                | Self::Define
                | Self::Dot
                | Self::Else
                | Self::End
                | Self::If
                | Self::Nil
                | Self::Range
                | Self::Template
                | Self::With
        )
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) pos: usize,
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// All tokens up to the end or the first error, which is the last token then.
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
    /// The line of `start`.
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

    /// Text and actions in turn.
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

    /// Whether the right delimiter is here, and whether it trims.
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

    fn inside(&mut self) -> Result<(), String> {
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

    /// A run of spaces; but the last of them may belong to a trimming delimiter.
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

    /// `.name` or `$name`; the mark is past. Alone it is `bare`.
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

    fn number(&mut self) -> Result<(), String> {
        let bad = |lexer: &Self| format!("bad number syntax: {}", crate::go::strconv::quote_text(lexer.pending()));
        if !self.scan_number() {
            return Err(bad(self));
        }
        if matches!(self.peek(), Some('+' | '-')) {
            if !self.scan_number() || !self.pending().ends_with('i') {
                return Err(bad(self));
            }
            self.emit(Kind::Complex);
        } else {
            self.emit(Kind::Number);
        }
        Ok(())
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        if digits.len() == 11 && self.accept("eE") || digits.len() == 23 && self.accept("pP") {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            return false;
        }
        true
    }
}

/// Go's `%#U`.
fn sharp_u(c: char) -> String {
    let code = format!("U+{:04X}", u32::from(c));
    if is_print(c) { format!("{code} '{c}'") } else { code }
}
