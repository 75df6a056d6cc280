//! Formats values.

use crate::funcs::{Context, Fault};
use crate::go::strconv::quote_with;
use crate::go::unicode::{Rune, push, runes};
use crate::go::val::{Elem, Val};
use crate::limits::{MAX_OUTPUT, MAX_VALUE_DEPTH};

#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) sharp: bool,
    pub(super) zero: bool,
    pub(super) plus: bool,
    pub(super) minus: bool,
    pub(super) space: bool,
    /// `%+v` and `%#v`.
    pub(super) plus_v: bool,
    pub(super) sharp_v: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

pub(super) struct Printer<'c> {
    ctx: &'c mut Context,
    pub(super) out: Vec<u8>,
    pub(super) flags: Flags,
    /// Whether `String` methods are not called, because the value is printed in an error about its verb.
    bare: bool,
}

pub(super) type Done = Result<(), Fault>;

impl<'c> Printer<'c> {
    pub(super) fn new(ctx: &'c mut Context) -> Self {
        Self {
            ctx,
            out: Vec::new(),
            flags: Flags::default(),
            bare: false,
        }
    }

    pub(super) fn check(&mut self) -> Done {
        if self.out.len() > MAX_OUTPUT {
            return Err(Fault::Limit("a string is too long"));
        }
        self.ctx.work(1)
    }

    /// Formats one argument of `Printf`.
    pub(super) fn verb(&mut self, arg: &Val, verb: char) -> Done {
        if verb == 'v' {
            self.flags.sharp_v = std::mem::take(&mut self.flags.sharp);
            self.flags.plus_v = std::mem::take(&mut self.flags.plus);
        }
        self.arg(arg, verb)
    }

    pub(super) fn arg(&mut self, arg: &Val, verb: char) -> Done {
        match (arg, verb) {
            (_, 'T') => self.text(arg.type_name().as_bytes(), 's'),
            (Val::Nil, 'v') => {
                self.pad(b"<nil>");
                self.check()
            }
            _ => self.value(arg, verb, 0),
        }
    }

    fn value(&mut self, arg: &Val, verb: char, depth: usize) -> Done {
        self.check()?;
        if depth > MAX_VALUE_DEPTH {
            return Err(Fault::Limit("a value is nested too deeply"));
        }
        if let (Val::Time(time), 'v', true) = (arg, verb, self.flags.sharp_v) {
            return self.text(time.go_text().as_bytes(), 's');
        }
        if matches!(verb, 'v' | 's' | 'x' | 'X' | 'q')
            && !self.flags.sharp_v
            && !self.bare
            && let Some(text) = crate::funcs::stringer(arg)
        {
            return self.text(text.as_bytes(), verb);
        }
        match arg {
            Val::Nil if depth > 0 => {
                let text: &[u8] = if self.flags.sharp_v {
                    b"interface {}(nil)"
                } else {
                    b"<nil>"
                };
                self.out.extend_from_slice(text);
                Ok(())
            }
            Val::Nil => self.bad_verb(arg, verb),
            Val::Bool(value) => match verb {
                't' | 'v' => {
                    self.pad(if *value { b"true" } else { b"false" });
                    Ok(())
                }
                _ => self.bad_verb(arg, verb),
            },
            Val::Int(_)
            | Val::Int64(_)
            | Val::Duration(_)
            | Val::Month(_)
            | Val::Weekday(_)
            | Val::Uint64(_)
            | Val::Byte(_) => self.integer(arg, verb),
            Val::Float(value) => self.float(*value, arg, verb),
            Val::Str(value) => {
                if !matches!(verb, 'v' | 's' | 'x' | 'X' | 'q') {
                    return self.bad_verb(arg, verb);
                }
                self.text(value, verb)
            }
            Val::Time(_) | Val::Location(_) => self.bad_verb(arg, verb),
            Val::Version(version) => self.record("&semver.Version", "&", &version.fields(), verb, depth),
            Val::NextVersion(version) => self.record("semver.Version", "", &version.fields(), verb, depth),
            Val::Cert(cert) => {
                let fields = [
                    ("Cert", Val::Str(cert.cert.clone())),
                    ("Key", Val::Str(cert.key.clone())),
                ];
                self.record("sprig.certificate", "", &fields, verb, depth)
            }
            Val::List(list) if list.elem == Elem::Byte && matches!(verb, 's' | 'q' | 'x' | 'X') => {
                self.text(&arg.as_bytes().unwrap_or_default(), verb)
            }
            Val::List(list) => {
                if self.flags.sharp_v {
                    let ty = match (list.elem, depth) {
                        (Elem::Byte, 0) => "[]byte",
                        _ => arg.type_name(),
                    };
                    self.out.extend_from_slice(ty.as_bytes());
                    if list.nil {
                        self.out.extend_from_slice(b"(nil)");
                        return Ok(());
                    }
                }
                self.out.push(if self.flags.sharp_v { b'{' } else { b'[' });
                for (i, item) in list.items.iter().enumerate() {
                    if i > 0 {
                        let between: &[u8] = if self.flags.sharp_v { b", " } else { b" " };
                        self.out.extend_from_slice(between);
                    }
                    self.value(item, verb, depth + 1)?;
                }
                self.out.push(if self.flags.sharp_v { b'}' } else { b']' });
                Ok(())
            }
            Val::Map(map) => {
                if self.flags.sharp_v {
                    self.out.extend_from_slice(arg.type_name().as_bytes());
                    if map.nil {
                        self.out.extend_from_slice(b"(nil)");
                        return Ok(());
                    }
                    self.out.push(b'{');
                } else {
                    self.out.extend_from_slice(b"map[");
                }
                for (i, (key, item)) in map.items.borrow().iter().enumerate() {
                    if i > 0 {
                        let between: &[u8] = if self.flags.sharp_v { b", " } else { b" " };
                        self.out.extend_from_slice(between);
                    }
                    self.value(&Val::Str(key.clone()), verb, depth + 1)?;
                    self.out.push(b':');
                    self.value(item, verb, depth + 1)?;
                }
                self.out.push(if self.flags.sharp_v { b'}' } else { b']' });
                Ok(())
            }
        }
    }

