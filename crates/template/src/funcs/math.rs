//! sprig's functions for numbers.

use super::{Context, Fault, Func, Ran, Ty, any, f, int, utf8, v};
use crate::go::fmt;
use crate::go::strconv::{parse_float, parse_int};
use crate::go::val::Val;

pub(super) const TABLE: &[Func] = &[
    f("atoi", &[Ty::Str], |_, args| {
        Ok(Val::Int(parse_int(&utf8(args, 0), 10).unwrap_or(0)))
    }),
    f("int64", &[Ty::Any], |_, args| Ok(Val::Int64(to_int(&any(args, 0))))),
    f("int", &[Ty::Any], |_, args| Ok(Val::Int(to_int(&any(args, 0))))),
    f("float64", &[Ty::Any], |_, args| Ok(Val::Float(to_float(&any(args, 0))))),
    f("toDecimal", &[Ty::Any], to_decimal),
    f("add1", &[Ty::Any], |_, args| {
        Ok(Val::Int64(to_int(&any(args, 0)).wrapping_add(1)))
    }),
    v("add", &[], Ty::Any, |_, args| {
        Ok(Val::Int64(
            args.iter().fold(0_i64, |sum, arg| sum.wrapping_add(to_int(arg))),
        ))
    }),
    f("sub", &[Ty::Any, Ty::Any], |_, args| {
        Ok(Val::Int64(to_int(&any(args, 0)).wrapping_sub(to_int(&any(args, 1)))))
    }),
    f("div", &[Ty::Any, Ty::Any], |_, args| divide(args, i64::wrapping_div)),
    f("mod", &[Ty::Any, Ty::Any], |_, args| divide(args, i64::wrapping_rem)),
    v("mul", &[Ty::Any], Ty::Any, |_, args| {
        Ok(Val::Int64(
            args.iter()
                .fold(1_i64, |product, arg| product.wrapping_mul(to_int(arg))),
        ))
    }),
    f("add1f", &[Ty::Any], |_, args| {
        decimal(&any(args, 0), &[Val::Int(1)], Operation::Add)
    }),
    v("addf", &[], Ty::Any, |_, args| {
        decimal(&Val::Float(0.0), args, Operation::Add)
    }),
    v("subf", &[Ty::Any], Ty::Any, |_, args| {
        decimal(&any(args, 0), &args[1..], Operation::Sub)
    }),
    v("divf", &[Ty::Any], Ty::Any, |_, args| {
        decimal(&any(args, 0), &args[1..], Operation::Div)
    }),
    v("mulf", &[Ty::Any], Ty::Any, |_, args| {
        decimal(&any(args, 0), &args[1..], Operation::Mul)
    }),
    v("biggest", &[Ty::Any], Ty::Any, max),
    v("max", &[Ty::Any], Ty::Any, max),
    v("min", &[Ty::Any], Ty::Any, |_, args| {
        Ok(Val::Int64(args.iter().map(to_int).min().unwrap_or(0)))
    }),
    v("maxf", &[Ty::Any], Ty::Any, |_, args| {
        Ok(Val::Float(fold_float(args, |a, b| if b > a { b } else { a })))
    }),
    v("minf", &[Ty::Any], Ty::Any, |_, args| {
        Ok(Val::Float(fold_float(args, |a, b| if b < a { b } else { a })))
    }),
    f("ceil", &[Ty::Any], |_, args| {
        Ok(Val::Float(to_float(&any(args, 0)).ceil()))
    }),
    f("floor", &[Ty::Any], |_, args| {
        Ok(Val::Float(to_float(&any(args, 0)).floor()))
    }),
    v("round", &[Ty::Any, Ty::Int], Ty::Float, round),
];

fn max(_: &mut Context, args: &[Val]) -> Ran {
    Ok(Val::Int64(args.iter().map(to_int).max().unwrap_or(0)))
}

fn fold_float(args: &[Val], choose: fn(f64, f64) -> f64) -> f64 {
    let mut numbers = args.iter().map(to_float);
    let first = numbers.next().unwrap_or_default();
    numbers.fold(first, |a, b| {
        if a.is_nan() || b.is_nan() {
            f64::NAN
        } else {
            choose(a, b)
        }
    })
}

/// `cast.ToInt64`: a value that is not a number is 0.
pub(super) fn to_int(value: &Val) -> i64 {
    match value {
        Val::Float(value) => float_to_int(*value),
        Val::Bool(value) => i64::from(*value),
        Val::Str(text) => {
            let text = String::from_utf8_lossy(text);
            parse_int(without_decimals(&text), 0).unwrap_or(0)
        }
        other => other.as_int().map_or(0, |value| value as i64),
    }
}

/// Converts as amd64 does: a float out of range becomes the lowest number.
fn float_to_int(value: f64) -> i64 {
    if value.is_finite() && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) {
        value as i64
    } else {
        i64::MIN
    }
}

/// `cast` v1.10 cuts `5.5` to `5` and `.5` to `0`.
fn without_decimals(text: &str) -> &str {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, decimals)) if digits(decimals) && digits(whole.strip_prefix(['+', '-']).unwrap_or(whole)) => {
            if matches!(whole, "" | "+" | "-") { "0" } else { whole }
        }
        _ => text,
    }
}

