//! Parses pipelines, commands and terms.

use super::{Parsed, Parser, number};
use crate::ast::{Command, Expr, ExprKind, Pipe};
use crate::go::strconv::{quote_text, unquote};
use crate::lex::Kind;

impl Parser<'_> {
    pub(super) fn pipeline(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        self.skip_space();
        let pos = self.peek_at(self.at).pos;
        let mut pipe = Pipe {
            pos,
            declared: Vec::new(),
            is_assign: false,
            commands: Vec::new(),
        };
        self.declarations(&mut pipe, context)?;
        loop {
            let start = self.at;
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => {
                    self.check_pipeline(&pipe, context)?;
                    return Ok(pipe);
                }
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.at = start;
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
    }

    /// Parses `$x :=`, `$x =`, and for `range` `$i, $x :=`.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Parsed<()> {
        while self.peek_non_space() == Kind::Variable {
            let start = self.at;
            let variable = self.next();
            self.skip_space();
            let next = self.peek_at(self.at).clone();
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    pipe.is_assign = next.kind == Kind::Assign;
                    self.next();
                    self.variables.push(variable.text.clone());
                    pipe.declared.push(variable.text);
                    break;
                }
                Kind::Char if next.text == "," => {
                    self.next();
                    self.variables.push(variable.text.clone());
                    pipe.declared.push(variable.text);
                    if context == "range" && pipe.declared.len() < 2 {
                        match self.peek_non_space() {
                            Kind::Variable | Kind::RightDelim | Kind::RightParen => continue,
                            _ => return self.error("range can only initialize variables"),
                        }
                    }
                    return self.error(format!("too many declarations in {context}"));
                }
                _ => {
                    self.at = start;
                    break;
                }
            }
        }
        Ok(())
    }

    fn check_pipeline(&self, pipe: &Pipe, context: &str) -> Parsed<()> {
        if pipe.commands.is_empty() {
            return self.error(format!("missing value for {context}"));
        }
        for (i, command) in pipe.commands.iter().enumerate().skip(1) {
            if matches!(
                command.first.kind,
                ExprKind::Bool(_) | ExprKind::Dot | ExprKind::Nil | ExprKind::Number(_) | ExprKind::String { .. }
            ) {
                return self.error(format!("non executable command in pipeline stage {}", i + 1));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Command> {
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            let start = self.at;
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.at = start,
                Kind::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        if operands.is_empty() {
            return self.error("empty command");
        }
        let first = operands.remove(0);
        Ok(Command { first, rest: operands })
    }

    fn operand(&mut self) -> Parsed<Option<Expr>> {
        let Some(mut term) = self.term()? else {
            return Ok(None);
        };
        if self.peek() != Kind::Field {
            return Ok(Some(term));
        }
        let pos = self.peek_at(self.at).pos;
        let mut names = Vec::new();
        while self.peek() == Kind::Field {
            names.push(self.next().text[1..].to_owned());
        }
        match &mut term.kind {
            ExprKind::Field(fields) | ExprKind::Variable(fields) => {
                fields.append(&mut names);
                term.pos = pos;
            }
            ExprKind::Bool(_) | ExprKind::String { .. } | ExprKind::Number(_) | ExprKind::Nil | ExprKind::Dot => {
                return self.error(format!("unexpected . after term {}", quote_text(&term.to_string())));
            }
            _ => {
                term = Expr {
                    pos,
                    kind: ExprKind::Chain(Box::new(term), names),
                };
            }
        }
        Ok(Some(term))
    }

    fn term(&mut self) -> Parsed<Option<Expr>> {
        self.skip_space();
        let start = self.at;
        let token = self.next();
        let pos = token.pos;
        let kind = match token.kind {
            Kind::Identifier => {
                if !crate::funcs::is_function(&token.text) {
                    return self.error(format!("function {} not defined", quote_text(&token.text)));
                }
                ExprKind::Identifier(token.text)
            }
            Kind::Dot => ExprKind::Dot,
            Kind::Nil => ExprKind::Nil,
            Kind::Variable => {
                if !self.variables.contains(&token.text) {
                    return self.error(format!("undefined variable {}", quote_text(&token.text)));
                }
                ExprKind::Variable(vec![token.text])
            }
            Kind::Field => ExprKind::Field(vec![token.text[1..].to_owned()]),
            Kind::Bool => ExprKind::Bool(token.text == "true"),
            Kind::CharConstant | Kind::Complex | Kind::Number => match number::parse(&token.text, token.kind) {
                Ok(number) => ExprKind::Number(number),
                Err(message) => return self.error(message),
            },
            Kind::LeftParen => {
                ExprKind::Pipe(self.nested(|parser| parser.pipeline("parenthesized pipeline", Kind::RightParen))?)
            }
            Kind::String | Kind::RawString => match unquote(&token.text) {
                Some(text) => ExprKind::String {
                    quoted: token.text,
                    text,
                },
                None => return self.error("invalid syntax"),
            },
            _ => {
                self.at = start;
                return Ok(None);
            }
        };
        // As in Go, the position of a parenthesised pipeline is that of its content.
        let pos = match &kind {
            ExprKind::Pipe(pipe) => pipe.pos,
            _ => pos,
        };
        Ok(Some(Expr { pos, kind }))
    }
}
