//! The values of a running template: the types of Go that a template can make.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::time::{Location, Time};
use crate::funcs::Cert;
use crate::funcs::Version;
use crate::value::{Value, Values};

pub(crate) use super::held::{Share, Str};

/// A value of one of Go's types.
#[derive(Clone)]
pub(crate) enum Val {
    Nil,
    Bool(bool),
    /// `int`
    Int(i64),
    Int64(i64),
    Uint64(u64),
    /// `uint8`, the type of an element of a string.
    Byte(u8),
    Float(f64),
    Str(Str),
    List(Rc<List>),
    Map(Rc<Map>),
    Time(Rc<Time>),
    /// `time.Duration`, in nanoseconds.
    Duration(i64),
    /// `time.Month`, from 1 for January. `range` over a month begins at 0.
    Month(i64),
    /// `time.Weekday`, from 0 for Sunday.
    Weekday(i64),
    /// `*time.Location`
    Location(Rc<Location>),
    /// `*semver.Version`
    Version(Rc<Version>),
    /// `semver.Version`, the result of a method of `*semver.Version`. It has fewer methods.
    NextVersion(Rc<Version>),
    /// `sprig.certificate`
    Cert(Rc<Cert>),
}

/// The element type of a slice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elem {
    Any,
    Str,
    Int,
    /// `uint8`
    Byte,
    /// `[]interface {}`
    List,
}

/// A slice. No function of a template changes a slice in place.
pub(crate) struct List {
    pub(crate) elem: Elem,
    /// Whether the slice is `nil`, which JSON prints differently from an empty one.
    pub(crate) nil: bool,
    pub(crate) items: Vec<Val>,
    _share: Share,
}

/// A shared map. `set`, `unset` and `merge` change it in place.
pub(crate) struct Map {
    /// Whether the type is `map[string]string` and not `map[string]interface {}`.
    pub(crate) strings: bool,
    pub(crate) nil: bool,
    pub(crate) items: RefCell<Items>,
    /// Counts the entries that the map was made with. Entries that are set later are limited by the work of setting
    /// them.
    _share: Share,
}

impl List {
    pub(crate) fn new(elem: Elem, nil: bool, items: Vec<Val>) -> Self {
        let share = Share::new(items.len() * size_of::<Val>());
        Self {
            elem,
            nil,
            items,
            _share: share,
        }
    }
}

impl Map {
    pub(crate) fn new(strings: bool, nil: bool, items: Items) -> Self {
        let share = Share::new(items.len() * 2 * size_of::<(Str, Val)>());
        Self {
            strings,
            nil,
            items: RefCell::new(items),
            _share: share,
        }
    }
}

pub(crate) type Items = BTreeMap<Str, Val>;

// Values are dropped without recursion, because a template can nest them deeper than the stack allows.
impl Drop for List {
    fn drop(&mut self) {
        dismantle(std::mem::take(&mut self.items));
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        let items = std::mem::take(self.items.get_mut());
        dismantle(items.into_values().collect());
    }
}

fn dismantle(mut pending: Vec<Val>) {
    while let Some(value) = pending.pop() {
        match value {
            Val::List(list) => {
                if let Some(mut list) = Rc::into_inner(list) {
                    pending.append(&mut list.items);
                }
            }
            Val::Map(map) => {
                if let Some(mut map) = Rc::into_inner(map) {
                    pending.extend(std::mem::take(map.items.get_mut()).into_values());
                }
            }
            _ => {}
        }
    }
}

/// Go's `reflect.Kind`, as far as functions tell kinds apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Basic {
    Invalid,
    Bool,
    Int,
    Uint,
    Float,
    String,
}

impl Val {
    pub(crate) fn str(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Str(bytes.into().into())
    }

    pub(crate) fn list(items: Vec<Self>) -> Self {
        Self::of(Elem::Any, items)
    }

    pub(crate) fn of(elem: Elem, items: Vec<Self>) -> Self {
        Self::List(Rc::new(List::new(elem, false, items)))
    }

    pub(crate) fn nil_list(elem: Elem) -> Self {
        Self::List(Rc::new(List::new(elem, true, Vec::new())))
    }

    pub(crate) fn strings(items: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::of(Elem::Str, items.into_iter().map(Self::str).collect())
    }

    /// Makes a `[]byte`. With `nil` an empty one is `nil`.
    pub(crate) fn bytes(bytes: &[u8], nil: bool) -> Self {
        let items: Vec<Self> = bytes.iter().copied().map(Self::Byte).collect();
        Self::List(Rc::new(List::new(Elem::Byte, nil && bytes.is_empty(), items)))
    }

