//! The functions: Go's own, sprig's without `env`, `expandenv` and `getHostByName`, and External Secrets' own.

mod builtin;
mod certs;
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
mod urls;
mod version;
mod words;
pub(crate) mod yaml;
mod yaml_emit;
mod yaml_resolve;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use jiff::Timestamp;

use crate::go::val::{Elem, Items, Map, Str, Val};
use crate::go::{duration, layout};
use crate::limits::{Budget, MAX_HELD, MAX_OUTPUT};

pub(crate) use version::Version;

/// A certificate with its key, both PEM; what `genCA` and its like give.
pub(crate) struct Cert {
    pub(crate) cert: Str,
    pub(crate) key: Str,
}

/// Why a function gave nothing. The text holds no value that was passed.
#[derive(Debug)]
pub(crate) enum Fault {
    Error(Cow<'static, str>),
    /// A method whose results are not a template's to take.
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

/// What functions share in one rendering: the time, the work left, and the maps that were made.
pub(crate) struct Ctx {
    pub(crate) now: Timestamp,
    pub(crate) budget: Budget,
    /// Since when something slow by nature has been under way.
    slow: Option<Instant>,
    /// Maps are changed in place, so they can hold themselves; they are emptied at the end.
    maps: Vec<Weak<Map>>,
}

impl Ctx {
    pub(crate) fn new(now: SystemTime, budget: Budget) -> Self {
        Self {
            now: Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH),
            budget,
            slow: None,
            maps: Vec::new(),
        }
    }

    /// Takes `units` from what the rendering may do.
    pub(crate) fn work(&mut self, units: u64) -> Result<(), Fault> {
        if crate::go::held::held() > MAX_HELD {
            return Err(Fault::Limit("the values of the template are too big"));
        }
        self.budget.take(units).map_err(Fault::Limit)
    }

    /// One turn of a loop whose turns cost what nobody can tell beforehand.
    pub(crate) fn turn(&mut self) -> Result<(), Fault> {
        self.work(1)?;
        self.budget.watch().map_err(Fault::Limit)
    }

    /// Takes `units` for what is slow by nature; the time until the function has run does not count.
    pub(crate) fn slow(&mut self, units: u64) -> Result<(), Fault> {
        self.work(units)?;
        self.slow.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// A function has run.
    pub(crate) fn ran(&mut self) {
        if let Some(since) = self.slow.take() {
            self.budget.forgive(since.elapsed());
        }
    }

    /// Says in advance that a string of `length` bytes will be made.
    pub(crate) fn reserve(&mut self, length: usize) -> Result<(), Fault> {
        if length > MAX_OUTPUT {
            return Err(Fault::Limit("a string is too long"));
        }
        self.work(length as u64 / 64)
    }

    /// A string that was made.
    pub(crate) fn text(&mut self, bytes: impl Into<Vec<u8>>) -> Ran {
        let bytes = bytes.into();
        self.reserve(bytes.len())?;
        Ok(Val::str(bytes))
    }

    /// A `map[string]interface {}`.
    pub(crate) fn map(&mut self, items: Items) -> Val {
        let map = Rc::new(Map::new(false, false, items));
        if self.maps.len() % 1024 == 1023 {
            self.maps.retain(|map| map.strong_count() > 0);
        }
        self.maps.push(Rc::downgrade(&map));
        Val::Map(map)
    }
}

impl Drop for Ctx {
    fn drop(&mut self) {
        for map in self.maps.drain(..) {
            if let Some(map) = map.upgrade() {
                let items = std::mem::take(&mut *map.items.borrow_mut());
                drop(items);
            }
        }
    }
}

/// The Go type of a parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ty {
    /// `interface {}`
    Any,
    /// `reflect.Value`
    Reflect,
    Str,
    Int,
    Uint32,
    Bool,
    Float,
    /// `map[string]interface {}`
    Map,
    /// `[]interface {}`
    List,
    /// `[]uint8`
    Bytes,
    Time,
    Duration,
    /// `*time.Location`
    Location,
    /// `*semver.Version`
    Version,
    /// A string type of its own: literals only.
    HashAlgorithm,
    Cert,
}

impl Ty {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Reflect => "reflect.Value",
            Self::Str => "string",
            Self::Int => "int",
            Self::Uint32 => "uint32",
            Self::Bool => "bool",
            Self::Float => "float64",
            Self::Map => "map[string]interface {}",
            Self::List => "[]interface {}",
            Self::Bytes => "[]uint8",
            Self::Time => "time.Time",
            Self::Duration => "time.Duration",
            Self::Location => "*time.Location",
            Self::Version => "*semver.Version",
            Self::HashAlgorithm => "sprig.HashAlgorithm",
            Self::Cert => "sprig.certificate",
        }
    }

    pub(crate) fn accepts(self, value: &Val) -> bool {
        match self {
            Self::Any | Self::Reflect => true,
            Self::Str => matches!(value, Val::Str(_)),
            Self::Int => matches!(value, Val::Int(_)),
            Self::Uint32 | Self::HashAlgorithm => false,
            Self::Bool => matches!(value, Val::Bool(_)),
            Self::Float => matches!(value, Val::Float(_)),
            Self::Map => matches!(value, Val::Map(map) if !map.strings),
            Self::List => matches!(value, Val::List(list) if list.elem == Elem::Any),
            Self::Bytes => matches!(value, Val::List(list) if list.elem == Elem::Byte),
            Self::Time => matches!(value, Val::Time(_)),
            Self::Duration => matches!(value, Val::Duration(_)),
            Self::Location => matches!(value, Val::Location(_)),
            Self::Version => matches!(value, Val::Version(_)),
            Self::Cert => matches!(value, Val::Cert(_)),
        }
    }

    /// The type's `nil`, if it has one.
    pub(crate) fn nil(self) -> Option<Val> {
        match self {
            Self::Any | Self::Reflect | Self::Location | Self::Version => Some(Val::Nil),
            Self::Bytes => Some(Val::nil_list(Elem::Byte)),
            Self::Map => Some(Val::Map(Rc::new(Map::new(false, true, Items::new())))),
            Self::List => Some(Val::nil_list(Elem::Any)),
            _ => None,
        }
    }
}

