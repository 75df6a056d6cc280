//! The parser of filters. Its time is linear in the filter's length: it looks at each quote once or twice, and nesting is bounded.

use super::{Attribute, Expression, InvalidFilter, Operator, Subject, Value};
use crate::limits;

pub(super) fn parse(text: &str, subject: Subject) -> Result<Expression, InvalidFilter> {
    if text.len() > limits::FILTER_BYTES {
        return Err(invalid(format!("longer than {} bytes", limits::FILTER_BYTES)));
    }
    if text.trim().is_empty() {
        return Ok(Expression::All);
    }
    let mut parser = Parser {
        rest: text,
        length: text.len(),
        subject,
        open: 0,
        depth: 0,
    };
    let expression = parser.or()?;
    parser.skip_blanks();
    if parser.rest.is_empty() {
        Ok(expression)
    } else {
        Err(parser.error("expected and, or, or the end"))
    }
}

fn invalid(reason: String) -> InvalidFilter {
    InvalidFilter { reason }
}

struct Parser<'a> {
    rest: &'a str,
    length: usize,
    subject: Subject,
    /// How many parentheses are open.
    open: usize,
    /// How many parentheses and `not`s are around the present position.
    depth: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, reason: &str) -> InvalidFilter {
        invalid(format!("{reason} at byte {}", self.length - self.rest.len() + 1))
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Consumes this word, in any case, if it comes next.
    fn keyword(&mut self, word: &str) -> bool {
        self.skip_blanks();
        let (next, rest) = split_word(self.rest);
        let found = next.eq_ignore_ascii_case(word);
        if found {
            self.rest = rest;
        }
        found
    }

    /// Consumes this character if it comes next.
    fn symbol(&mut self, symbol: char) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn or(&mut self) -> Result<Expression, InvalidFilter> {
        let mut parts = vec![self.and()?];
        while self.keyword("or") {
            parts.push(self.and()?);
        }
        Ok(joined(parts, Expression::Or))
    }

    fn and(&mut self) -> Result<Expression, InvalidFilter> {
        let mut parts = vec![self.unary()?];
        while self.keyword("and") {
            parts.push(self.unary()?);
        }
        Ok(joined(parts, Expression::And))
    }

    fn unary(&mut self) -> Result<Expression, InvalidFilter> {
        if self.symbol('(') {
            self.open += 1;
            let inner = self.nested(Self::or)?;
            if !self.symbol(')') {
                return Err(self.error("expected )"));
            }
            self.open -= 1;
            return Ok(inner);
        }
        if self.keyword("not") {
            return Ok(Expression::Not(Box::new(self.nested(Self::unary)?)));
        }
        self.comparison()
    }

    fn nested(
        &mut self,
        parse: impl Fn(&mut Self) -> Result<Expression, InvalidFilter>,
    ) -> Result<Expression, InvalidFilter> {
        self.depth += 1;
        if self.depth > limits::FILTER_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        let inner = parse(self)?;
        self.depth -= 1;
        Ok(inner)
    }

    fn comparison(&mut self) -> Result<Expression, InvalidFilter> {
        self.skip_blanks();
        let (word, rest) = split_word(self.rest);
        if word.is_empty() {
            return Err(self.error("expected an attribute"));
        }
        let attribute = attribute(word, self.subject).ok_or_else(|| match self.subject {
            Subject::Vaults => self.error("vaults are filtered by name, title or id; unknown attribute"),
            Subject::Items => {
                self.error("items are filtered by title, name, id, tag, category, favorite or state; unknown attribute")
            }
        })?;
        self.rest = rest;
        if self.keyword("pr") {
            return Ok(Expression::Present(attribute));
        }
        self.skip_blanks();
        let (word, rest) = split_word(self.rest);
        let operator = operator(word).ok_or_else(|| self.error("expected eq, ne, co, sw, ew or pr"))?;
        self.rest = rest;
        Ok(Expression::Compare(attribute, operator, self.value()?))
    }

    fn value(&mut self) -> Result<Value, InvalidFilter> {
        for word in ["true", "false"] {
            if self.keyword(word) {
                return Ok(Value::new(word.to_owned(), None));
            }
        }
        if !self.symbol('"') {
            return Err(self.error("expected a value in double quotes"));
        }
        let text = self.rest;
        let end = closing_quote(text, self.open).ok_or_else(|| self.error("no closing quote for the value"))?;
        self.rest = &text[end + 1..];
        let written = &text[..end];
        Ok(Value::new(written.to_owned(), unescape(written)))
    }
}