    /// The bytes of a `[]byte`.
    pub(crate) fn as_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::List(list) if list.elem == Elem::Byte => {
                let bytes = list.items.iter().filter_map(Self::as_int);
                Some(bytes.map(|byte| byte as u8).collect())
            }
            _ => None,
        }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Int64(_) => "int64",
            Self::Uint64(_) => "uint64",
            Self::Byte(_) => "uint8",
            Self::Float(_) => "float64",
            Self::Str(_) => "string",
            Self::List(list) => match list.elem {
                Elem::Any => "[]interface {}",
                Elem::Str => "[]string",
                Elem::Int => "[]int",
                Elem::Byte => "[]uint8",
                Elem::List => "[][]interface {}",
            },
            Self::Map(map) if map.strings => "map[string]string",
            Self::Map(_) => "map[string]interface {}",
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::Month(_) => "time.Month",
            Self::Weekday(_) => "time.Weekday",
            Self::Location(_) => "*time.Location",
            Self::Version(_) => "*semver.Version",
            Self::NextVersion(_) => "semver.Version",
            Self::Cert(_) => "sprig.certificate",
        }
    }

    pub(crate) fn kind_name(&self) -> &'static str {
        match self {
            Self::Nil => "invalid",
            Self::List(_) => "slice",
            Self::Map(_) => "map",
            Self::Time(_) | Self::NextVersion(_) | Self::Cert(_) => "struct",
            Self::Location(_) | Self::Version(_) => "ptr",
            Self::Duration(_) => "int64",
            Self::Month(_) | Self::Weekday(_) => "int",
            other => other.type_name(),
        }
    }

    pub(crate) fn basic(&self) -> Basic {
        match self {
            Self::Bool(_) => Basic::Bool,
            Self::Int(_) | Self::Int64(_) | Self::Duration(_) | Self::Month(_) | Self::Weekday(_) => Basic::Int,
            Self::Uint64(_) | Self::Byte(_) => Basic::Uint,
            Self::Float(_) => Basic::Float,
            Self::Str(_) => Basic::String,
            _ => Basic::Invalid,
        }
    }

    /// Whether `if` takes the value for true, which is also whether sprig's `empty` is false.
    pub(crate) fn truth(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(_)
            | Self::Int64(_)
            | Self::Duration(_)
            | Self::Month(_)
            | Self::Weekday(_)
            | Self::Uint64(_)
            | Self::Byte(_) => self.as_int() != Some(0),
            Self::Float(value) => *value != 0.0,
            Self::Str(value) => !value.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.items.borrow().is_empty(),
            Self::Time(_) | Self::Location(_) | Self::Version(_) | Self::NextVersion(_) | Self::Cert(_) => true,
        }
    }

    /// The value as an integer, if its kind is one of Go's integer kinds.
    pub(crate) fn as_int(&self) -> Option<i128> {
        match self {
            Self::Int(value)
            | Self::Int64(value)
            | Self::Duration(value)
            | Self::Month(value)
            | Self::Weekday(value) => Some(i128::from(*value)),
            Self::Uint64(value) => Some(i128::from(*value)),
            Self::Byte(value) => Some(i128::from(*value)),
            _ => None,
        }
    }

    /// Converts a value of the data; `None` if it is nested deeper than `depth`.
    fn from_value(value: &Value, depth: usize, make: &mut dyn FnMut(Items) -> Self) -> Option<Self> {
        let depth = depth.checked_sub(1)?;
        Some(match value {
            Value::Nil => Self::Nil,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Float(value) => Self::Float(*value),
            Value::String(value) => Self::str(value.clone()),
            Value::List(items) => {
                let items: Option<Vec<Self>> = items.iter().map(|item| Self::from_value(item, depth, make)).collect();
                Self::list(items?)
            }
            Value::Map(items) => {
                let mut out = Items::new();
                for (key, value) in items {
                    out.insert(key.as_bytes().into(), Self::from_value(value, depth, make)?);
                }
                make(out)
            }
        })
    }

    /// Converts the data to the `.` of the template.
    pub(crate) fn from_values(values: &Values, depth: usize, make: &mut dyn FnMut(Items) -> Self) -> Option<Self> {
        if values.values().all(|value| matches!(value, Value::String(_))) {
            let mut items = Items::new();
            for (key, value) in values {
                items.insert(key.as_bytes().into(), Self::from_value(value, depth, make)?);
            }
            return Some(Self::Map(Rc::new(Map::new(true, false, items))));
        }
        let mut items = Items::new();
        for (key, value) in values {
            items.insert(key.as_bytes().into(), Self::from_value(value, depth, make)?);
        }
        Some(make(items))
    }
}
