//! The functions of templates: Go's built-in ones; sprig's, except `env`, `expandenv` and `getHostByName`; and External
//! Secrets'.

mod builtin;
mod certs;
mod context;
mod crypto;
mod dates;
mod defaults;
mod dicts;
mod encoding;
mod jwk;
mod keys;
mod lists;
mod math;
mod paths;
mod pem;
mod pkcs12;
mod random;
mod reflect;
mod regex;
mod semver;
mod strings;
mod times;
mod ty;
mod urls;
mod version;
mod words;
pub(crate) mod yaml;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::LazyLock;

use crate::go::val::{Map, Str, Val};
use crate::go::{duration, layout};

pub(crate) use context::Context;
pub(crate) use ty::Ty;
pub(crate) use version::Version;

/// A certificate with its key, both as PEM: the result of `genCA` and similar functions.
pub(crate) struct Cert {
    pub(crate) cert: Str,
    pub(crate) key: Str,
}

/// The error of a function. Its text contains no value of an argument.
#[derive(Debug)]
pub(crate) enum Fault {
    Error(Cow<'static, str>),
    /// The method has several results, which a template can't use.
    Uncallable(&'static str),
    Limit(&'static str),
}

impl From<&'static str> for Fault {
    fn from(message: &'static str) -> Self {
        Self::Error(message.into())
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self::Error(message.into())
    }
}

pub(crate) type Ran = Result<Val, Fault>;

/// A function that templates can call. The types of its arguments are checked before it runs.
pub(crate) struct Func {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [Ty],
    pub(crate) variadic: Option<Ty>,
    pub(crate) run: fn(&mut Context, &[Val]) -> Ran,
}

/// A function with a fixed number of parameters.
const fn f(name: &'static str, params: &'static [Ty], run: fn(&mut Context, &[Val]) -> Ran) -> Func {
    Func {
        name,
        params,
        variadic: None,
        run,
    }
}

/// A variadic function.
const fn v(name: &'static str, params: &'static [Ty], rest: Ty, run: fn(&mut Context, &[Val]) -> Ran) -> Func {
    Func {
        name,
        params,
        variadic: Some(rest),
        run,
    }
}

static TABLE: LazyLock<BTreeMap<&'static str, &'static Func>> = LazyLock::new(|| {
    // A later table replaces functions of an earlier one: sprig's `slice` replaces Go's.
    let tables: [&'static [Func]; 19] = [
        builtin::TABLE,
        certs::TABLE,
        crypto::TABLE,
        dates::TABLE,
        defaults::TABLE,
        dicts::TABLE,
        encoding::TABLE,
        jwk::TABLE,
        lists::TABLE,
        math::TABLE,
        paths::TABLE,
        pem::TABLE,
        pkcs12::TABLE,
        random::TABLE,
        reflect::TABLE,
        regex::TABLE,
        semver::TABLE,
        strings::TABLE,
        urls::TABLE,
    ];
    let mut table: BTreeMap<&'static str, &'static Func> =
        tables.into_iter().flatten().map(|func| (func.name, func)).collect();
    table.extend(words::TABLE.iter().chain(yaml::TABLE).map(|func| (func.name, func)));
    table
});

static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| TABLE.keys().copied().collect());

pub(crate) fn names() -> &'static [&'static str] {
    &NAMES
}

pub(crate) fn is_function(name: &str) -> bool {
    TABLE.contains_key(name)
}

pub(crate) fn find(name: &str) -> Option<&'static Func> {
    TABLE.get(name).copied()
}

/// Finds a method of a value.
pub(crate) fn method(receiver: &Val, name: &str) -> Option<&'static Func> {
    let methods = match receiver {
        Val::Time(_) => times::TIME,
        Val::Duration(_) => times::DURATION,
        Val::Month(_) | Val::Weekday(_) | Val::Location(_) => times::NAMED,
        Val::Version(_) => version::POINTER,
        Val::NextVersion(_) => version::STRUCT,
        _ => return None,
    };
    methods.iter().copied().flatten().find(|method| method.name == name)
}

/// The result of `String()`, if the type of the value has this method.
pub(crate) fn stringer(value: &Val) -> Option<String> {
    Some(match value {
        Val::Time(time) => time.text(),
        Val::Duration(nanos) => duration::format(*nanos),
        Val::Month(month) => layout::month_name(*month),
        Val::Weekday(day) => layout::weekday_name(*day),
        Val::Location(location) => location.name().to_owned(),
        Val::Version(version) | Val::NextVersion(version) => version.to_string(),
        _ => return None,
    })
}

// Access to arguments whose types were checked.

fn text(args: &[Val], index: usize) -> &[u8] {
    match args.get(index) {
        Some(Val::Str(text)) => text,
        _ => b"",
    }
}

fn utf8(args: &[Val], index: usize) -> Cow<'_, str> {
    String::from_utf8_lossy(text(args, index))
}

fn int(args: &[Val], index: usize) -> i64 {
    match args.get(index) {
        Some(Val::Int(value)) => *value,
        _ => 0,
    }
}

fn map(args: &[Val], index: usize) -> Option<&Rc<Map>> {
    match args.get(index) {
        Some(Val::Map(map)) => Some(map),
        _ => None,
    }
}

fn any(args: &[Val], index: usize) -> Val {
    args.get(index).cloned().unwrap_or(Val::Nil)
}

/// sprig's `strval`: strings and `[]byte` as they are, other values formatted with `%v`.
fn strval(ctx: &mut Context, value: &Val) -> Result<Vec<u8>, Fault> {
    match value {
        Val::Str(text) => Ok(text.to_vec()),
        value => match value.as_bytes() {
            Some(bytes) => Ok(bytes),
            None => crate::go::fmt::value(ctx, value),
        },
    }
}
