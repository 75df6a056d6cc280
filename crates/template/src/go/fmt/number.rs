//! Formats numbers.

use super::print::{Done, Printer};
use crate::go::float;
use crate::go::strconv::quote_rune;
use crate::go::unicode::{Rune, is_print, push};
use crate::go::val::{Basic, Val};
use crate::limits::MAX_OUTPUT;

impl Printer<'_> {
    pub(super) fn integer(&mut self, arg: &Val, verb: char) -> Done {
        let Some(value) = arg.as_int() else { return Ok(()) };
        let unsigned = arg.basic() == Basic::Uint;
        match verb {
            'v' if self.flags.sharp_v && unsigned => {
                self.flags.sharp = true;
                self.digits(value, 16, false, 'v');
                self.flags.sharp = false;
            }
            'v' | 'd' => self.digits(value, 10, false, verb),
            'b' => self.digits(value, 2, false, verb),
            'o' | 'O' => self.digits(value, 8, false, verb),
            'x' => self.digits(value, 16, false, verb),
            'X' => self.digits(value, 16, true, verb),
            'c' => {
                let mut text = Vec::new();
                push(&mut text, rune_of(value));
                self.pad(&text);
            }
            'q' => {
                let mut text = vec![b'\''];
                quote_rune(&mut text, Rune::Char(rune_of(value)), b'\'', self.flags.plus);
                text.push(b'\'');
                self.pad(&text);
            }
            'U' => self.unicode(value),
            _ => return self.bad_verb(arg, verb),
        }
        self.check()
    }

    fn unicode(&mut self, value: i128) {
        let digits = self.flags.precision.unwrap_or(4).clamp(4, 64);
        let code = value as u64;
        let mut text = format!("U+{code:0digits$X}");
        if self.flags.sharp
            && let Some(c) = u32::try_from(value).ok().and_then(char::from_u32)
            && is_print(c)
        {
            text.push_str(&format!(" '{c}'"));
        }
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(text.as_bytes());
        self.flags.zero = zero;
    }

    fn digits(&mut self, value: i128, base: u32, upper: bool, verb: char) {
        let negative = value < 0;
        let magnitude = value.unsigned_abs();
        let mut digits = match (base, upper) {
            (2, _) => format!("{magnitude:b}"),
            (8, _) => format!("{magnitude:o}"),
            (16, false) => format!("{magnitude:x}"),
            (16, true) => format!("{magnitude:X}"),
            _ => magnitude.to_string(),
        };
        let flags = self.flags;
        let mut least = 0;
        if let Some(precision) = flags.precision {
            if precision == 0 && value == 0 {
                let zero = std::mem::take(&mut self.flags.zero);
                self.pad(b"");
                self.flags.zero = zero;
                return;
            }
            least = precision;
        } else if flags.zero && !flags.minus {
            least = flags.width.unwrap_or(0);
            if negative || flags.plus || flags.space {
                least = least.saturating_sub(1);
            }
        }
        let least = least.min(MAX_OUTPUT);
        if digits.len() < least {
            digits.insert_str(0, &"0".repeat(least - digits.len()));
        }
        if flags.sharp {
            match base {
                2 => digits.insert_str(0, "0b"),
                8 if !digits.starts_with('0') => digits.insert(0, '0'),
                16 => digits.insert_str(0, if upper { "0X" } else { "0x" }),
                _ => {}
            }
        }
        if verb == 'O' {
            digits.insert_str(0, "0o");
        }
        if negative {
            digits.insert(0, '-');
        } else if flags.plus {
            digits.insert(0, '+');
        } else if flags.space {
            digits.insert(0, ' ');
        }
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(digits.as_bytes());
        self.flags.zero = zero;
    }

    pub(super) fn float(&mut self, value: f64, arg: &Val, verb: char) -> Done {
        let flags = self.flags;
        let (style, precision) = match verb {
            'v' | 'g' | 'G' => ('g', flags.precision),
            'e' | 'E' => ('e', Some(flags.precision.unwrap_or(6))),
            'f' | 'F' => ('f', Some(flags.precision.unwrap_or(6))),
            'x' | 'X' => ('x', None),
            _ => return self.bad_verb(arg, verb),
        };
        let precision = precision.map(|precision| precision.min(10_000));
        let mut text = match style {
            'x' => float::hexadecimal(value),
            _ => float::format(value, style, precision),
        };
        if matches!(verb, 'E' | 'G' | 'X') {
            text.make_ascii_uppercase();
            text = text.replace("INF", "Inf").replace("NAN", "NaN");
        }
        let (sign, body) = match text.as_bytes().first() {
            Some(b'-') => ("-", &text[1..]),
            Some(b'+') => ("+", &text[1..]),
            _ if text == "NaN" => ("+", text.as_str()),
            _ => ("+", text.as_str()),
        };
        let named = matches!(body, "Inf" | "NaN");
        let mut body = body.to_owned();
        if flags.sharp && style != 'x' && !named {
            body = sharp_float(&body, style, flags.precision);
        }
        let shown_sign = if flags.plus || sign == "-" || (body == "Inf" && text.starts_with('+')) {
            if body == "NaN" && !flags.plus { "" } else { sign }
        } else if flags.space {
            " "
        } else {
            ""
        };
        let shown_sign = if flags.space && !flags.plus && sign == "+" {
            " "
        } else {
            shown_sign
        };
        if flags.zero && !named && !flags.minus && !shown_sign.is_empty() {
            // The sign precedes the zeros of the padding.
            if let Some(width) = flags.width
                && width > body.len() + 1
            {
                self.out.extend_from_slice(shown_sign.as_bytes());
                self.flags.width = Some(width - 1);
                self.pad(body.as_bytes());
                return self.check();
            }
        }
        if named {
            self.flags.zero = false;
        }
        self.pad(format!("{shown_sign}{body}").as_bytes());
        self.flags = flags;
        self.check()
    }
}

fn rune_of(value: i128) -> char {
    u32::try_from(value)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// `%#g` keeps the decimal point and trailing zeros.
fn sharp_float(body: &str, style: char, precision: Option<usize>) -> String {
    let (mantissa, exponent) = match body.find('e') {
        Some(at) => body.split_at(at),
        None => (body, ""),
    };
    let mut mantissa = mantissa.to_owned();
    if !mantissa.contains('.') {
        mantissa.push('.');
    }
    if style == 'g' {
        let wanted = precision.unwrap_or(6).min(10_000);
        let digits = mantissa
            .trim_start_matches(['0', '.'])
            .chars()
            .filter(char::is_ascii_digit)
            .count();
        mantissa.push_str(&"0".repeat(wanted.saturating_sub(digits.max(1))));
    }
    format!("{mantissa}{exponent}")
}
