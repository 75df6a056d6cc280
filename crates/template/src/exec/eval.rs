//! Evaluates pipelines, commands and operands.

use super::{At, Run, State};
use crate::ast::{Command, Expr, ExprKind, Number, Pipe};
use crate::funcs::{self, Ty};
use crate::go::strconv::quote_text;
use crate::go::val::Val;

impl<'t> State<'t> {
    pub(super) fn pipeline(&mut self, dot: &Val, pipe: &'t Pipe) -> Run<Val> {
        self.at = At::Pipe(pipe);
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?);
        }
        let value = value.unwrap_or(Val::Nil);
        for name in &pipe.declared {
            if pipe.is_assign {
                self.set_variable(name, value.clone())?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    /// `last` is the result of the previous command, and becomes the last argument of this one.
    fn command(&mut self, dot: &Val, command: &'t Command, last: Option<Val>) -> Run<Val> {
        self.work()?;
        let first = &command.first;
        let args = command.rest.as_slice();
        match &first.kind {
            ExprKind::Field(names) => {
                self.at = At::Expr(first);
                self.fields(dot, At::Expr(first), dot.clone(), names, args, last)
            }
            ExprKind::Chain(expr, names) => self.chain(dot, first, expr, names, args, last),
            ExprKind::Identifier(name) => {
                self.at = At::Expr(first);
                self.function(dot, name, At::Command(command), args, last)
            }
            ExprKind::Pipe(pipe) => {
                self.not_a_function(first, args, last.as_ref())?;
                self.pipeline(dot, pipe)
            }
            ExprKind::Variable(names) => self.variable(dot, first, names, args, last),
            _ => {
                self.at = At::Expr(first);
                self.not_a_function(first, args, last.as_ref())?;
                match &first.kind {
                    ExprKind::Nil => self.error("nil is not a command"),
                    _ => self.constant(dot, first),
                }
            }
        }
    }

    fn not_a_function(&self, first: &Expr, args: &[Expr], last: Option<&Val>) -> Run<()> {
        if args.is_empty() && last.is_none() {
            return Ok(());
        }
        let shown = match &first.kind {
            ExprKind::Pipe(pipe) => format!("{pipe}"),
            _ => first.to_string(),
        };
        self.error(format!("can't give argument to non-function {shown}"))
    }

    /// Evaluates a literal where no type is expected, or `.`.
    pub(super) fn constant(&self, dot: &Val, expr: &Expr) -> Run<Val> {
        match &expr.kind {
            ExprKind::Bool(value) => Ok(Val::Bool(*value)),
            ExprKind::Dot => Ok(dot.clone()),
            ExprKind::String { text, .. } => Ok(Val::str(text.clone())),
            ExprKind::Number(number) => self.ideal(number),
            _ => self.error(format!("can't evaluate command {}", quote_text(&expr.to_string()))),
        }
    }

    fn ideal(&self, number: &Number) -> Run<Val> {
        let text = &number.text;
        let rune = text.starts_with('\'');
        let hex = text.len() > 2 && (text.starts_with("0x") || text.starts_with("0X")) && !text.contains(['p', 'P']);
        if let Some(float) = number.float
            && !hex
            && !rune
            && text.contains(['.', 'e', 'E', 'p', 'P'])
        {
            return Ok(Val::Float(float));
        }
        match number.int {
            Some(int) => Ok(Val::Int(int)),
            None => self.error(format!("{text} overflows int")),
        }
    }

    pub(super) fn variable(
        &mut self,
        dot: &Val,
        expr: &'t Expr,
        names: &'t [String],
        args: &'t [Expr],
        last: Option<Val>,
    ) -> Run<Val> {
        self.at = At::Expr(expr);
        let Some((name, fields)) = names.split_first() else {
            return Ok(Val::Nil);
        };
        let found = self.variables.iter().rev().find(|(known, _)| known == name);
        let Some(value) = found.map(|(_, value)| value.clone()) else {
            return self.error(format!("undefined variable: {name}"));
        };
        if fields.is_empty() {
            self.not_a_function(expr, args, last.as_ref())?;
            return Ok(value);
        }
        self.fields(dot, At::Expr(expr), value, fields, args, last)
    }

    pub(super) fn chain(
        &mut self,
        dot: &Val,
        whole: &'t Expr,
        inner: &'t Expr,
        names: &'t [String],
        args: &'t [Expr],
        last: Option<Val>,
    ) -> Run<Val> {
        self.at = At::Expr(whole);
        let value = self.argument(dot, Ty::Any, inner)?;
        self.fields(dot, At::Expr(whole), value, names, args, last)
    }

    /// Evaluates `.X.Y.Z`. The last name may be a method with arguments. `whole` is the position that the error of a
    /// method names.
    pub(super) fn fields(
        &mut self,
        dot: &Val,
        whole: At<'t>,
        receiver: Val,
        names: &'t [String],
        args: &'t [Expr],
        last: Option<Val>,
    ) -> Run<Val> {
        let Some((final_name, path)) = names.split_last() else {
            return Ok(receiver);
        };
        let mut receiver = receiver;
        for name in path {
            receiver = self.field(dot, whole, receiver, name, &[], None)?;
        }
        self.field(dot, whole, receiver, final_name, args, last)
    }

    fn field(
        &mut self,
        dot: &Val,
        whole: At<'t>,
        receiver: Val,
        name: &'t str,
        args: &'t [Expr],
        last: Option<Val>,
    ) -> Run<Val> {
        if matches!(receiver, Val::Nil) {
            return self.error(format!("nil data; no entry for key {}", quote_text(name)));
        }
        if let Some(method) = funcs::method(&receiver, name) {
            return self.invoke(dot, method, whole, Some(receiver), args, last);
        }
        let has_args = !args.is_empty() || last.is_some();
        match &receiver {
            Val::Map(map) => {
                if has_args {
                    return self.error(format!("{name} is not a method but has arguments"));
                }
                let found = map.items.borrow().get(name.as_bytes()).cloned();
                match found {
                    Some(value) => Ok(value),
                    None => self.error(format!("map has no entry for key {}", quote_text(name))),
                }
            }
            Val::Cert(cert) if matches!(name, "Cert" | "Key") => {
                if has_args {
                    return self.error(format!("{name} has arguments but cannot be invoked as function"));
                }
                Ok(Val::Str(if name == "Cert" {
                    cert.cert.clone()
                } else {
                    cert.key.clone()
                }))
            }
            Val::Version(_) | Val::NextVersion(_)
                if matches!(name, "major" | "minor" | "patch" | "pre" | "metadata" | "original") =>
            {
                let ty = receiver.type_name();
                self.error(format!("{name} is an unexported field of struct type {ty}"))
            }
            other => self.error(format!("can't evaluate field {name} in type {}", other.type_name())),
        }
    }
}
