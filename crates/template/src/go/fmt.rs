//! Go's `fmt`: `Sprint`, `Sprintln`, `Sprintf`.

mod directive;
mod number;
mod print;

pub(crate) use directive::sprintf;

use super::val::Val;
use crate::funcs::{Context, Fault};

/// `fmt.Sprint`: puts a space between two operands if neither is a string.
pub(crate) fn sprint(ctx: &mut Context, args: &[Val]) -> Result<Vec<u8>, Fault> {
    let mut printer = print::Printer::new(ctx);
    for (i, arg) in args.iter().enumerate() {
        if i > 0 && !matches!(arg, Val::Str(_)) && !matches!(args[i - 1], Val::Str(_)) {
            printer.out.push(b' ');
        }
        printer.arg(arg, 'v')?;
    }
    Ok(printer.out)
}

/// `fmt.Sprintln`.
pub(crate) fn sprintln(ctx: &mut Context, args: &[Val]) -> Result<Vec<u8>, Fault> {
    let mut printer = print::Printer::new(ctx);
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            printer.out.push(b' ');
        }
        printer.arg(arg, 'v')?;
    }
    printer.out.push(b'\n');
    Ok(printer.out)
}

/// Prints one value with `%v`.
pub(crate) fn value(ctx: &mut Context, arg: &Val) -> Result<Vec<u8>, Fault> {
    sprint(ctx, std::slice::from_ref(arg))
}
