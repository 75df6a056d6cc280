//! The position in the tokens, and errors with this position.

use super::{Parsed, Parser};
use crate::TemplateError;
use crate::go::strconv::quote_text;
use crate::lex::{Kind, Token};
use crate::limits::MAX_NESTING;

impl Parser<'_> {
    pub(super) fn peek_at(&mut self, index: usize) -> &Token {
        let index = index.min(self.tokens.len() - 1);
        self.furthest = self.furthest.max(index);
        &self.tokens[index]
    }

    pub(super) fn peek(&mut self) -> Kind {
        self.peek_at(self.at).kind
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.peek_at(self.at).clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    pub(super) fn next_non_space(&mut self) -> Token {
        self.skip_space();
        self.next()
    }

    pub(super) fn peek_non_space(&mut self) -> Kind {
        self.skip_space();
        self.peek()
    }

    pub(super) fn skip_space(&mut self) {
        while self.peek() == Kind::Space {
            self.at += 1;
        }
    }

    pub(super) fn error<T>(&self, message: impl std::fmt::Display) -> Parsed<T> {
        let line = self.tokens.get(self.furthest).map_or(1, |token| token.line);
        Err(TemplateError::Parse(format!(
            "template: {}:{line}: {message}",
            self.name
        )))
    }

    pub(super) fn limit<T>(&self, message: &str) -> Parsed<T> {
        let line = self.tokens.get(self.furthest).map_or(1, |token| token.line);
        Err(TemplateError::Limit(format!(
            "template: {}:{line}: {message}",
            self.name
        )))
    }

    pub(super) fn unexpected<T>(&self, token: &Token, context: &str) -> Parsed<T> {
        if token.kind == Kind::Error {
            let mut extra = String::new();
            if self.action_line != 0 && self.action_line != token.line {
                let within = if token.text.ends_with(" action") {
                    ""
                } else {
                    " in action"
                };
                extra = format!("{within} started at {}:{}", self.name, self.action_line);
            }
            return self.error(format!("{}{extra}", token.text));
        }
        self.error(format!("unexpected {} in {context}", show(token)))
    }

    pub(super) fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Token> {
        let token = self.next_non_space();
        if token.kind == kind {
            Ok(token)
        } else {
            self.unexpected(&token, context)
        }
    }

    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting >= MAX_NESTING {
            return self.limit(&format!(
                "more than {MAX_NESTING} blocks and parentheses inside one another"
            ));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }
}

/// Formats a token as Go does in errors.
fn show(token: &Token) -> String {
    match token.kind {
        Kind::Eof => "EOF".to_owned(),
        Kind::Error => token.text.clone(),
        kind if kind.is_keyword() => format!("<{}>", token.text),
        _ if token.text.len() > 10 => {
            let short: String = token.text.chars().take(10).collect();
            format!("{}...", quote_text(&short))
        }
        _ => quote_text(&token.text),
    }
}
