//! Evaluates arguments, and calls functions and methods with them.

use super::{At, Run, State};
use crate::ast::{Expr, ExprKind, Number};
use crate::funcs::{self, Fault, Func, Ty};
use crate::go::strconv::quote_text;
use crate::go::val::Val;

impl<'t> State<'t> {
    pub(super) fn function(
        &mut self,
        dot: &Val,
        name: &'t str,
        call: At<'t>,
        args: &'t [Expr],
        last: Option<Val>,
    ) -> Run<Val> {
        let Some(func) = funcs::find(name) else {
            return self.error(format!("{} is not a defined function", quote_text(name)));
        };
        self.invoke(dot, func, call, None, args, last)
    }

    pub(super) fn invoke(
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
        // Nearly every function reads its string arguments to the end.
        let read = values.iter().map(|value| match value {
            Val::Str(text) => text.len() / 64,
            _ => 0,
        });
        self.charge(1 + read.sum::<usize>())?;
        let ran = (func.run)(self.ctx, &values);
        self.ctx.ran();
        match ran {
            Ok(value) => Ok(value),
            // Go reports this fault before the call.
            Err(fault @ Fault::Uncallable(_)) => Err(self.fault(name, &fault)),
            Err(fault) => {
                self.at = call;
                // A message that is a literal of the template is shown. A computed message may contain values.
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

    pub(super) fn argument(&mut self, dot: &Val, ty: Ty, expr: &'t Expr) -> Run<Val> {
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

    /// Converts a literal to the parameter type `ty`.
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
