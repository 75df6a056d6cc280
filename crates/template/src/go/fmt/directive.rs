//! Formats by a format string: `fmt.Sprintf`.

use super::print::{Flags, Printer};
use crate::funcs::{Context, Fault};
use crate::go::unicode::push;
use crate::go::val::Val;

/// The largest width and precision that Go accepts.
const MAX_WIDTH: usize = 1_000_000;

struct Directives<'f, 'a> {
    format: &'f [u8],
    at: usize,
    args: &'a [Val],
    arg: usize,
    reordered: bool,
    good_index: bool,
}

/// `fmt.Sprintf`.
pub(crate) fn sprintf(ctx: &mut Context, format: &[u8], args: &[Val]) -> Result<Vec<u8>, Fault> {
    let mut printer = Printer::new(ctx);
    let mut d = Directives {
        format,
        at: 0,
        args,
        arg: 0,
        reordered: false,
        good_index: true,
    };
    while d.at < format.len() {
        d.good_index = true;
        let rest = &format[d.at..];
        let text = rest.iter().position(|b| *b == b'%').unwrap_or(rest.len());
        printer.out.extend_from_slice(&rest[..text]);
        printer.check()?;
        d.at += text;
        if d.at >= format.len() {
            break;
        }
        d.at += 1;
        d.directive(&mut printer)?;
    }
    if !d.reordered && d.arg < args.len() {
        printer.flags = Flags::default();
        printer.out.extend_from_slice(b"%!(EXTRA ");
        for (i, arg) in args[d.arg..].iter().enumerate() {
            if i > 0 {
                printer.out.extend_from_slice(b", ");
            }
            if matches!(arg, Val::Nil) {
                printer.out.extend_from_slice(b"<nil>");
            } else {
                printer.out.extend_from_slice(arg.type_name().as_bytes());
                printer.out.push(b'=');
                printer.arg(arg, 'v')?;
            }
        }
        printer.out.push(b')');
    }
    Ok(printer.out)
}

impl Directives<'_, '_> {
    fn peek(&self) -> Option<u8> {
        self.format.get(self.at).copied()
    }

    fn directive(&mut self, p: &mut Printer<'_>) -> Result<(), Fault> {
        p.flags = Flags::default();
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => p.flags.sharp = true,
                b'0' => p.flags.zero = true,
                b'+' => p.flags.plus = true,
                b'-' => p.flags.minus = true,
                b' ' => p.flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        let mut after_index = self.index();
        if self.peek() == Some(b'*') {
            self.at += 1;
            match self.int_arg() {
                Some(width) => {
                    p.flags.width = Some(width.unsigned_abs() as usize);
                    if width < 0 {
                        p.flags.minus = true;
                        p.flags.zero = false;
                    }
                }
                None => p.out.extend_from_slice(b"%!(BADWIDTH)"),
            }
            after_index = false;
        } else {
            p.flags.width = self.number();
            if after_index && p.flags.width.is_some() {
                self.good_index = false;
            }
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if after_index {
                self.good_index = false;
            }
            after_index = self.index();
            if self.peek() == Some(b'*') {
                self.at += 1;
                match self.int_arg() {
                    Some(precision) if precision >= 0 => p.flags.precision = Some(precision as usize),
                    _ => p.out.extend_from_slice(b"%!(BADPREC)"),
                }
                after_index = false;
            } else {
                p.flags.precision = Some(self.number().unwrap_or(0));
            }
        }
        if !after_index {
            self.index();
        }
        let rest = self.format.get(self.at..).unwrap_or_default();
        let Some(rune) = crate::go::unicode::runes(rest).next() else {
            p.out.extend_from_slice(b"%!(NOVERB)");
            return Ok(());
        };
        self.at += rune.len();
        let verb = rune.char();
        if verb == '%' {
            p.out.push(b'%');
        } else if !self.good_index {
            bad(p, verb, "(BADINDEX)");
        } else if let Some(arg) = self.args.get(self.arg) {
            self.arg += 1;
            p.verb(arg, verb)?;
        } else {
            bad(p, verb, "(MISSING)");
        }
        Ok(())
    }

    /// Reads an argument index `[n]`. Returns whether there was one.
    fn index(&mut self) -> bool {
        if self.peek() != Some(b'[') {
            return false;
        }
        self.reordered = true;
        let rest = &self.format[self.at..];
        let Some(end) = rest.iter().position(|b| *b == b']') else {
            self.good_index = false;
            self.at += 1;
            return true;
        };
        let number = std::str::from_utf8(&rest[1..end])
            .ok()
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse::<usize>().ok())
            .and_then(|number| number.checked_sub(1))
            .filter(|index| *index < self.args.len());
        self.at += end + 1;
        match number {
            Some(index) => self.arg = index,
            None => self.good_index = false,
        }
        true
    }

    fn number(&mut self) -> Option<usize> {
        let start = self.at;
        let mut number = 0_usize;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number * 10 + usize::from(digit - b'0');
            if number > MAX_WIDTH {
                // Go stops at a number that is too large, and reads the rest as an unknown verb.
                return None;
            }
            self.at += 1;
        }
        (self.at > start).then_some(number)
    }

    fn int_arg(&mut self) -> Option<i64> {
        let arg = self.args.get(self.arg)?;
        self.arg += 1;
        let number = i64::try_from(arg.as_int()?).ok()?;
        (number.unsigned_abs() as usize <= MAX_WIDTH).then_some(number)
    }
}

fn bad(p: &mut Printer<'_>, verb: char, what: &str) {
    p.out.extend_from_slice(b"%!");
    push(&mut p.out, verb);
    p.out.extend_from_slice(what.as_bytes());
}