pub(super) fn to_float(value: &Val) -> f64 {
    match value {
        Val::Float(value) => *value,
        Val::Str(text) => parse_float(&String::from_utf8_lossy(text)).unwrap_or(0.0),
        Val::Bool(value) => f64::from(u8::from(*value)),
        other => other.as_int().map_or(0.0, |value| value as f64),
    }
}

fn divide(args: &[Val], operation: fn(i64, i64) -> i64) -> Ran {
    match to_int(&any(args, 1)) {
        0 => Err("runtime error: integer divide by zero".into()),
        divisor => Ok(Val::Int64(operation(to_int(&any(args, 0)), divisor))),
    }
}

fn to_decimal(ctx: &mut Context, args: &[Val]) -> Ran {
    let text = fmt::sprint(ctx, &[any(args, 0)])?;
    Ok(Val::Int64(parse_int(&String::from_utf8_lossy(&text), 8).unwrap_or(0)))
}

fn round(_: &mut Context, args: &[Val]) -> Ran {
    let on = match args.get(2) {
        Some(Val::Float(on)) => *on,
        _ => 0.5,
    };
    let scale = 10_f64.powf(int(args, 1) as f64);
    let digit = scale * to_float(&any(args, 0));
    let rounded = if digit.fract() >= on {
        digit.ceil()
    } else {
        digit.floor()
    };
    Ok(Val::Float(rounded / scale))
}

#[derive(Clone, Copy)]
enum Operation {
    Add,
    Sub,
    Mul,
    Div,
}

/// sprig computes floats in decimal, so that 0.1 + 0.2 is 0.3. A float is converted to the shortest decimal that
/// identifies it.
fn decimal(first: &Val, others: &[Val], operation: Operation) -> Ran {
    let mut total = Decimal::from_float(to_float(first))?;
    for other in others {
        let other = Decimal::from_float(to_float(other))?;
        total = match operation {
            Operation::Add => total.add(other, 1),
            Operation::Sub => total.add(other, -1),
            Operation::Mul => total.mul(other),
            Operation::Div => total.div(other)?,
        }
        .ok_or(Fault::Limit("a decimal number is too long"))?;
    }
    Ok(Val::Float(total.to_float()))
}

/// A decimal number: `digits * 10^exponent`.
#[derive(Clone, Copy)]
struct Decimal {
    digits: i128,
    exponent: i32,
}

impl Decimal {
    fn from_float(value: f64) -> Result<Self, Fault> {
        if !value.is_finite() {
            return Err("Cannot create a Decimal from NaN or infinity".into());
        }
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let decimals = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let digits = mantissa.replace('.', "").parse().unwrap_or(0);
        let exponent: i32 = exponent.parse().unwrap_or(0);
        Ok(Self {
            digits,
            exponent: exponent - decimals as i32,
        })
    }

    fn to_float(self) -> f64 {
        format!("{}e{}", self.digits, self.exponent).parse().unwrap_or(0.0)
    }

    fn aligned(self, exponent: i32) -> Option<i128> {
        let shift = u32::try_from(self.exponent - exponent).ok()?;
        self.digits.checked_mul(10_i128.checked_pow(shift)?)
    }

    /// `None` if the result needs more than 38 digits.
    fn add(self, other: Self, sign: i128) -> Option<Self> {
        if self.digits == 0 {
            return Some(Self {
                digits: other.digits.checked_mul(sign)?,
                exponent: other.exponent,
            });
        }
        if other.digits == 0 {
            return Some(self);
        }
        let exponent = self.exponent.min(other.exponent);
        let digits = self
            .aligned(exponent)?
            .checked_add(other.aligned(exponent)?.checked_mul(sign)?)?;
        Some(Self { digits, exponent })
    }

    fn mul(self, other: Self) -> Option<Self> {
        Some(Self {
            digits: self.digits.checked_mul(other.digits)?,
            exponent: self.exponent.checked_add(other.exponent)?,
        })
    }

    /// Rounds to 16 decimals, halves away from zero.
    fn div(self, other: Self) -> Result<Option<Self>, Fault> {
        if other.digits == 0 {
            return Err("decimal division by 0".into());
        }
        Ok(self.div_rounded(other))
    }

    fn div_rounded(self, other: Self) -> Option<Self> {
        let shift = self.exponent.checked_sub(other.exponent)?.checked_add(16)?;
        let (mut numerator, mut denominator) = (self.digits, other.digits);
        if shift >= 0 {
            numerator = numerator.checked_mul(10_i128.checked_pow(shift.unsigned_abs())?)?;
        } else {
            match 10_i128
                .checked_pow(shift.unsigned_abs())
                .and_then(|scale| denominator.checked_mul(scale))
            {
                Some(scaled) => denominator = scaled,
                None => {
                    return Some(Self {
                        digits: 0,
                        exponent: -16,
                    });
                }
            }
        }
        let quotient = numerator / denominator;
        let rest = numerator % denominator;
        let up = rest.checked_mul(2)?.unsigned_abs() >= denominator.unsigned_abs();
        let sign = if (numerator < 0) == (denominator < 0) { 1 } else { -1 };
        Some(Self {
            digits: if up { quotient + sign } else { quotient },
            exponent: -16,
        })
    }
}