    /// Formats a struct, or with `&` the struct that a pointer points to.
    fn record(&mut self, ty: &str, mark: &str, fields: &[(&str, Val)], verb: char, depth: usize) -> Done {
        let (names, between) = match (self.flags.sharp_v, self.flags.plus_v) {
            (true, _) => (true, ", "),
            (false, names) => (names, " "),
        };
        let before = if self.flags.sharp_v { ty } else { mark };
        self.out.extend_from_slice(before.as_bytes());
        self.out.push(b'{');
        for (i, (name, value)) in fields.iter().enumerate() {
            if i > 0 {
                self.out.extend_from_slice(between.as_bytes());
            }
            if names {
                self.out.extend_from_slice(name.as_bytes());
                self.out.push(b':');
            }
            self.value(value, verb, depth + 1)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    pub(super) fn bad_verb(&mut self, arg: &Val, verb: char) -> Done {
        self.out.extend_from_slice(b"%!");
        push(&mut self.out, verb);
        self.out.push(b'(');
        if matches!(arg, Val::Nil) {
            self.out.extend_from_slice(b"<nil>");
        } else {
            self.out.extend_from_slice(arg.type_name().as_bytes());
            self.out.push(b'=');
            if matches!(arg, Val::Time(_) | Val::Location(_)) {
                // Go prints addresses here.
                let text = crate::funcs::stringer(arg).unwrap_or_default();
                self.out.extend_from_slice(text.as_bytes());
            } else {
                let was = std::mem::replace(&mut self.bare, true);
                self.value(arg, 'v', 0)?;
                self.bare = was;
            }
        }
        self.out.push(b')');
        self.check()
    }

    /// Pads to the width, which counts runes. Zeros are added on the left only.
    pub(super) fn pad(&mut self, text: &[u8]) {
        let Some(missing) = self
            .flags
            .width
            .and_then(|width| width.checked_sub(runes(text).count()))
            .filter(|missing| *missing > 0)
        else {
            self.out.extend_from_slice(text);
            return;
        };
        if self.flags.minus {
            self.out.extend_from_slice(text);
            self.out.resize(self.out.len() + missing, b' ');
        } else {
            let fill = if self.flags.zero { b'0' } else { b' ' };
            self.out.resize(self.out.len() + missing, fill);
            self.out.extend_from_slice(text);
        }
    }

    fn text(&mut self, bytes: &[u8], verb: char) -> Done {
        let mut bytes = bytes;
        if matches!(verb, 's' | 'v' | 'q')
            && let Some(precision) = self.flags.precision
        {
            let length: usize = runes(bytes).take(precision).map(Rune::len).sum();
            bytes = &bytes[..length];
        }
        match verb {
            'x' | 'X' => {
                let text = self.hex(bytes, verb == 'X');
                self.pad(&text);
            }
            'q' => self.quoted(bytes),
            'v' if self.flags.sharp_v => self.quoted(bytes),
            _ => self.pad(bytes),
        }
        self.check()
    }

    fn quoted(&mut self, bytes: &[u8]) {
        let raw = self.flags.sharp
            && runes(bytes).all(|rune| match rune {
                Rune::Bad(_) => false,
                Rune::Char(c) => c != '`' && c != '\u{7f}' && c != '\u{feff}' && (c >= ' ' || c == '\t'),
            });
        if raw {
            self.pad(&[b"`", bytes, b"`"].concat());
        } else {
            let text = quote_with(bytes, b'"', self.flags.plus);
            self.pad(&text);
        }
    }

    fn hex(&self, bytes: &[u8], upper: bool) -> Vec<u8> {
        let bytes = match self.flags.precision {
            Some(precision) => &bytes[..bytes.len().min(precision)],
            None => bytes,
        };
        let prefix = if upper { "0X" } else { "0x" };
        let mut out = String::new();
        for (i, byte) in bytes.iter().enumerate() {
            if self.flags.space && i > 0 {
                out.push(' ');
            }
            if self.flags.sharp && (self.flags.space || i == 0) {
                out.push_str(prefix);
            }
            let digits = if upper {
                format!("{byte:02X}")
            } else {
                format!("{byte:02x}")
            };
            out.push_str(&digits);
        }
        out.into_bytes()
    }
}
