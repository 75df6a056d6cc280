//! Pipelines, commands and their operands.

use super::{At, Run, State};
use crate::ast::{Command, Expr, ExprKind, Number, Pipe};
use crate::funcs::{self, Fault, Func, Ty};
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

    /// `last` is what the command before gave, and the last argument of this one.
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

    /// A literal whose type nothing asks for, or `.`.
    fn constant(&self, dot: &Val, expr: &Expr) -> Run<Val> {
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

    fn variable(
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

    fn chain(
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

    /// `.X.Y.Z`, the last of which may be a method with arguments. `whole` is where a method's own fault is.
    fn fields(
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

    fn function(&mut self, dot: &Val, name: &'t str, call: At<'t>, args: &'t [Expr], last: Option<Val>) -> Run<Val> {
        let Some(func) = funcs::find(name) else {
            return self.error(format!("{} is not a defined function", quote_text(name)));
        };
        self.invoke(dot, func, call, None, args, last)
    }

    fn invoke(
        &mut self,
        dot: &Val,
        func: &'static Func,
        call: At<'t>,
        receiver: Option<Val>,
        args: &'t [Expr],
        last: Option<Val>,
    ) -> Run<Val> {
        let name = func.name;
        let fixed = func.params.len();
        let given = args.len() + usize::from(last.is_some());
        match func.variadic {
            Some(_) if given < fixed => {
                return self.error(format!(
                    "wrong number of args for {name}: want at least {fixed} got {}",
                    args.len()
                ));
            }
            None if given != fixed => {
                return self.error(format!("wrong number of args for {name}: want {fixed} got {given}"));
            }
            _ => {}
        }
        if matches!(name, "and" | "or") {
            return self.short_circuit(dot, name == "or", args, last);
        }
        let mut values: Vec<Val> = Vec::with_capacity(given + 1);
        values.extend(receiver);
        let ty = |i: usize| func.params.get(i).copied().or(func.variadic).unwrap_or(Ty::Any);
        for (i, arg) in args.iter().enumerate() {
            values.push(self.argument(dot, ty(i), arg)?);
        }
        if let Some(last) = last {
            values.push(self.validate(last, ty(args.len()))?);
        }
        // Nearly every function reads its texts to the end.
        let read = values.iter().map(|value| match value {
            Val::Str(text) => text.len() / 64,
            _ => 0,
        });
        self.charge(1 + read.sum::<usize>())?;
        let ran = (func.run)(self.ctx, &values);
        self.ctx.ran();
        match ran {
            Ok(value) => Ok(value),
            // Go finds this out before it calls.
            Err(fault @ Fault::Uncallable(_)) => Err(self.fault(name, &fault)),
            Err(fault) => {
                self.at = call;
                // What a template says on purpose is shown if it stands in the template; what it puts together may be
                // made of secrets.
                if name == "fail" {
                    let said = match args.first().map(|arg| &arg.kind) {
                        Some(ExprKind::String { text, .. }) => String::from_utf8_lossy(text).into_owned(),
                        _ => "(a message that is not a literal is not shown)".to_owned(),
                    };
                    return self.error(format!("error calling fail: {said}"));
                }
                Err(self.fault(name, &fault))
            }
        }
    }

    fn short_circuit(&mut self, dot: &Val, until: bool, args: &'t [Expr], last: Option<Val>) -> Run<Val> {
        let mut value = Val::Nil;
        for arg in args {
            value = self.argument(dot, Ty::Reflect, arg)?;
            if value.truth() == until {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    fn argument(&mut self, dot: &Val, ty: Ty, expr: &'t Expr) -> Run<Val> {
        self.work()?;
        self.at = At::Expr(expr);
        let value = match &expr.kind {
            ExprKind::Dot => dot.clone(),
            ExprKind::Nil => match ty.nil() {
                Some(nil) => return Ok(nil),
                None => return self.error(format!("cannot assign nil to {}", ty.name())),
            },
            ExprKind::Field(names) => self.fields(dot, At::Expr(expr), dot.clone(), names, &[], None)?,
            ExprKind::Variable(names) => self.variable(dot, expr, names, &[], None)?,
            ExprKind::Pipe(pipe) => self.pipeline(dot, pipe)?,
            ExprKind::Identifier(name) => self.function(dot, name, At::Expr(expr), &[], None)?,
            ExprKind::Chain(inner, names) => self.chain(dot, expr, inner, names, &[], None)?,
            ExprKind::Bool(_) | ExprKind::Number(_) | ExprKind::String { .. } => return self.literal(ty, expr),
        };
        self.validate(value, ty)
    }

    /// A literal as an argument of type `ty`.
    fn literal(&self, ty: Ty, expr: &Expr) -> Run<Val> {
        let expected = |what: &str| self.error(format!("expected {what}; found {expr}"));
        match (ty, &expr.kind) {
            (Ty::Any | Ty::Reflect, _) => self.constant(&Val::Nil, expr),
            (Ty::Str | Ty::HashAlgorithm, ExprKind::String { text, .. }) => Ok(Val::str(text.clone())),
            (Ty::Str | Ty::HashAlgorithm, _) => expected("string"),
            (Ty::Bool, ExprKind::Bool(value)) => Ok(Val::Bool(*value)),
            (Ty::Bool, _) => expected("bool"),
            (Ty::Int | Ty::Uint32, ExprKind::Number(number)) => match (ty, number.int, number.uint) {
                (Ty::Int, Some(int), _) => Ok(Val::Int(int)),
                (Ty::Uint32, _, Some(uint)) => Ok(Val::Uint64(uint & 0xffff_ffff)),
                _ => expected(if ty == Ty::Int { "integer" } else { "unsigned integer" }),
            },
            (Ty::Duration, ExprKind::Number(Number { int: Some(int), .. })) => Ok(Val::Duration(*int)),
            (Ty::Int | Ty::Duration, _) => expected("integer"),
            (Ty::Uint32, _) => expected("unsigned integer"),
            (Ty::Float, ExprKind::Number(number)) if number.float.is_some() => {
                Ok(Val::Float(number.float.unwrap_or_default()))
            }
            (Ty::Float, _) => expected("float"),
            (Ty::Map | Ty::List | Ty::Bytes | Ty::Time | Ty::Location | Ty::Version | Ty::Cert, _) => {
                self.error(format!("can't handle {expr} for arg of type {}", ty.name()))
            }
        }
    }

    fn validate(&self, value: Val, ty: Ty) -> Run<Val> {
        if matches!(value, Val::Nil) {
            return match ty.nil() {
                Some(nil) => Ok(nil),
                None => self.error(format!("invalid value; expected {}", ty.name())),
            };
        }
        if ty.accepts(&value) {
            return Ok(value);
        }
        self.error(format!(
            "wrong type for value; expected {}; got {}",
            ty.name(),
            value.type_name()
        ))
    }
}