fn joined(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _ => join(parts),
    }
}

/// The letters and digits at the start, and the rest.
fn split_word(text: &str) -> (&str, &str) {
    let end = text
        .find(|character: char| !character.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn attribute(word: &str, subject: Subject) -> Option<Attribute> {
    let is = |name: &str| word.eq_ignore_ascii_case(name);
    match subject {
        _ if is("title") || is("name") => Some(Attribute::Title),
        _ if is("id") => Some(Attribute::Id),
        Subject::Vaults => None,
        Subject::Items if is("tag") || is("tags") => Some(Attribute::Tag),
        Subject::Items if is("category") => Some(Attribute::Category),
        Subject::Items if is("favorite") => Some(Attribute::Favorite),
        Subject::Items if is("state") => Some(Attribute::State),
        Subject::Items => None,
    }
}

fn operator(word: &str) -> Option<Operator> {
    let operators = [
        ("eq", Operator::Equal),
        ("ne", Operator::NotEqual),
        ("co", Operator::Contains),
        ("sw", Operator::StartsWith),
        ("ew", Operator::EndsWith),
    ];
    operators
        .into_iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name))
        .map(|(_, operator)| operator)
}

/// The position of the quote that ends the value: the first quote that is not escaped and after which the rest is a filter. If there
/// is none, the last quote, if the rest after it is a filter: then the backslash before it is part of the title.
fn closing_quote(text: &str, open: usize) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !escaped && continues(&text[at + 1..], open) => return Some(at),
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    let last = text.rfind('"')?;
    continues(&text[last + 1..], open).then_some(last)
}

/// Whether `rest` may follow a value: after at most `open` closing parentheses comes the end, or `and` or `or` and the start of a
/// comparison. This looks no further, so that the ends of all values are found in linear time.
fn continues(rest: &str, open: usize) -> bool {
    let unclosed = rest.trim_start_matches(|character: char| character.is_whitespace() || character == ')');
    let closing = &rest[..rest.len() - unclosed.len()];
    let closed = closing.matches(')').count();
    if closed > open {
        return false;
    }
    if unclosed.is_empty() {
        return closed == open;
    }
    let (joint, rest) = split_word(unclosed);
    if !(joint.eq_ignore_ascii_case("and") || joint.eq_ignore_ascii_case("or")) || closing.is_empty() {
        return false;
    }
    starts_comparison(rest)
}

/// Whether `rest` begins with any parentheses and `not`s, then a word, then an operator.
fn starts_comparison(mut rest: &str) -> bool {
    loop {
        rest = rest.trim_start_matches(|character: char| character.is_whitespace() || character == '(');
        match split_word(rest) {
            (word, after) if word.eq_ignore_ascii_case("not") => rest = after,
            (word, after) => {
                let (operator_word, _) = split_word(after.trim_start());
                let known = operator(operator_word).is_some() || operator_word.eq_ignore_ascii_case("pr");
                return !word.is_empty() && known;
            }
        }
    }
}

/// The value with `"` for `\"` and `\` for `\\`. `None` if it has neither.
fn unescape(written: &str) -> Option<String> {
    if !written.contains("\\\"") && !written.contains("\\\\") {
        return None;
    }
    let mut text = String::with_capacity(written.len());
    let mut characters = written.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some(next @ ('"' | '\\'))) => {
                text.push(*next);
                characters.next();
            }
            _ => text.push(character),
        }
    }
    Some(text)
}