/// A function that templates can call. Its arguments are checked against the types before it runs.
pub(crate) struct Func {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [Ty],
    pub(crate) variadic: Option<Ty>,
    pub(crate) run: fn(&mut Ctx, &[Val]) -> Ran,
}

const fn f(name: &'static str, params: &'static [Ty], run: fn(&mut Ctx, &[Val]) -> Ran) -> Func {
    Func {
        name,
        params,
        variadic: None,
        run,
    }
}

const fn v(name: &'static str, params: &'static [Ty], rest: Ty, run: fn(&mut Ctx, &[Val]) -> Ran) -> Func {
    Func {
        name,
        params,
        variadic: Some(rest),
        run,
    }
}

static TABLE: LazyLock<BTreeMap<&'static str, &'static Func>> = LazyLock::new(|| {
    // In this order: sprig's `slice` stands before Go's.
    let rooms: [&'static [Func]; 19] = [
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
        rooms.into_iter().flatten().map(|func| (func.name, func)).collect();
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

/// The methods of the few types that have some.
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

/// `String()` of the types that have it.
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

// Arguments, whose types are known to be right.

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

/// sprig's `strval`: strings and bytes as they are, everything else as `%v`.
fn strval(ctx: &mut Ctx, value: &Val) -> Result<Vec<u8>, Fault> {
    match value {
        Val::Str(text) => Ok(text.to_vec()),
        value => match value.as_bytes() {
            Some(bytes) => Ok(bytes),
            None => crate::go::fmt::value(ctx, value),
        },
    }
}
